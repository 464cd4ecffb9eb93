"""Random numbers without a state: hashes of 64 bits, in TensorFlow.

Source: splitmix64 (Steele, Lea & Flood 2014).
"""

import tensorflow as tf

GAMMA = 0x9E3779B97F4A7C15
"""2^64 by the golden ratio: its multiples spread consecutive numbers over all 64 bits."""


def mix(keys: tf.Tensor) -> tf.Tensor:
    """Scramble keys so that every bit depends on every bit: uint64 to uint64, one to one."""
    keys = (keys ^ tf.bitwise.right_shift(keys, as_uint64(30))) * as_uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ tf.bitwise.right_shift(keys, as_uint64(27))) * as_uint64(0x94D049BB133111EB)
    return keys ^ tf.bitwise.right_shift(keys, as_uint64(31))


def to_uniform(keys: tf.Tensor) -> tf.Tensor:
    """Turn the high 23 bits into float32 in the open interval (0, 1); one more would round to 1."""
    return (tf.cast(tf.bitwise.right_shift(keys, as_uint64(41)), tf.float32) + 0.5) * 2.0**-23


def as_uint64(value: tf.Tensor | int) -> tf.Tensor:
    """Make a uint64 of any integer; negative ones wrap around."""
    if isinstance(value, int):
        return tf.constant(value & 0xFFFFFFFFFFFFFFFF, tf.uint64)
    return tf.cast(value, tf.uint64)
