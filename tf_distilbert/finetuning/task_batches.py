"""The batches of a fine-tuning: rows of like length together, a function of seed and step."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from tf_distilbert.data.reader_calls import READER_CALLS
from tf_distilbert.finetuning.task_rows import TaskRows

POOL = 50
"""Batches whose rows are sorted by length together: little padding, and still a random order."""


class TaskBatches:
    """Puts rows into batches, each row once an epoch.

    Args:
        rows: of a split.
        batch_size: B; what is missing in the last batch of an epoch are rows without weight.
        seed: of the order; None keeps rows of like length together, and begins with the longest.
    """

    def __init__(self, rows: TaskRows, batch_size: int, seed: int | None) -> None:
        self.rows, self.batch_size, self.seed = rows, batch_size, seed
        self.steps_per_epoch = -(-len(rows) // batch_size)
        self._order = lru_cache(maxsize=2)(self._make_order)

    def indices(self, step: int) -> np.ndarray:
        """Say which rows are in the batch of a step (from 0): int64 [B], -1 for none."""
        epoch, number = divmod(step, self.steps_per_epoch)
        return self._order(epoch)[number]

    def stream(
        self, first_step: int, last_step: int, num_parts: int = 1, parts: range | None = None
    ) -> tf.data.Dataset:
        """Give the batches of some steps; parts are those of `masked_lm_dataset`."""
        parts = range(num_parts) if parts is None else parts
        size = self.batch_size // num_parts

        def make(number: np.ndarray) -> list[np.ndarray]:
            step, part = divmod(int(number), len(parts))
            indices = self.indices(step)
            length = self.rows.padded_length(indices)
            first = (parts.start + part) * size
            inputs, targets, weights = self.rows.batch(indices[first : first + size], length)
            return [*inputs.values(), targets, weights]

        inputs, targets, weights = self.rows.batch([0], int(self.rows.lengths[0]))
        examples = [*inputs.values(), targets, weights]
        call = READER_CALLS.counted(make)

        def load(number: tf.Tensor) -> tuple:
            tensors = tf.numpy_function(call, [number], [tensor.dtype for tensor in examples])
            for tensor, example in zip(tensors, examples, strict=True):
                # Of targets, only those of tokens are as long as a row.
                by_token = example.ndim == 2 and example.shape[1] == len(inputs["token_ids"][0])
                tensor.set_shape((size, *((None,) if by_token else example.shape[1:])))
            *own, of_targets, of_weights = tensors
            return dict(zip(inputs, own, strict=True)), of_targets, of_weights

        numbers = tf.data.Dataset.range(first_step * len(parts), last_step * len(parts))
        batches = numbers.map(load, num_parallel_calls=tf.data.AUTOTUNE)
        return batches.prefetch(tf.data.AUTOTUNE)

    def predict(self, function: Callable[[dict[str, np.ndarray]], Any]) -> list[np.ndarray]:
        """Apply a function to the inputs of all rows, batch by batch.

        Args:
            function: from inputs to an array [B, ...].

        Returns:
            What it gave for each row, in the order of the rows; what belongs to tokens is as long
            as those of the row's batch.
        """
        found: list[Any] = [None] * len(self.rows)
        for step in range(self.steps_per_epoch):
            indices = self.indices(step)
            inputs, _, _ = self.rows.batch(indices, self.rows.padded_length(indices))
            for index, value in zip(indices, np.asarray(function(inputs)), strict=True):
                if index >= 0:
                    found[index] = value
        return found

    def _make_order(self, epoch: int) -> np.ndarray:
        filled = np.full(self.steps_per_epoch * self.batch_size, -1)
        by_length = -self.rows.lengths
        if self.seed is None:
            filled[: len(self.rows)] = np.argsort(by_length, kind="stable")
            return filled.reshape(-1, self.batch_size)
        generator = np.random.default_rng([self.seed, epoch])
        order = generator.permutation(len(self.rows))
        pool = POOL * self.batch_size
        for first in range(0, len(order), pool):
            part = order[first : first + pool]
            filled[first : first + len(part)] = part[np.argsort(by_length[part], kind="stable")]
        return generator.permutation(filled.reshape(-1, self.batch_size))
