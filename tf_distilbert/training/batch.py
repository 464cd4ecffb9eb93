"""What a batch is: the contract between a dataset and the objectives, checked in one place.

Structure, names and dtypes are checked once, where a step is traced, and lengths too where a
dataset says them; other lengths as the step runs.

Dimensions: B batch, S sequence, P prediction slots.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import KerasTensor as Tensor
from keras import ops, tree

from tf_distilbert.backend import step
from tf_distilbert.errors import UserError
from tf_distilbert.losses.per_token import at_least_something

Batch = tuple[dict[str, Tensor], Tensor, Tensor]
Scalars = dict[str, Tensor]

_MAY_BE_FLOAT = ("padding_mask", "teacher_embedding")


def checked_batch(data: Any, names: Sequence[str], max_positions: int) -> Batch:
    """Give a batch as ``(inputs, targets, weights)``, once it has that form.

    Args:
        data: what `fit` hands to a step.
        names: of the inputs that there must be, ``token_ids`` and ``padding_mask`` among them.
        max_positions: the longest sequence that all models can read, in tokens.

    Raises:
        UserError: a part or an input is missing, has another shape than it must, or a sequence is
            too long.
    """
    parts = tuple(data) if isinstance(data, (tuple, list)) else (data,)
    if len(parts) != 3 or parts[1] is None or parts[2] is None:
        found = sum(part is not None for part in parts)
        raise UserError(
            f"a batch has {found} part{'s' * (found != 1)}; it must be (inputs, targets, weights), "
            "with weight 1 for each target that counts and 0 for the others; "
            "tf_distilbert.masked_lm_dataset makes such batches"
        )
    inputs, targets, weights = parts
    if not isinstance(inputs, Mapping):
        raise UserError(f"a batch's inputs are a {type(inputs).__name__}; give a dictionary")
    for name in names:
        if name not in inputs:
            raise UserError(
                f"a batch's inputs have no {name}; they must have {', '.join(names)} (here are "
                f"{', '.join(sorted(inputs))})"
            )
    for name, tensor in inputs.items():
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        if name not in _MAY_BE_FLOAT and "float" in dtype:
            raise UserError(f"a batch's {name} are {dtype}; they must be whole numbers")
    for tensor in tree.flatten(parts):
        if getattr(tensor.shape, "rank", 0) is None:
            raise UserError(
                "a tensor of a batch has no known number of dimensions; make the dataset with "
                "output_signature, or set_shape"
            )
    token_ids = inputs["token_ids"]
    if len(token_ids.shape) != 2:
        raise UserError(f"a batch's token_ids have shape {_shown(token_ids)}; it must be [B, S]")
    _check_alike("padding_mask", inputs["padding_mask"], "token_ids", token_ids)
    _check_alike("targets", targets, "weights", weights, ranks=len(weights.shape))
    if "mask_positions" in names:
        _check_alike("mask_positions", inputs["mask_positions"], "targets", targets)
        _check_alike("weights", weights, "targets", targets)
        length = ops.shape(token_ids)[1]
        weights = _check_places(inputs["mask_positions"], weights, length)
        positions = ops.clip(ops.cast(inputs["mask_positions"], "int32"), 0, length - 1)
        inputs = {**inputs, "mask_positions": positions}
    return _of_checked_length(inputs, max_positions), targets, weights


def _check_alike(
    name: str, tensor: Tensor, other_name: str, other: Tensor, ranks: int | None = None
) -> None:
    """See that shapes are equal, as far as they are known; of some, in the first dimensions."""
    ours, theirs = list(tensor.shape)[:ranks], list(other.shape)
    pairs = zip(ours, theirs, strict=False)
    differ = any(a is not None and b is not None and a != b for a, b in pairs)
    if len(ours) != len(theirs) or differ:
        raise UserError(
            f"a batch's {name} have shape {_shown(tensor)}, its {other_name} {_shown(other)}; "
            "there must be one for each"
        )


def _check_places(positions: Tensor, weights: Tensor, length: int | Tensor) -> Tensor:
    """See that what is to be predicted is in the sequence, and once.

    Returns:
        The weights, not a number where that does not hold: compiled code cannot raise an error, and
        an update that is not finite is skipped and counted.
    """
    positions, weights = ops.cast(positions, "int32"), ops.cast(weights, "float32")
    in_use = weights != 0
    is_there = (positions >= 0) & (positions < length)
    slots = ops.arange(ops.shape(positions)[1], dtype="int32")
    alike = positions[:, :, None] == positions[:, None, :]
    earlier = (slots[None, :] < slots[:, None]) & in_use[:, None, :]
    is_second = ops.any(alike & earlier, axis=-1)
    is_wrong = in_use & (is_second | ops.logical_not(is_there))
    message = "a batch has mask_positions outside of the sequence, or one twice in a row"
    # The root of -1. A constant that is no number would end `tf.debugging.enable_check_numerics`.
    weights = weights + ops.sqrt(-ops.cast(is_wrong, "float32"))
    return step.check(ops.logical_not(ops.any(is_wrong)), message, weights)


def _of_checked_length(inputs: Mapping[str, Tensor], max_positions: int) -> dict[str, Tensor]:
    token_ids = inputs["token_ids"]
    length = ops.shape(token_ids)[1]
    end = f"the model has {max_positions} positions; cut them to {max_positions} tokens at most"
    if isinstance(length, int):
        if length > max_positions:
            raise UserError(f"a batch has sequences of {length} tokens, {end}")
        return dict(inputs)
    message = f"a batch has longer sequences than the model; {end}"
    return {**inputs, "token_ids": step.check(length <= max_positions, message, token_ids)}


def _shown(tensor: Tensor) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in tensor.shape)}]"


def count_tokens(batch: Batch) -> Scalars:
    """Count what the means are taken over: real tokens, tokens to predict, and texts, which are
    rows with a real token. float32 scalars.

    Tokens to predict count by their weights, which may be fractions. And ``places``, those of
    padding among them.
    """
    inputs, _, weights = batch
    return {
        "places": ops.cast(ops.size(inputs["padding_mask"]), "float32"),
        "tokens": ops.sum(ops.cast(ops.cast(inputs["padding_mask"], "bool"), "float32")),
        "texts": ops.sum(real_texts(inputs["padding_mask"])),
        "predictions": ops.sum(ops.cast(weights, "float32")),
    }


def real_texts(padding_mask: Tensor) -> Tensor:
    """Tell which rows hold a text: bool or 0/1 [B, S] to 0 or 1, float32 [B]."""
    return ops.cast(ops.any(ops.cast(padding_mask, "bool"), axis=1), "float32")


def token_weight(loss_weight: float | Tensor, count: Tensor) -> Tensor:
    """Give what a token counts in the loss: float32 scalar."""
    return loss_weight / at_least_something(count)


def split_batch(batch: Batch, num_parts: int) -> Batch:
    """Cut every tensor of a batch into equal slices: [B, ...] to [num_parts, B / num_parts, ...].

    Raises:
        UserError: that cannot be done evenly.
    """
    rows = ops.shape(batch[1])[0]
    message = (
        f"cannot be split into {num_parts} micro-batches; use a multiple, and drop_remainder=True "
        "where the dataset is batched"
    )
    if isinstance(rows, int):
        if rows % num_parts:
            raise UserError(f"a batch of {rows} sequences {message}")
    else:
        fits = ops.equal(rows % num_parts, 0)
        batch = tree.map_structure(
            lambda tensor: step.check(fits, f"a batch {message}", tensor), batch
        )
    return tree.map_structure(
        lambda tensor: ops.reshape(tensor, (num_parts, -1, *ops.shape(tensor)[1:])), batch
    )
