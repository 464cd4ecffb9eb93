"""Exact search by cosine, block by block, so that not all passages are in memory at a time.

Dimensions: Q queries, n passages of a block, P passages in all, E the vector.
"""

from collections.abc import Iterable

import numpy as np

from tf_distilbert.errors import NotFiniteError

_COSINES_AT_ONCE = 2**22
"""Of some queries and a block: 16 MB."""

_LOW = 2**32


def nearest(queries: np.ndarray, blocks: Iterable[np.ndarray], depth: int) -> np.ndarray:
    """Find for each query the passages of the largest cosines.

    Args:
        queries: float32 [Q, E], of any lengths.
        blocks: the passages' vectors in their order, float32 [n, E] each; P < 2^32.
        depth: how many passages to find.

    Returns:
        The passages' numbers, from 0, int64 [Q, min(depth, P)], the nearest first; of equal cosines
        the earlier one.

    Raises:
        NotFiniteError: a number of a vector is infinite or none.
    """
    queries, first = unit_rows(queries).astype(np.float32), 0
    best = np.zeros((len(queries), 0), np.int64)
    for vectors in blocks:
        block = unit_rows(vectors).astype(np.float32).T
        kept = []
        at_once = max(1, _COSINES_AT_ONCE // max(1, block.shape[1]))
        for begin in range(0, len(queries), at_once):
            part = slice(begin, begin + at_once)
            keys = np.concatenate([best[part], _keys(queries[part] @ block, first)], axis=1)
            if keys.shape[1] > depth:
                keys = np.partition(keys, -depth, axis=1)[:, -depth:]
            kept.append(keys)
        best, first = np.concatenate(kept), first + block.shape[1]
    return _LOW - 1 - np.sort(best, axis=1)[:, ::-1] % _LOW


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Give vectors, float [n, E], the length 1, float64; that of zeros stays 0.

    Raises:
        NotFiniteError: a number is infinite or none.
    """
    if not np.isfinite(vectors).all():
        raise NotFiniteError("the model's vectors are not finite; train with a lower learning rate")
    vectors = vectors.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def _keys(cosines: np.ndarray, first: int) -> np.ndarray:
    """Give whole numbers in the order of the cosines and, where these are equal, of the passages
    from the last to the first: the cosine's bits, then the passage's number, int64 [Q, n]."""
    bits = (cosines + 0.0).view(np.int32)  # -0 becomes 0
    # The bits of a float grow with it; below 0 they fall.
    ordered = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64)
    numbers = np.arange(first, first + cosines.shape[1])
    return ordered * _LOW + (_LOW - 1 - numbers)
