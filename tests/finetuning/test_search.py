"""Exact search: what a whole matrix of cosines gives, whatever the blocks, ties in order."""

import numpy as np
import pytest

from tf_distilbert.errors import NotFiniteError
from tf_distilbert.finetuning import search
from tf_distilbert.finetuning.search import nearest, unit_rows


def blocks_of(vectors, size):
    return (vectors[begin : begin + size] for begin in range(0, len(vectors), size))


@pytest.mark.parametrize("size", [1, 7, 64, 200])
@pytest.mark.parametrize("at_once", [1, 100, 2**22])
def test_blocks_do_not_matter(monkeypatch, size, at_once):
    monkeypatch.setattr(search, "_COSINES_AT_ONCE", at_once)
    random = np.random.default_rng(0)
    queries, passages = (random.normal(size=(n, 8)).astype("float32") for n in (5, 200))
    passages *= random.uniform(0.1, 10, (200, 1)).astype("float32")  # lengths do not matter
    lengths = [np.linalg.norm(x, axis=1) for x in (queries, passages)]
    cosines = np.float64(queries) @ np.float64(passages).T / np.outer(*lengths)
    expected = np.argsort(-cosines, axis=1)[:, :10]
    found = nearest(queries, blocks_of(passages, size), 10)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_of_equal_cosines_the_first_wins(size):
    """Whole numbers and powers of two: every cosine is exact. Zeros have the cosine 0, of which
    there are two."""
    one, other, against = [1, 0], [0, 2], [-4, 0]
    passages = np.float32([other, against, one, [0, 0], one, [0, -1], against, one, other])
    found = nearest(np.float32([[1, 0], [0, 8], [-2, 0]]), blocks_of(passages, size), 7)
    np.testing.assert_array_equal(
        found, [[2, 4, 7, 0, 3, 5, 8], [0, 8, 1, 2, 3, 4, 6], [1, 6, 0, 3, 5, 8, 2]]
    )


def test_no_more_than_there_are():
    found = nearest(np.float32([[1, 0]]), [np.float32([[0, 1], [1, 1]])], 100)
    np.testing.assert_array_equal(found, [[1, 0]])


def test_lengths_are_one_or_zero():
    found = unit_rows(np.float32([[3, 4], [0, 0], [1e-30, 0], [3e30, 4e30]]))
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, 0], [1, 0], [0.6, 0.8]], atol=1e-7)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_vectors_that_are_not_finite(wrong):
    with pytest.raises(NotFiniteError, match="vectors are not finite"):
        nearest(np.float32([[1, 0]]), [np.float32([[wrong, 1]])], 1)
