"""A batch of random tokens: what a step takes depends on its shape alone."""

import math

import numpy as np

MASK_RATE = 0.15
IGNORED = -100
"""PyTorch's label of a position that is not predicted."""


def num_predictions(sequence_length: int) -> int:
    """Count a sequence's prediction slots, as `TokenMasker` has them."""
    return math.ceil(MASK_RATE * sequence_length)


def random_batch(
    vocabulary_size: int, batch_size: int, sequence_length: int, seed: int = 0
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
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


def labels_of(batch: tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]) -> np.ndarray:
    """Give the token to predict at each position, `IGNORED` elsewhere: int64 [B, S]."""
    inputs, mask_ids, mask_weights = batch
    labels = np.full(inputs["token_ids"].shape, IGNORED, np.int64)
    rows, slots = np.nonzero(mask_weights)
    labels[rows, inputs["mask_positions"][rows, slots]] = mask_ids[rows, slots]
    return labels
