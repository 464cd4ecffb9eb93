"""Walking through a large computation in pieces, one after the other, as each backend does it."""

from collections.abc import Callable

import keras
from keras import KerasTensor as Tensor
from keras import ops, tree

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    read = tf.convert_to_tensor  # Keras's own gives variables as they are

    def repeat(times: int | Tensor, function: Callable, state: Callable[[bool], tuple]) -> tuple:
        """Apply a function of (i, state), one call after the other.

        The state to begin with is asked for with or without the zeros that are only added to.
        """
        if not isinstance(times, int):  # the number of tokens is not known yet
            return tf.while_loop(
                lambda i, _: i < times,
                lambda i, state: (i + 1, function(i, state)),
                (0, state(True)),
                parallel_iterations=1,
            )[1]
        # Such a loop holds two tables more than calls in a row.
        values = state(times == 0)
        for i in range(times):
            with tf.control_dependencies([t for t in tree.flatten(values) if t is not None]):
                values = function(tf.constant(i), values)
        return values

    def computes_in_blocks() -> bool:
        """Whether the device computes a chunk's losses few tokens at a time."""
        return not tf.config.list_physical_devices("GPU")

else:
    import jax

    read = ops.convert_to_tensor

    def computes_in_blocks() -> bool:
        """Whether the device computes a chunk's losses few tokens at a time."""
        return jax.default_backend() == "cpu"

    def repeat(times: int | Tensor, function: Callable, state: Callable[[bool], tuple]) -> tuple:
        """Apply a function of (i, state), one call after the other."""
        return ops.fori_loop(0, times, function, state(True))
