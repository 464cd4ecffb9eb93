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
        if name != "padding_mask" and "float" in dtype:
            raise UserError(f"a batch's {name} are {dtype}; they must be whole numbers")
    token_ids = inputs["token_ids"]
    if len(token_ids.shape) != 2:
        raise UserError(f"a batch's token_ids have shape {_shown(token_ids)}; it must be [B, S]")
    _check_alike("padding_mask", inputs["padding_mask"], "token_ids", token_ids)
    _check_alike("targets", targets, "weights", weights, ranks=len(weights.shape))
    if "mask_positions" in names:
        _check_alike("mask_positions", inputs["mask_positions"], "targets", targets)
        _check_alike("weights", weights, "targets", targets)
    _check_length(token_ids, max_positions)
    return dict(inputs), targets, weights


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


def _check_length(token_ids: Tensor, max_positions: int) -> None:
    length = ops.shape(token_ids)[1]
    end = f"the model has {max_positions} positions; cut them to {max_positions} tokens at most"
    if not isinstance(length, int):
        step.check(length <= max_positions, f"a batch has longer sequences than the model; {end}")
    elif length > max_positions:
        raise UserError(f"a batch has sequences of {length} tokens, {end}")


def _shown(tensor: Tensor) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in tensor.shape)}]"


def count_tokens(batch: Batch) -> Scalars:
    """Count what the means are taken over: real tokens, and tokens to predict. float32 scalars.

    Tokens to predict count by their weights, which may be fractions. And ``places``, those of
    padding among them.
    """
    inputs, _, weights = batch
    return {
        "places": ops.cast(ops.size(inputs["padding_mask"]), "float32"),
        "tokens": ops.sum(ops.cast(ops.cast(inputs["padding_mask"], "bool"), "float32")),
        "predictions": ops.sum(ops.cast(weights, "float32")),
    }


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
    if not isinstance(rows, int):
        step.check(ops.equal(rows % num_parts, 0), f"a batch {message}")
    elif rows % num_parts:
        raise UserError(f"a batch of {rows} sequences {message}")
    return tree.map_structure(
        lambda tensor: ops.reshape(tensor, (num_parts, -1, *ops.shape(tensor)[1:])), batch
    )
