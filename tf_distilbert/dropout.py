"""Dropout from 16 random bits a number: random numbers are what dropout spends its time on."""

import keras
from keras import KerasTensor as Tensor
from keras import ops

_LEVELS = 2**16

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    def _random_words(count: int | Tensor, seed: Tensor) -> Tensor:
        """Draw uint32 numbers that may be any, each as two of 16 bits: int16 [count, 2]."""
        words = tf.random.stateless_uniform(
            (count,), tf.cast(seed, "int32"), minval=None, maxval=None, dtype="uint32"
        )
        return tf.bitcast(words, "int16")
else:

    def _random_words(count: int, seed: Tensor) -> Tensor:
        """Draw numbers of 16 bits in pairs: int16 [count, 2]."""
        words = keras.random.randint((count, 2), 0, _LEVELS, dtype="int32", seed=seed)
        return ops.cast(words - _LEVELS // 2, "int16")


class Dropout(keras.layers.Layer):
    """Sets numbers to 0 at random and scales up the others, as `keras.layers.Dropout` does.

    The rate is rounded to a multiple of 2^-16, and the scale fits the rounded one, so that the
    expected value is kept exactly.

    Args:
        rate: share of numbers to drop, 0 <= rate < 1.
    """

    def __init__(self, rate: float, **kwargs) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator() if rate else None
        self.built = True

    def call(self, values: Tensor, training: bool = False) -> Tensor:
        """Drop while training; otherwise give the values as they are.

        Args:
            values: float [...].
            training: whether to drop.
        """
        dropped = round(self.rate * _LEVELS)
        if not (training and dropped):
            return values
        count = ops.size(values)
        words = _random_words((count + 1) // 2, self.seed_generator.next())
        bits = ops.reshape(ops.reshape(words, (-1,))[:count], ops.shape(values))
        scaled = values * (_LEVELS / (_LEVELS - dropped))
        return ops.where(bits >= dropped - _LEVELS // 2, scaled, ops.zeros_like(scaled))
