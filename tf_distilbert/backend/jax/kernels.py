"""Arithmetic on JAX, which compiles a step as a whole: each function is part of what calls it."""

from collections.abc import Callable

import jax
import keras
from keras import KerasTensor as Tensor
from keras import ops

read = ops.convert_to_tensor


def compiled(function: Callable) -> Callable:
    """Give the function as it is."""
    return function


def recomputed(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Give the function as it is."""
    return function


def random_words(count: int | Tensor, seed: Tensor) -> Tensor:
    """Draw numbers of 16 bits in pairs: int16 [count, 2].

    XLA's own generator: JAX's default one takes several times as long on a GPU or a TPU. Of
    numbers of 16 bits it would throw half of what it draws away.

    Args:
        count: how many pairs.
        seed: integers [2].
    """
    words = ops.concatenate([seed, ~seed])
    key = jax.random.wrap_key_data(ops.cast(words, "uint32"), impl="rbg")
    return jax.lax.bitcast_convert_type(jax.random.bits(key, (count,), "uint32"), "int16")


def has_fused_attention(dtype: str) -> bool:
    """Whether attention is one kernel for numbers of this dtype.

    On an NVIDIA GPU it is cuDNN's, from Ampere on. Keras's kernel for TPUs does not take a mask
    that differs from step to step.
    """
    return dtype in ("bfloat16", "float16") and jax.default_backend() == "gpu"


def global_norm(gradients: list[Tensor]) -> Tensor:
    """Compute the L2 norm of all gradients together."""
    return ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))


def shorten(gradients: list[Tensor], norm: Tensor, longest: float) -> list[Tensor]:
    """Scale gradients down to a length."""
    scale = ops.where(norm > longest, longest / norm, 1.0)
    return [gradient * scale for gradient in gradients]


def update_if(condition: Tensor, update: Callable, variables: list[keras.Variable]) -> None:
    """Call a function that assigns variables, and keep what it did, or do not."""
    before = [variable.value for variable in variables]
    update()
    for variable, value in zip(variables, before, strict=True):
        variable.assign(ops.where(condition, variable.value, value))


def assign(variable: keras.Variable, value: Tensor) -> None:
    """Assign to a variable."""
    variable.assign(value)


def subtract(variable: keras.Variable, value: Tensor) -> None:
    """Subtract from a variable."""
    variable.assign_sub(value)


def adam(
    variable: keras.Variable,
    moments: tuple[keras.Variable, keras.Variable],
    gradient: Tensor,
    learning_rate: Tensor,
    betas: tuple[float, float],
    powers: tuple[Tensor, Tensor],
    epsilon: float,
) -> None:
    """Update a variable and its moments."""
    first, second = moments
    first.assign(first.value + (gradient - first.value) * (1.0 - betas[0]))
    second.assign(second.value + (ops.square(gradient) - second.value) * (1.0 - betas[1]))
    root = ops.sqrt(second.value / (1.0 - powers[1]))
    variable.assign_sub(learning_rate * (first.value / (1.0 - powers[0])) / (root + epsilon))
