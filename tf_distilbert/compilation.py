"""Stretches of arithmetic that are compiled into one pass over their numbers.

TensorFlow runs one operation after the other, and each is a walk through memory. Between matrix
products that is most of what is left to save. Other backends compile the whole step anyway.
"""

from collections.abc import Callable
from functools import wraps

import keras
from keras import KerasTensor as Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    def compiled(function: Callable) -> Callable:
        """Compile a function of tensors, for each shape once.

        Arguments that are no tensors are constants of the compiled code.
        """
        return tf.function(function, jit_compile=True, autograph=False)

    def recomputed(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """Compile a function and its gradient, which keeps the argument alone for it.

        What lies between argument and result is computed again in the backward pass, where it
        costs no walk through memory of its own.
        """

        @compiled
        def gradient(values: Tensor, upstream: Tensor) -> Tensor:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(values)
                result = function(values)
            return tape.gradient(result, values, upstream)

        forward = compiled(function)

        @wraps(function)
        @tf.custom_gradient
        def with_gradient(values: Tensor) -> tuple[Tensor, Callable]:
            return forward(values), lambda upstream: gradient(values, upstream)

        return with_gradient
else:

    def compiled(function: Callable) -> Callable:
        """Give the function as it is."""
        return function

    def recomputed(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """Give the function as it is."""
        return function
