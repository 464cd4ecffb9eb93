"""Arithmetic on TensorFlow: what is compiled, and operations that touch each number once.

TensorFlow runs one operation after the other, and each is a walk through memory. Between matrix
products that is most of what is left to save.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import keras
import tensorflow as tf
from keras import KerasTensor as Tensor
from keras import ops
from tensorflow.python.eager import context

read = tf.convert_to_tensor  # Keras's own gives variables as they are


def compiled(function: Callable) -> Callable:
    """Compile a function of tensors, for each shape once.

    Arguments that are no tensors are constants of the compiled code. It is not compiled while
    TensorFlow checks every number (`tf.debugging.enable_check_numerics`), which XLA cannot.
    """
    fast = tf.function(function, jit_compile=True, autograph=False)
    checked = tf.function(function, autograph=False)

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        return (checked if context.context().op_callbacks else fast)(*arguments, **options)

    return call


def recomputed(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Compile a function and its gradient, which keeps the argument alone for it.

    What lies between argument and result is computed again in the backward pass, where it costs no
    walk through memory of its own.
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


def random_words(count: int | Tensor, seed: Tensor) -> Tensor:
    """Draw uint32 numbers that may be any, each as two of 16 bits: int16 [count, 2].

    Args:
        count: how many.
        seed: integers [2].
    """
    words = tf.random.stateless_uniform(
        (count,), tf.cast(seed, "int32"), minval=None, maxval=None, dtype="uint32"
    )
    return tf.bitcast(words, "int16")


def has_fused_attention(dtype: str) -> bool:
    """Whether attention is one kernel for numbers of this dtype."""
    return False


def global_norm(gradients: list[Tensor]) -> Tensor:
    """Compute the L2 norm of all gradients together."""
    return tf.linalg.global_norm(gradients)


def shorten(gradients: list[Tensor], norm: Tensor, longest: float) -> list[Tensor]:
    """Scale gradients down to a length; most are short enough, and a walk takes time."""
    return tf.cond(
        norm > longest,
        lambda: [gradient * (longest / norm) for gradient in gradients],
        lambda: gradients,
    )


def update_if(condition: Tensor, update: Callable, variables: list[keras.Variable]) -> None:
    """Call a function that assigns variables, or do not."""
    tf.cond(condition, update, lambda: None)


def assign(variable: keras.Variable, value: Tensor) -> None:
    """Assign to this replica's copy of a variable."""
    tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)


def subtract(variable: keras.Variable, value: Tensor) -> None:
    """Subtract from this replica's copy of a variable."""
    tf.raw_ops.AssignSubVariableOp(resource=variable.handle, value=value)


def adam(
    variable: keras.Variable,
    moments: tuple[keras.Variable, keras.Variable],
    gradient: Tensor,
    learning_rate: Tensor,
    betas: tuple[float, float],
    powers: tuple[Tensor, Tensor],
    epsilon: float,
) -> None:
    """Update this replica's copy of a variable and its moments: one kernel for all of it.

    What it adds epsilon to is the root of the moment that is not corrected yet, so it gets an
    epsilon that is smaller by the same correction.
    """
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=moments[0].handle,
        v=moments[1].handle,
        beta1_power=powers[0],
        beta2_power=powers[1],
        lr=learning_rate,
        beta1=betas[0],
        beta2=betas[1],
        epsilon=epsilon * ops.sqrt(1.0 - powers[1]),
        grad=gradient,
    )
