"""The term that compares attention relations, without ever holding all of them.

A relation is how much each token of a sequence has to do with each other one, as a layer's queries,
its keys or its values say: a softmax of their products among themselves. It has no width. So a
student of any width and any number of attention heads can be compared with its teacher, and no
projection between them has to be learned.

    loss of token t = 1/3 · Σ over queries, keys, values · 1/A · Σ over A relation heads
                      KL( teacher's row t ‖ student's row t ) of softmax( X · Xᵀ / √(D / A) )

Relations are computed for a few sequences and heads at a time. The loss is one weighted sum, so
its gradient is complete when the forward pass ends, and no relation is kept or computed again.

Dimensions: B batch, S sequence, D hidden (the models' may differ), A relation heads, H = 3·A of
queries, keys and values together, K = D / A the width of one, C heads in memory at a time.

Source: Wang et al. 2021, "MiniLMv2: Multi-Head Self-Attention Relation Distillation for Compressing
Pretrained Transformers", section 3.
"""

from collections.abc import Callable
from math import gcd

from keras import KerasTensor as Tensor
from keras import ops, tree

from tf_distilbert.backend import devices, kernels
from tf_distilbert.errors import UserError
from tf_distilbert.losses.per_token import at_least_something

MOST_RELATIONS = {"processor": 2**20, "accelerator": 2**26}
"""How many numbers of a model's relations may be in memory at a time, by the kind of device."""

MOST_RELATION_HEADS = 48
"""The authors' number for models of 768 and 384, and the most that is taken by default."""

# Finite: TensorFlow's `enable_check_numerics` stops at an infinity. exp() of it is exactly 0.
_UNRELATED = -1e9


def common_relation_heads(teacher_size: int, student_size: int, wanted: int | None = None) -> int:
    """Give a number of relation heads that divides both hidden sizes.

    Args:
        teacher_size, student_size: D of the models.
        wanted: the number, which is then only checked; by default the largest up to
            `MOST_RELATION_HEADS`.

    Raises:
        UserError: the wanted number does not divide both.

    Example:
        >>> common_relation_heads(768, 384), common_relation_heads(256, 128)
        (48, 32)
    """
    if wanted is None:
        both = gcd(teacher_size, student_size)
        return next(n for n in range(MOST_RELATION_HEADS, 0, -1) if both % n == 0)
    for name, size in (("teacher", teacher_size), ("student", student_size)):
        if wanted < 1 or size % wanted:
            raise UserError(
                f"loss.relation_heads is {wanted}, which does not divide the {name}'s hidden size "
                f"{size}; give a number that divides both hidden sizes, or null"
            )
    return wanted


def relation_loss(
    student: Tensor,
    teacher: Tensor,
    padding_mask: Tensor,
    weights: Tensor,
    *,
    sequence_ids: Tensor | None = None,
    num_relation_heads: int = 48,
    most_relations: int | None = None,
    with_gradient: bool = True,
) -> tuple[Tensor, Tensor]:
    """Sum the weighted divergence of attention relations over the tokens, and give it by token.

    The total has a gradient with respect to the student's projections, the values have none. What
    padding holds, NaN included, influences neither. Products have the dtype of what comes in,
    everything between them is float32.

    Args:
        student: float [B, S, 3·D], the queries, keys and values of a layer, side by side, as the
            layer's projection gives them, bias included.
        teacher: the same, of any width; nothing has a gradient with respect to it.
        padding_mask: bool or 0/1 [B, S], true at real tokens.
        weights: float32 [B, S], what each token counts in the total: the loss weight over the
            *global* token count, and 0 at padding.
        sequence_ids: int [B, S], where several sequences share a row; only tokens of the same one
            are related.
        num_relation_heads: A, into how many parts each of queries, keys and values is cut; both
            widths are multiples of it.
        most_relations: how many numbers of a model's relations may exist at a time, but at least
            those of one head of one sequence; by default `MOST_RELATIONS`.
        with_gradient: whether to prepare the gradient; without it, the total has none.

    Returns:
        The total, float32 scalar; and the loss of each token in nats, float32 [B, S].

    Raises:
        UserError: a width is no multiple of the number of relation heads.

    Source: Wang et al. 2021, section 3.1. It averages over a sequence first; here the mean is over
    all tokens of the global batch, as of every other term.
    """
    common_relation_heads(teacher.shape[-1] // 3, student.shape[-1] // 3, num_relation_heads)
    student, teacher = kernels.read(student), ops.stop_gradient(kernels.read(teacher))
    real = ops.cast(padding_mask, "bool")
    weights = ops.where(real, ops.cast(weights, "float32"), 0.0)
    related = real[:, None, :]
    if sequence_ids is not None:
        same = sequence_ids[:, :, None] == sequence_ids[:, None, :]
        related = ops.logical_and(related, same)
    teacher_heads = _in_heads(teacher, real, num_relation_heads)

    def walk(student: Tensor, with_gradient: bool) -> tuple[Tensor, Tensor | None]:
        heads = _in_heads(ops.stop_gradient(student), real, num_relation_heads)
        return _walk(heads, teacher_heads, related, weights, most_relations, with_gradient)

    if not with_gradient:
        values, _ = walk(student, with_gradient=False)
        return _total(values, weights), values

    @ops.custom_gradient
    def total_and_values(student: Tensor) -> tuple[tuple[Tensor, Tensor], Callable]:
        values, gradient = walk(student, with_gradient=True)
        assert gradient is not None

        def times_upstream(*upstream: Tensor) -> Tensor:
            # The total's comes first; backends differ in how they pack those of several outputs.
            factor = tree.flatten(upstream)[0]
            return gradient * ops.cast(factor, gradient.dtype)

        return (_total(values, weights), values), times_upstream

    total, values = total_and_values(student)
    return total, ops.stop_gradient(values)


def _walk(
    student: Tensor,
    teacher: Tensor,
    related: Tensor,
    weights: Tensor,
    most_relations: int | None,
    with_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """Give the values of all tokens [B, S], and the gradient of their total [B, S, 3·D].

    Args:
        student, teacher: [B, H, S, K] each.
        related: bool [B, 1, S] or [B, S, S] (row, column).
        weights, most_relations, with_gradient: see `relation_loss`.
    """
    num_sequences, num_heads, length, head_size = ops.shape(student)
    # One list of heads, of which some have their turn at a time.
    student = ops.reshape(student, (-1, length, head_size))
    teacher = ops.reshape(teacher, (-1, length, teacher.shape[-1]))
    num_in_list = num_sequences * num_heads
    kind = "processor" if devices.is_processor() else "accelerator"
    at_least_one = max if isinstance(length, int) else ops.maximum
    size = at_least_one((most_relations or MOST_RELATIONS[kind]) // length**2, 1)
    num_parts = -(-num_in_list // size)
    # The weights' own unit: in float16, what one of thousands of tokens counts is 0.
    unit = at_least_something(ops.max(weights))

    def part(i: Tensor) -> tuple:
        # The last part repeats the last head; that is cut off in the end.
        places = ops.minimum(i * size + ops.arange(size, dtype="int32"), num_in_list - 1)
        sequences = places // num_heads
        own = ops.take(student, places, axis=0)
        values, of_products = _terms(
            _products(own),
            _products(ops.take(teacher, places, axis=0)),
            ops.take(related, sequences, axis=0),
            ops.take(weights, sequences, axis=0) / unit,
            with_gradient=with_gradient,
        )
        if not with_gradient:
            return (values,)
        # X · Xᵀ has X on both sides.
        turned = ops.swapaxes(of_products, 1, 2)
        return values, ops.matmul(of_products, own) + ops.matmul(turned, own)

    values, *gradients = ops.map(part, ops.arange(num_parts, dtype="int32"))
    values = ops.reshape(ops.reshape(values, (-1, length))[:num_in_list], (-1, num_heads, length))
    values = ops.sum(values, axis=1) / num_heads
    if not with_gradient:
        return values, None
    gradient = ops.reshape(gradients[0], (-1, length, head_size))[:num_in_list]
    gradient = ops.reshape(gradient, (-1, num_heads, length, head_size))
    gradient = ops.reshape(ops.swapaxes(gradient, 1, 2), (-1, length, num_heads * head_size))
    # In float16 the factor alone may be too small to have all of its digits.
    scaled = ops.cast(gradient, "float32") * (unit / (num_heads * head_size**0.5))
    return values, ops.cast(scaled, gradient.dtype)


@kernels.compiled
def _terms(
    student: Tensor, teacher: Tensor, related: Tensor, weights: Tensor, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Give the divergence of each row of some heads [C, S], and the gradient [C, S, S].

    Args:
        student, teacher: the products of tokens with tokens, float [C, S, S] each.
        related: bool [C, 1, S] or [C, S, S].
        weights: float32 [C, S].
        with_gradient: whether to give the gradient of the weighted sum with respect to the
            student's products.
    """
    products_dtype = student.dtype
    student, teacher = (
        ops.where(related, ops.cast(products, "float32"), _UNRELATED)
        for products in (student, teacher)
    )
    # Below the largest of a row, so that no exponential overflows.
    student = student - ops.max(student, axis=-1, keepdims=True)
    teacher = teacher - ops.max(teacher, axis=-1, keepdims=True)
    of_student, of_teacher = ops.exp(student), ops.exp(teacher)
    student_sum, teacher_sum = _sum(of_student), _sum(of_teacher)
    difference = _sum(of_teacher * (teacher - student)) / teacher_sum
    values = ops.squeeze(difference + ops.log(student_sum) - ops.log(teacher_sum), -1)
    if not with_gradient:
        return values, None
    weights = weights[:, :, None]
    gradient = of_student * (weights / student_sum) - of_teacher * (weights / teacher_sum)
    return values, ops.cast(gradient, products_dtype)


def _in_heads(projected: Tensor, real: Tensor, num_heads: int) -> Tensor:
    """Cut queries, keys and values into heads, [B, S, 3·D] to [B, H, S, K]; 0 at padding."""
    _, length, width = ops.shape(projected)
    # What padding holds would come into sums, times 0: that may be no number.
    projected = ops.where(real[:, :, None], projected, ops.zeros_like(projected))
    heads = ops.reshape(projected, (-1, length, 3 * num_heads, width // (3 * num_heads)))
    return ops.swapaxes(heads, 1, 2)


def _products(heads: Tensor) -> Tensor:
    """Multiply tokens with tokens: [C, S, K] to [C, S, S]."""
    scaled = heads * ops.cast(heads.shape[-1] ** -0.5, heads.dtype)
    return ops.matmul(scaled, ops.swapaxes(heads, 1, 2))


def _total(values: Tensor, weights: Tensor) -> Tensor:
    return ops.sum(ops.where(weights != 0, weights * values, 0.0))


def _sum(values: Tensor) -> Tensor:
    return ops.sum(values, axis=-1, keepdims=True)
