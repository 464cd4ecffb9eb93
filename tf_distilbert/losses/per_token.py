"""The terms of the distillation objective, as pure functions per token; see `relations`, too.

Nothing is averaged here: each function returns one float32 value per token, and `masked_mean`
divides by a token count that the caller knows. The count is explicit because the right one is
*global*: a mean per micro-batch or per replica, averaged again, is another (and wrong) objective.

Distributions are compared through log-softmax on both sides, in float32, whatever dtype comes in:
probabilities that are clipped before the logarithm lose their gradient in a large vocabulary.

Dimensions: ``...`` any leading shape (one entry a token), V vocabulary, D hidden size.

Source: Sanh et al. 2019, "DistilBERT, a distilled version of BERT", section 2 and its reference
implementation, which settles what the paper leaves open (T², the reduction, which tokens count).
"""

from keras import KerasTensor as Tensor
from keras import ops

# Keeps 1/|h| and its gradient finite for an all-zero vector; PyTorch's cosine loss uses the same.
COSINE_EPSILON = 1e-12


def distillation_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 2.0
) -> Tensor:
    """Divergence of the student's from the teacher's softened prediction: T² · KL(p ‖ q).

    ``p = softmax(teacher / T)``, ``q = softmax(student / T)``. The factor T² keeps the size of the
    gradient, which is ``T · (q - p)``, independent of the temperature (Hinton et al. 2015).

    Args:
        student_logits: float [..., V].
        teacher_logits: float [..., V].
        temperature: T > 0.

    Returns:
        float32 [...], in nats, never negative up to rounding.
    """
    student_log_probabilities = ops.log_softmax(_float32(student_logits) / temperature, axis=-1)
    teacher_log_probabilities = ops.log_softmax(_float32(teacher_logits) / temperature, axis=-1)
    difference = teacher_log_probabilities - student_log_probabilities
    divergence = ops.sum(ops.exp(teacher_log_probabilities) * difference, axis=-1)
    return temperature**2 * divergence


def masked_lm_loss(student_logits: Tensor, token_ids: Tensor) -> Tensor:
    """Cross-entropy of the student's prediction with the token that was there: -ln q(token).

    Args:
        student_logits: float [..., V].
        token_ids: int [...], the original tokens.

    Returns:
        float32 [...], in nats.
    """
    log_probabilities = ops.log_softmax(_float32(student_logits), axis=-1)
    chosen = ops.take_along_axis(log_probabilities, ops.expand_dims(token_ids, -1), axis=-1)
    return -ops.squeeze(chosen, -1)


def cosine_loss(student_hidden: Tensor, teacher_hidden: Tensor) -> Tensor:
    """How far the student's hidden state points away from the teacher's: 1 - cos(student, teacher).

    Args:
        student_hidden: float [..., D], the last hidden state (after the last block's LayerNorm).
        teacher_hidden: float [..., D].

    Returns:
        float32 [...], between 0 (same direction) and 2.
    """
    student_hidden, teacher_hidden = _float32(student_hidden), _float32(teacher_hidden)
    product = ops.sum(student_hidden * teacher_hidden, axis=-1)
    student_square = ops.sum(ops.square(student_hidden), axis=-1) + COSINE_EPSILON
    teacher_square = ops.sum(ops.square(teacher_hidden), axis=-1) + COSINE_EPSILON
    return 1.0 - product * ops.rsqrt(student_square) * ops.rsqrt(teacher_square)


def logits_mse_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Squared distance of the raw logits, summed over the vocabulary; no temperature.

    Args:
        student_logits: float [..., V].
        teacher_logits: float [..., V].

    Returns:
        float32 [...].
    """
    return ops.sum(ops.square(_float32(student_logits) - _float32(teacher_logits)), axis=-1)


def hidden_state_loss(
    student_hidden: Tensor, teacher_hidden: Tensor, padding_mask: Tensor
) -> Tensor:
    """Squared distance of hidden states, a mean over their width.

    Args:
        student_hidden: float [..., D], the output of a layer.
        teacher_hidden: float [..., D].
        padding_mask: bool or 0/1 [...], true at real tokens. What padding holds, NaN included, has
            no influence on the value or the gradient.

    Returns:
        float32 [...], 0 at padding.

    Source: Sun et al. 2019, "Patient Knowledge Distillation", without its normalisation.
    """
    real = ops.cast(padding_mask, "bool")[..., None]
    student_hidden, teacher_hidden = (
        ops.where(real, _float32(hidden), 0.0) for hidden in (student_hidden, teacher_hidden)
    )
    return ops.mean(ops.square(student_hidden - teacher_hidden), axis=-1)


def embedding_mse_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of two vectors, a mean over their numbers.

    Args:
        student: float [..., E].
        teacher: float [..., E].

    Returns:
        float32 [...].
    """
    return ops.mean(ops.square(_float32(student) - _float32(teacher)), axis=-1)


def unit_length(vectors: Tensor) -> Tensor:
    """Give vectors, float32 [..., E], the length 1; that of zeros stays 0."""
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    # Of the sum, not of its root, whose gradient at 0 is no number.
    return vectors / ops.sqrt(ops.maximum(squares, 1e-24))


def masked_mean(values: Tensor, weights: Tensor, count: Tensor | None = None) -> Tensor:
    """Weighted sum of the values, divided by a token count.

    Args:
        values: float [...]. What it holds where the weight is 0 has no influence, not even a NaN.
        weights: of each value, bool or float [...], >= 0: a mask, or fractions.
        count: the divisor, by default the sum of the weights. Give the global count when `values`
            are only a part (a micro-batch, a replica's share) of what is averaged.

    Returns:
        float32 scalar; 0 if the count is 0.
    """
    weights = _float32(weights)
    if count is None:
        count = ops.sum(weights)
    total = ops.sum(ops.where(weights != 0, _float32(values) * weights, 0.0))
    return total / at_least_something(count)


def at_least_something(count: Tensor) -> Tensor:
    """Make a token count a divisor: 1 for a count of 0, which divides a sum of nothing."""
    count = _float32(count)
    return ops.where(count > 0, count, 1.0)


def _float32(values: Tensor) -> Tensor:
    return ops.cast(values, "float32")
