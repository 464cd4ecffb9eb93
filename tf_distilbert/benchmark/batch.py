"""What all competitors have in common: batches of random tokens, and the weights of the loss.

What a step takes depends on the shape of a batch alone.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

MASK_RATE = 0.15
TEMPERATURE, WEIGHTS = 2.0, {"distillation": 5.0, "mlm": 2.0, "cosine": 1.0}

IGNORED = -100
"""PyTorch's label of a position that is not predicted."""

Fields = Mapping[str, Any]
"""The fields of an `Architecture`, as JSON carries them into a worker."""

Shapes = Mapping[str, tuple[int, int]]
"""By the name of a case its batch size and sequence length."""

Cases = dict[str, Callable[[], Any]]
"""What a workload gives: by name what is called to be timed. JSON can write what that returns."""

Batch = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]
"""Inputs, ids at the masked positions, and their weights."""


def num_predictions(sequence_length: int) -> int:
    """Count a sequence's prediction slots, as `TokenMasker` has them."""
    return math.ceil(MASK_RATE * sequence_length)


def random_batch(
    vocabulary_size: int, batch_size: int, sequence_length: int, seed: int = 0
) -> Batch:
    """Make a batch as `masked_lm_dataset` gives it, without padding, every slot in use."""
    generator = np.random.default_rng(seed)
    shape = batch_size, sequence_length
    slots = num_predictions(sequence_length)
    positions = [generator.permutation(sequence_length)[:slots] for _ in range(batch_size)]
    inputs = {
        "token_ids": generator.integers(0, vocabulary_size, shape, "int32"),
        "padding_mask": np.ones(shape, bool),
        "mask_positions": np.array(positions, "int32"),
    }
    mask_ids = generator.integers(0, vocabulary_size, (batch_size, slots), "int32")
    return inputs, mask_ids, np.ones((batch_size, slots), "float32")


def labels_of(batch: Batch) -> np.ndarray:
    """Give the token to predict at each position, `IGNORED` elsewhere: int64 [B, S]."""
    inputs, mask_ids, mask_weights = batch
    labels = np.full(inputs["token_ids"].shape, IGNORED, np.int64)
    rows, slots = np.nonzero(mask_weights)
    labels[rows, inputs["mask_positions"][rows, slots]] = mask_ids[rows, slots]
    return labels


def encoder_cases(
    architecture: Fields,
    shapes: Shapes,
    names: Iterable[str],
    convert: Callable[[np.ndarray], Any],
    encode: Callable[[dict[str, Any]], Any],
) -> Cases:
    """Give a case for each shape: random tokens, without padding, to last hidden states.

    Args:
        architecture: of the encoder.
        shapes: of the batches.
        names: of what it takes, out of ``token_ids`` and ``segment_ids``, int32 [B, S], and
            ``padding_mask``, bool [B, S].
        convert: makes of each array what the engine takes; that is not timed.
        encode: takes them by name, and waits for what it computes.
    """
    names = tuple(names)

    def case(shape: tuple[int, int]) -> Callable[[], None]:
        inputs, _, _ = random_batch(architecture["vocabulary_size"], *shape)
        inputs["segment_ids"] = np.zeros_like(inputs["token_ids"])
        taken = {name: convert(inputs[name]) for name in names}

        def once() -> None:
            encode(taken)

        return once

    return {name: case(shape) for name, shape in shapes.items()}
