"""Attention in one kernel, against the definition in float64."""

import numpy as np
import pytest

from tf_distilbert.backend import kernels
from tf_distilbert.models.encoder import fused_attention

BATCH, LENGTH, HEADS, SIZE = 3, 7, 2, 5
LENGTHS = np.array([7, 4, 1])


def seen_of(form):
    """Which keys a query may see: those that are no padding; or also none that comes later."""
    keys = np.arange(LENGTH) < LENGTHS[:, None]
    if form == "padding":
        return keys[:, None, None, :]
    return np.tril(keys[:, None, None, :] & np.ones((LENGTH, LENGTH), bool))


@pytest.mark.parametrize("form", ["padding", "by query"])
def test_it_is_the_softmax_over_the_keys_that_may_be_seen(form):
    random = np.random.default_rng(1)
    query, key, value = random.normal(size=(3, BATCH, LENGTH, HEADS, SIZE))
    seen = seen_of(form)
    scores = np.einsum("bqhk,bshk->bhqs", query, key) / np.sqrt(SIZE)
    weights = np.where(seen, np.exp(scores), 0)
    weights /= weights.sum(-1, keepdims=True)
    expected = np.einsum("bhqs,bshk->bqhk", weights, value)
    found = fused_attention(*(x.astype("float32") for x in (query, key, value)), seen)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_tensorflow_has_no_such_kernel():
    assert not any(
        kernels.has_fused_attention(dtype) for dtype in ("float32", "bfloat16", "float16")
    )
