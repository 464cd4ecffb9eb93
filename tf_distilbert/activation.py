"""The activations of the feed-forward layers."""

from collections.abc import Callable
from functools import cache, partial

from keras import KerasTensor as Tensor
from keras import ops

from tf_distilbert.compilation import recomputed


def activate(name: str, values: Tensor, training: bool = False) -> Tensor:
    """Apply the activation ``gelu`` (erf), ``gelu_tanh`` or ``relu``.

    Args:
        name: which.
        values: float [...].
        training: whether a gradient is wanted. Without one, TensorFlow makes GELU a part of the
            matrix product before it; with one, it is compiled, and its gradient with it.

    Returns:
        The same shape and dtype.
    """
    if name == "relu":
        return ops.relu(values)
    approximate = name == "gelu_tanh"
    if training:
        return _compiled_gelu(approximate)(values)
    return ops.gelu(values, approximate=approximate)


@cache
def _compiled_gelu(approximate: bool) -> Callable[[Tensor], Tensor]:
    return recomputed(partial(_gelu, approximate=approximate))


def _gelu(values: Tensor, approximate: bool) -> Tensor:
    # Compiled, a detour through float32 costs nothing.
    result = ops.gelu(ops.cast(values, "float32"), approximate=approximate)
    return ops.cast(result, values.dtype)
