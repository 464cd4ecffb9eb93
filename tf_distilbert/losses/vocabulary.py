"""The terms that compare predictions over the vocabulary, without ever holding all logits.

The output projection, the losses and their gradients are computed chunk by chunk of the tokens.
The loss is one weighted sum, so what comes from above in the backward pass is one factor: the
gradients are complete when the forward pass ends, and no logits are kept or computed again.

What happens between the matrix products is compiled: without that, on TensorFlow, each operation
is one more walk through a chunk of logits.

Dimensions: N tokens, D hidden size (the models' may differ), V vocabulary, C tokens in a chunk.
"""

from collections.abc import Callable
from typing import NamedTuple

import keras
from keras import KerasTensor as Tensor
from keras import ops, tree

from tf_distilbert.backend import devices, kernels, step
from tf_distilbert.losses.per_token import at_least_something

# Each chunk adds to the whole gradient of the table. With 512 tokens, that takes 1 % of the time in
# float32 and 5 % in bfloat16; and three arrays of logits take as much memory as two tables.
CHUNK_SIZE = 512
# Tokens whose losses are computed at a time within a chunk, on a processor.
BLOCK_SIZE = 8
# Below every logit, and finite: TensorFlow's `enable_check_numerics` stops at an infinity.
_LOWEST = -3e38


class Projection(NamedTuple):
    """What makes a model's logits: ``hidden @ table.T + bias``.

    Attributes:
        hidden: float [N, D], what enters the output projection; its dtype is the products'.
        table: float [V, D], the word embeddings.
        bias: float [V].
    """

    hidden: Tensor
    table: Tensor
    bias: Tensor


class TokenWeights(NamedTuple):
    """What each token's terms count in the total: the loss weight over the *global* token count.

    Each is float32 [N], 0 where a token does not count. A term that is None is not computed; a
    gradient needs one of them.
    """

    distillation: Tensor | None = None
    mlm: Tensor | None = None
    mse: Tensor | None = None


def vocabulary_loss(
    student: Projection,
    teacher: Projection,
    token_ids: Tensor,
    weights: TokenWeights,
    temperature: float = 2.0,
    chunk_size: int = CHUNK_SIZE,
    with_gradient: bool = True,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum the weighted terms of `losses` over the tokens, and give them token by token.

    The total has a gradient with respect to the student's hidden states, table and bias, the
    values have none. What a token of weight 0 holds, NaN included, influences neither the total
    nor a gradient. The terms and their gradients are float32 whatever comes in.

    Args:
        student: see `Projection`.
        teacher: the same; nothing has a gradient with respect to it.
        token_ids: int [N], the original tokens; any number where `weights.mlm` is 0.
        weights: of each term, token by token.
        temperature: T > 0 of the distillation term.
        chunk_size: how many tokens' logits may exist at a time, rounded up to a multiple of
            `BLOCK_SIZE`. The tokens are split evenly, so a chunk may be smaller.
        with_gradient: whether to prepare the gradient; without it, the total has none.

    Returns:
        The total, float32 scalar, and values by name, float32 [N] each: ``distillation_loss``,
        ``mlm_loss``, ``mse_loss`` (those that have weights), and 0 or 1:
        ``token_is_top`` (no token has a higher logit of the student than the original one) and
        ``tops_agree`` (a token is at the top of both models). A tie counts as a hit.
    """
    student = Projection(*map(kernels.read, student))
    teacher = Projection(*(ops.stop_gradient(kernels.read(part)) for part in teacher))
    weights = TokenWeights(*(None if w is None else _float32(w) for w in weights))
    # Only tokens without a weight may have another id.
    token_ids = ops.clip(ops.cast(token_ids, "int32"), 0, student.table.shape[0] - 1)
    if not with_gradient:
        student = Projection(*map(ops.stop_gradient, student))
        values, _ = _walk(
            student, teacher, token_ids, weights, temperature, chunk_size, with_gradient=False
        )
        return _total(values, weights), values

    names = _value_names(weights)
    unit = _largest(weights) if _dtype(student.hidden) == "float16" else 1.0

    @ops.custom_gradient
    def total_and_values(*parts: Tensor) -> tuple[tuple, Callable]:
        projection = Projection(*map(ops.stop_gradient, parts))
        in_units = TokenWeights(*(None if w is None else w / unit for w in weights))
        values, gradients = _walk(
            projection, teacher, token_ids, in_units, temperature, chunk_size, with_gradient=True
        )

        def gradient(*upstream: Tensor) -> tuple:
            # The total's comes first; backends differ in how they pack those of several outputs.
            factor = tree.flatten(upstream)[0] * unit
            return tuple(part * ops.cast(factor, part.dtype) for part in gradients)

        return (_total(values, weights), *(values[name] for name in names)), gradient

    total, *values = total_and_values(*student)
    return total, dict(zip(names, map(ops.stop_gradient, values), strict=True))


def _walk(
    student: Projection,
    teacher: Projection,
    token_ids: Tensor,
    weights: TokenWeights,
    temperature: float,
    chunk_size: int,
    with_gradient: bool,
) -> tuple[dict[str, Tensor], tuple]:
    """Give the values of all tokens, and the gradients of their total."""
    num_tokens, dtype = ops.shape(student.hidden)[0], student.hidden.dtype
    num_chunks = -(-num_tokens // chunk_size)
    # Of a smaller last batch, a replica may have no tokens: there is no chunk then, of any size.
    at_least_one = max if isinstance(num_chunks, int) else ops.maximum
    size = -(-num_tokens // (at_least_one(num_chunks, 1) * BLOCK_SIZE)) * BLOCK_SIZE
    # Cast here: inside the loop it would happen for each chunk.
    student_table = ops.cast(student.table, dtype)
    teacher_table = ops.cast(teacher.table, teacher.hidden.dtype)

    def add_chunk(i: Tensor, state: tuple) -> tuple:
        values, gradients = state
        positions = i * size + ops.arange(size, dtype="int32")
        exists = positions < num_tokens  # the last chunk repeats the last token, at weight 0
        rows = ops.minimum(positions, num_tokens - 1)
        hidden = ops.take(student.hidden, rows, axis=0)
        chunk_weights = TokenWeights(
            *(None if w is None else ops.where(exists, ops.take(w, rows), 0.0) for w in weights)
        )
        chunk_values, of_logits, of_bias = _terms(
            _logits(hidden, student_table),
            _logits(ops.take(teacher.hidden, rows, axis=0), teacher_table),
            student.bias,
            teacher.bias,
            ops.take(token_ids, rows),
            chunk_weights,
            temperature=temperature,
            with_gradient=with_gradient,
        )
        values = {name: _put(values[name], i, chunk_values[name]) for name in values}
        if with_gradient:
            of_hidden, of_table, all_of_bias = gradients
            # The gradient is 0 where no weight is; 0 times a NaN would be one.
            hidden = ops.where(_any_weight(chunk_weights)[:, None], hidden, 0.0)
            product = ops.matmul(ops.transpose(of_logits), hidden)
            gradients = (
                _put(of_hidden, i, ops.matmul(of_logits, student_table)),
                _float32(product) if of_table is None else of_table + _float32(product),
                of_bias if all_of_bias is None else all_of_bias + of_bias,
            )
        return values, gradients

    def empty(with_zeros: bool) -> tuple[dict[str, Tensor], tuple]:
        values = {name: ops.zeros((num_chunks, size)) for name in _value_names(weights)}
        if not with_gradient:
            return values, ()
        of_hidden = ops.zeros((num_chunks, size, student.hidden.shape[-1]), dtype)
        sums = (ops.zeros(p.shape) if with_zeros else None for p in (student.table, student.bias))
        return values, (of_hidden, *sums)

    values, gradients = step.repeat(num_chunks, add_chunk, empty)
    values = {name: ops.reshape(v, (-1,))[:num_tokens] for name, v in values.items()}
    if with_gradient:
        of_hidden, *others = gradients
        of_hidden = ops.reshape(of_hidden, (-1, student.hidden.shape[-1]))[:num_tokens]
        dtypes = (student.table.dtype, student.bias.dtype)
        gradients = (of_hidden, *map(ops.cast, others, dtypes))
    return values, gradients


@kernels.compiled
def _terms(
    student_products: Tensor,
    teacher_products: Tensor,
    student_bias: Tensor,
    teacher_bias: Tensor,
    token_ids: Tensor,
    weights: TokenWeights,
    temperature: float,
    with_gradient: bool,
) -> tuple[dict[str, Tensor], Tensor | None, Tensor | None]:
    """Give values [C] of one chunk, and the gradient of its total: of logits [C, V], of bias [V].

    On a processor the rows are done a few at a time, so that what is between the inputs and the
    results stays in its cache, and takes no memory to speak of.
    """

    # Teacher and student may compute in different precisions.
    dtype, teacher_dtype = student_products.dtype, teacher_products.dtype

    def block_terms(block: tuple) -> tuple:
        student, teacher, token_ids, weights = block
        student = _float32(ops.view(student, dtype)) + _float32(student_bias)
        teacher = _float32(ops.view(teacher, teacher_dtype)) + _float32(teacher_bias)
        values, gradient = _row_terms(student, teacher, token_ids, weights, temperature)
        if not with_gradient:
            return (values,)
        return values, _as_bits(ops.cast(gradient, dtype)), ops.sum(gradient, axis=0)

    given = {name: weight for name, weight in weights._asdict().items() if weight is not None}
    split = (-1, BLOCK_SIZE) if devices.is_processor() else (1, -1)
    blocks = tree.map_structure(
        lambda tensor: ops.reshape(tensor, (*split, *tensor.shape[1:])),
        (_as_bits(student_products), _as_bits(teacher_products), token_ids, given),
    )
    values, *gradients = ops.map(block_terms, blocks)
    values = {name: ops.reshape(value, (-1,)) for name, value in values.items()}
    if not with_gradient:
        return values, None, None
    of_logits, of_bias = gradients
    of_logits = ops.reshape(ops.view(of_logits, dtype), (-1, student_products.shape[-1]))
    return values, of_logits, ops.sum(of_bias, axis=0)


def _row_terms(
    student: Tensor,
    teacher: Tensor,
    token_ids: Tensor,
    weights: dict[str, Tensor],
    temperature: float,
) -> tuple[dict[str, Tensor], Tensor]:
    """Give values and the gradient of their total with respect to the student's logits.

    Both distributions of the student come from the same exponentials where the temperature allows.
    """
    token_ids = token_ids[:, None]
    student_top = ops.max(student, axis=-1, keepdims=True)
    of_token = ops.take_along_axis(student, token_ids, axis=-1)
    # Below the top one, so that no exponential overflows.
    student_below = student - student_top
    teacher_below = teacher - ops.max(teacher, axis=-1, keepdims=True)
    student_of_teacher_top = ops.max(
        ops.where(teacher_below >= 0, student_below, _LOWEST), axis=-1, keepdims=True
    )
    values = {"token_is_top": of_token >= student_top, "tops_agree": student_of_teacher_top >= 0}
    gradient = 0.0
    softened = ops.exp(student_below / temperature)
    if "distillation" in weights:
        teacher_softened = ops.exp(teacher_below / temperature)
        student_sum, teacher_sum = _sum(softened), _sum(teacher_softened)
        difference = _sum(teacher_softened * (teacher_below - student_below)) / temperature
        divergence = difference / teacher_sum + ops.log(student_sum) - ops.log(teacher_sum)
        values["distillation_loss"] = temperature**2 * divergence
        scale = temperature * weights["distillation"][:, None]
        gradient += _where_weighted(
            scale, softened * (scale / student_sum) - teacher_softened * (scale / teacher_sum)
        )
    if "mlm" in weights:
        if temperature in (1, 2):
            exponentials = softened if temperature == 1 else ops.square(softened)
        else:
            exponentials = ops.exp(student_below)
        total, weight = _sum(exponentials), weights["mlm"][:, None]
        values["mlm_loss"] = ops.log(total) - (of_token - student_top)
        is_token = ops.arange(student.shape[-1], dtype="int32") == token_ids
        gradient += _where_weighted(
            weight, exponentials * (weight / total) - ops.where(is_token, weight, 0.0)
        )
    if "mse" in weights:
        difference, weight = student - teacher, weights["mse"][:, None]
        values["mse_loss"] = _sum(ops.square(difference))
        gradient += _where_weighted(weight, 2 * weight * difference)
    values = {name: _float32(ops.squeeze(value, -1)) for name, value in values.items()}
    return values, gradient


def _value_names(weights: TokenWeights) -> list[str]:
    terms = [f"{name}_loss" for name, weight in weights._asdict().items() if weight is not None]
    return [*terms, "token_is_top", "tops_agree"]


def _total(values: dict[str, Tensor], weights: TokenWeights) -> Tensor:
    total = ops.zeros(())
    for name, weight in weights._asdict().items():
        if weight is not None:
            total += ops.sum(_where_weighted(weight, weight * values[f"{name}_loss"]))
    return total


def _any_weight(weights: TokenWeights) -> Tensor:
    nonzero = [weight != 0 for weight in weights if weight is not None]
    return ops.any(ops.stack(nonzero), axis=0)


def _where_weighted(weight: Tensor, values: Tensor) -> Tensor:
    return ops.where(weight != 0, values, 0.0)


def _as_bits(products: Tensor) -> Tensor:
    """View numbers of 16 bits as integers.

    Of a slice of bfloat16, XLA would make one of the *whole* array in float32, for each block.
    """
    is_short = _dtype(products) in ("bfloat16", "float16")
    return ops.view(products, "uint16") if is_short else products


def _dtype(tensor: Tensor) -> str:
    return keras.backend.standardize_dtype(tensor.dtype)


def _largest(weights: TokenWeights) -> Tensor:
    """Give the unit in which gradients of logits are computed in float16; 1 if no token counts.

    What one of many tokens adds to the mean is too small for it, one of thousands of words' share
    of that even more so.
    """
    return at_least_something(ops.max(ops.stack([ops.max(w) for w in weights if w is not None])))


def _logits(hidden: Tensor, table: Tensor) -> Tensor:
    return ops.matmul(hidden, ops.transpose(table))


def _put(chunks: Tensor, i: Tensor, chunk: Tensor) -> Tensor:
    return ops.scatter_update(chunks, ops.reshape(i, (1, 1)), chunk[None])


def _sum(values: Tensor) -> Tensor:
    return ops.sum(values, axis=-1, keepdims=True)


def _float32(values: Tensor) -> Tensor:
    return ops.cast(values, "float32")
