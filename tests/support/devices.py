"""Strategies of one to four logical devices, of which a process has one each."""

import functools

import tensorflow as tf


@functools.cache
def strategy_of(devices):
    """The same one for all tests.

    Two devices exchange by collective operations, whose numbers begin again in each new strategy,
    and TensorFlow remembers for each number which shape it had.
    """
    if devices == 1:
        return tf.distribute.get_strategy()
    names = [f"CPU:{i}" for i in range(devices)]
    # A process has one group of collectives: two devices use it, four add up on one of them.
    return tf.distribute.MirroredStrategy(
        names, tf.distribute.ReductionToOneDevice() if devices == 4 else None
    )
