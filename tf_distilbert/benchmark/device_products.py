"""Products of square bfloat16 matrices on an accelerator: what the matrix peak is measured with.

Beside the products, each engine says what it runs on.
"""

from collections.abc import Callable
from typing import Any

IN_A_ROW = 50
"""Products of a call; the last alone is waited for."""

Cases = dict[str, Callable[[], dict[str, Any]]]


def jax_products(sizes: tuple[int, ...]) -> Cases:
    """Give a case ``SIZE`` for each, by JAX; it makes `IN_A_ROW` and says what the device is."""
    import jax
    import jax.numpy as jnp

    product = jax.jit(jnp.matmul)
    facts = {
        "device": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
        "fused_attention": _fused_attention(),
    }

    def case(size: int) -> Callable[[], dict[str, Any]]:
        first, second = (
            jax.random.normal(jax.random.key(seed), (size, size)).astype("bfloat16")
            for seed in range(2)
        )
        second = second / jnp.bfloat16(size**0.5)  # the products stay as large as they were

        def run() -> dict[str, Any]:
            result = first
            for _ in range(IN_A_ROW):
                result = product(result, second)
            result.block_until_ready()
            return facts

        return run

    return {str(size): case(size) for size in sizes}


def torch_products(sizes: tuple[int, ...]) -> Cases:
    """Give a case ``SIZE`` for each, by PyTorch; see `jax_products`."""
    import torch

    on_gpu = torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    facts = {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }

    def case(size: int) -> Callable[[], dict[str, Any]]:
        first, second = (
            torch.randn(size, size, device=device).to(torch.bfloat16) for _ in range(2)
        )
        second = second / size**0.5
        other = torch.empty_like(first)

        def run() -> dict[str, Any]:
            result, free = first.clone(), other
            for _ in range(IN_A_ROW):
                torch.mm(result, second, out=free)
                result, free = free, result
            if on_gpu:
                torch.cuda.synchronize()
            return facts

        return run

    return {str(size): case(size) for size in sizes}


def _fused_attention() -> str:
    """Say whether the attention of our models, without dropout, is one kernel of cuDNN's here."""
    import jax
    import jax.numpy as jnp

    from tf_distilbert.attention import fused_attention, has_fused_attention

    if not has_fused_attention("bfloat16"):
        return "no"
    # Of BERT's head size. Where something is amiss with cuDNN, Keras takes another path silently.
    states = jax.ShapeDtypeStruct((2, 128, 12, 64), jnp.bfloat16)
    bias = jax.ShapeDtypeStruct((2, 1, 1, 128), jnp.float32)
    try:
        compiled = jax.jit(fused_attention).lower(states, states, states, bias).compile()
    except Exception as error:
        return f"no: {error}"[:300]
    return "yes" if "__cudnn$fmha" in compiled.as_text() else "no"
