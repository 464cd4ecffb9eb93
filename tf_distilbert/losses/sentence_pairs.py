"""The objectives of sentence encoders, as pure functions of the vectors of a batch.

Vectors are compared by their cosines: lengths do not matter. Two of the three objectives compare
the rows of a batch with each other, so that they are functions of the whole batch, and not the sum
of what its parts give.

Dimensions: B rows of a batch, T texts of a row (a pair; a query, its passage and a hard negative),
E the vector.
"""

from collections.abc import Callable, Mapping, Sequence

from keras import KerasTensor as Tensor
from keras import ops

from tf_distilbert.losses.per_token import unit_length

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From vectors [B, T, E], targets [B, ...] and weights [B] to the loss of each row [B]."""

SCALE = 20.0
"""What cosines are multiplied by where they are compared through exponentials."""

_NOTHING = -1e30  # exp() of it is 0, and it is finite in float32


def similarity_mse_loss(vectors: Tensor, scores: Tensor, weights: Tensor) -> Tensor:
    """Squared distance of a pair's cosine to its score.

    Args:
        vectors: float [B, 2, E].
        scores: float [B], from -1 to 1.
        weights: float [B]; not used: every row is for itself.

    Returns:
        float [B].

    Source: Reimers and Gurevych 2019, section 3, "Regression Objective Function".
    """
    del weights
    return ops.square(_cosines(vectors) - scores)


def cosent_loss(vectors: Tensor, scores: Tensor, weights: Tensor) -> Tensor:
    """Say how far the order of the pairs by their cosines is from that by their scores.

    log(1 + the sum of exp(`SCALE` · (cosine of i - cosine of j)) over all pairs of rows i, j where
    the score of i is below that of j).

    Args:
        vectors: float [B, 2, E].
        scores: float [B], of any range.
        weights: float [B]; rows of weight 0 are left out.

    Returns:
        float [B]: that one number for every row.

    Source: Huang et al. 2024, "CoSENT: Consistent Sentence Embedding via Similarity Ranking".
    """
    cosines, counts = SCALE * _cosines(vectors), weights > 0
    differences = cosines[:, None] - cosines[None, :]
    compared = (scores[:, None] < scores[None, :]) & counts[:, None] & counts[None, :]
    terms = ops.ravel(ops.where(compared, differences, _NOTHING))
    # The exponential of 0 is the 1.
    total = ops.logsumexp(ops.concatenate([ops.zeros_like(terms[:1]), terms]))
    return total + ops.zeros_like(cosines)


def in_batch_negatives_loss(vectors: Tensor, texts: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of finding a query's passage among all passages of the batch.

    The logits are `SCALE` · cosine. The passages and the hard negatives of the other rows are
    negatives, but none that is a passage of this query: neither a text that is the same as the
    query's own passage, nor the passage of a row with the same query.

    Args:
        vectors: float [B, T, E]: of query, passage, and hard negatives, if T > 2.
        texts: int [B, T], a number for each text, equal where texts are.
        weights: float [B]; rows of weight 0 are no negatives.

    Returns:
        float [B].

    Source: Henderson et al. 2017, "Efficient Natural Language Response Suggestion for Smart
    Reply", section 4.4; with hard negatives as sentence-transformers'
    ``MultipleNegativesRankingLoss``.
    """
    rows, per_row = ops.shape(vectors)[0], ops.shape(vectors)[1] - 1
    units, counts = unit_length(vectors), weights > 0
    candidates = ops.reshape(units[:, 1:], (-1, vectors.shape[-1]))
    logits = SCALE * ops.matmul(units[:, 0], ops.transpose(candidates))
    numbers = ops.ravel(texts[:, 1:])
    own = per_row * ops.arange(rows)[:, None] == ops.arange(rows * per_row)[None, :]
    # Row i has the query of row j, whose passage is the candidate.
    same_query = (texts[:, :1] == texts[None, :, 0]) & counts[None, :]
    is_passage = texts[:, 1:2] == numbers[None, :]
    found = ops.matmul(ops.cast(same_query, "float32"), ops.cast(is_passage, "float32")) > 0
    there = ops.repeat(counts, per_row)[None, :]
    logits = ops.where(own | (there & ops.logical_not(found)), logits, _NOTHING)
    of_own = ops.sum(ops.where(own, logits, ops.zeros_like(logits)), axis=1)
    return ops.logsumexp(logits, axis=1) - of_own


OBJECTIVES: Mapping[str, Objective] = {
    "mse": similarity_mse_loss,
    "cosent": cosent_loss,
    "in_batch_negatives": in_batch_negatives_loss,
}

OF_THE_WHOLE_BATCH = ("cosent", "in_batch_negatives")
"""The objectives that compare rows with each other."""


def matryoshka_loss(
    objective: Objective, vectors: Tensor, targets: Tensor, weights: Tensor, sizes: Sequence[int]
) -> Tensor:
    """Sum an objective over the vectors' beginnings, so that these can stand for the whole.

    Args:
        objective: one of `OBJECTIVES`; compares by cosines, which is why a beginning need not be
            brought to the length 1.
        vectors, targets, weights: as the objective takes them.
        sizes: of the beginnings, each in 1..E.

    Returns:
        float [B].

    Source: Kusupati et al. 2022, "Matryoshka Representation Learning", equation 1, all weights 1.
    """
    return sum(objective(vectors[..., :size], targets, weights) for size in sizes)


def _cosines(vectors: Tensor) -> Tensor:
    units = unit_length(vectors)
    return ops.sum(units[:, 0] * units[:, 1], axis=-1)
