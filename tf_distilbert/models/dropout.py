"""Dropout from 16 random bits a number: random numbers are what dropout spends its time on.

What is dropped follows from a seed that the training step gives (`seeded_dropout`), not from the
state of a generator: every step can be made again, and every replica draws its own.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import keras
from keras import KerasTensor as Tensor
from keras import ops

from tf_distilbert.backend import kernels

_LEVELS = 2**16


class _Draws(threading.local):
    """The seed in force, and how often it was used; each replica is traced by its own thread."""

    seed: Any = None  # an integer tensor [2]
    count = 0


_draws = _Draws()


@contextlib.contextmanager
def seeded_dropout(seed: Tensor) -> Iterator[None]:
    """Let all dropout within draw from one seed, each layer and each call differently.

    Args:
        seed: integers [2]. The same seed and the same order of calls drop the same numbers.
    """
    before = _draws.seed, _draws.count
    _draws.seed, _draws.count = seed, 0
    try:
        yield
    finally:
        _draws.seed, _draws.count = before


def _next_seed() -> Tensor:
    _draws.count += 1
    # Both words of a seed are scrambled together: neighbouring numbers are independent.
    return _draws.seed + ops.convert_to_tensor([0, _draws.count], _draws.seed.dtype)


class Dropout(keras.layers.Layer):
    """Sets numbers to 0 at random and scales up the others, as `keras.layers.Dropout` does.

    The rate is rounded to a multiple of 2^-16, and the scale fits the rounded one, so that the
    expected value is kept exactly. Outside `seeded_dropout` it has a generator of its own.

    Args:
        rate: share of numbers to drop, 0 <= rate < 1.
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.seed_generator: Any = keras.random.SeedGenerator() if rate else None
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
        seed = self.seed_generator.next() if _draws.seed is None else _next_seed()
        count = ops.size(values)
        words = kernels.random_words((count + 1) // 2, seed)
        bits = ops.reshape(ops.reshape(words, (-1,))[:count], ops.shape(values))
        scaled = values * (_LEVELS / (_LEVELS - dropped))
        return ops.where(bits >= dropped - _LEVELS // 2, scaled, ops.zeros_like(scaled))
