"""Large computations in pieces: each once, in order, and none where there is none."""

import pytest
import tensorflow as tf

from tf_distilbert.backend import step


def fold(times):
    """What depends on the order, and the numbers in it."""

    def add(i, state):
        value, count = state
        return 3 * value + tf.cast(i, tf.int32), count + 1

    return [int(x) for x in step.repeat(times, add, lambda zeros: (tf.constant(1), tf.constant(0)))]


def expected(times):
    value = 1
    for i in range(times):
        value = 3 * value + i
    return [value, times]


@pytest.mark.parametrize("times", [0, 1, 5])
def test_a_known_and_an_unknown_number_of_pieces_give_the_same(times):
    assert fold(times) == expected(times)
    assert fold(tf.constant(times)) == expected(times)


@pytest.mark.parametrize("times", [0, 3])
def test_zeros_are_asked_for_only_where_nothing_may_be_added_to_them(times):
    """With None to begin with, the first piece is itself the sum."""
    asked = []

    def state(zeros):
        asked.append(zeros)
        return (tf.constant(0) if zeros else None,)

    def add(i, sums):
        return (i if sums[0] is None else sums[0] + i,)

    [total] = step.repeat(times, add, state)
    assert asked == [times == 0]
    assert int(total) == sum(range(times))
