"""Attention in one kernel, which never writes the scores to memory, where the device has one.

That is an NVIDIA GPU under JAX (cuDNN's, from Ampere on, in bfloat16). Keras's kernel for TPUs does
not take a mask that differs from step to step, and TensorFlow has none.

Dimensions: B batch, S sequence, H heads, K head size.
"""

import keras
from keras import KerasTensor as Tensor
from keras import ops

if keras.backend.backend() == "jax":
    import jax

    def has_fused_attention(dtype: str) -> bool:
        """Whether `fused_attention` is one kernel for numbers of this dtype."""
        return dtype in ("bfloat16", "float16") and jax.default_backend() == "gpu"
else:

    def has_fused_attention(dtype: str) -> bool:
        """Whether `fused_attention` is one kernel for numbers of this dtype."""
        return False


def fused_attention(query: Tensor, key: Tensor, value: Tensor, attention_bias: Tensor) -> Tensor:
    """Compute ``softmax(query · key / sqrt(K)) · value`` over the keys that may be seen.

    Args:
        query, key, value: float [B, S, H, K].
        attention_bias: float [B, 1, 1, S] or [B, 1, S, S] (query, key), 0 where a key may be seen.

    Returns:
        float [B, S, H, K].
    """
    length = query.shape[1]
    seen = ops.broadcast_to(attention_bias == 0, (attention_bias.shape[0], 1, length, length))
    return ops.dot_product_attention(query, key, value, mask=seen)
