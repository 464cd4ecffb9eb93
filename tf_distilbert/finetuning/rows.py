"""Examples as rows of token ids, and rows of like length as batches.

Dimensions: B rows of a batch, S tokens of its longest row, rounded up to a bucket.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from tf_distilbert.data.pipeline import READER_CALLS
from tf_distilbert.tokenization.tokenizer import Tokenizer

BUCKETS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Row lengths that a batch may have: each is one more compilation, and less padding."""

IGNORED = -1
"""The label of a token that is none: of a special token, or inside a word."""


@dataclass(frozen=True)
class Row:
    """One row, before it is padded.

    Attributes:
        token_ids: int32 [n], special tokens included.
        second: where the second text begins (its first token); n if there is none.
        target: a class number, a score, the first and last token of an answer, or of each token a
            class number or `IGNORED`; 0 where it is not known.
        answer_mask: bool [n], of a question: where an answer may be.
    """

    token_ids: np.ndarray
    second: int
    target: int | float | tuple[int, int] | np.ndarray = 0
    answer_mask: np.ndarray | None = None


class BatchRows(ABC):
    """The rows of a split, of which batches are made.

    Attributes:
        lengths: tokens of each row, or of its longest text, int64 [N].
        max_length: the most that they can be; no batch is longer.
    """

    lengths: np.ndarray
    max_length: int

    @abstractmethod
    def __len__(self) -> int:
        """Count the rows."""

    @property
    @abstractmethod
    def num_tokens(self) -> int:
        """The tokens of all rows."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """A hash of the content: another one, if anything differs."""

    @abstractmethod
    def batch(
        self, indices: Sequence[int] | np.ndarray, length: int
    ) -> tuple[dict, np.ndarray, np.ndarray]:
        """Put rows together.

        Args:
            indices: which rows; -1 is an empty row without weight.
            length: S, at least that of the longest row.

        Returns:
            Inputs, targets and weights, as the trainer takes them.
        """

    def padded_length(self, indices: np.ndarray) -> int:
        """Say how long a batch of rows is: the longest row's length, rounded up to a bucket."""
        return min(bucket_of(int(self.lengths[indices[indices >= 0]].max())), self.max_length)


@dataclass(frozen=True)
class TaskRows(BatchRows):
    """The rows of a split, each of one text or a pair in a row.

    Args:
        rows: all of them.
        tokenizer: whose ids they are made of.
        segments: whether the batches are to say which tokens are the second text's.
        max_length: tokens of the longest possible row; no batch is longer.
        target_type: of the targets: ``int32``, or ``float32`` for scores.
    """

    rows: Sequence[Row]
    tokenizer: Tokenizer
    segments: bool
    max_length: int
    target_type: str = "int32"
    lengths: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        lengths = np.array([len(row.token_ids) for row in self.rows], np.int64)
        object.__setattr__(self, "lengths", lengths)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_tokens(self) -> int:
        """The tokens of all rows."""
        return int(self.lengths.sum())

    @property
    def identity(self) -> str:
        """A hash of token ids and targets."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(row.token_ids.tobytes() + repr(row.target).encode())
        return digest.hexdigest()

    def batch(
        self, indices: Sequence[int] | np.ndarray, length: int
    ) -> tuple[dict, np.ndarray, np.ndarray]:
        """Put rows together for a `TaskTrainer`; see `BatchRows.batch`."""
        shape = len(indices), length
        first = self.rows[0]
        by_token = isinstance(first.target, np.ndarray)
        inputs = {
            "token_ids": np.full(shape, self.tokenizer.pad_id, np.int32),
            "padding_mask": np.zeros(shape, bool),
        }
        if self.segments:
            inputs["segment_ids"] = np.zeros(shape, np.int32)
        if first.answer_mask is not None:
            inputs["answer_mask"] = np.zeros(shape, bool)
        target_shape = shape if by_token else (len(indices), *np.shape(first.target))
        targets = np.zeros(target_shape, self.target_type)
        weights = np.zeros(shape if by_token else len(indices), np.float32)
        for i, index in enumerate(indices):
            if index < 0:
                continue
            row = self.rows[index]
            size = len(row.token_ids)
            inputs["token_ids"][i, :size] = row.token_ids
            inputs["padding_mask"][i, :size] = True
            if self.segments:
                inputs["segment_ids"][i, row.second : size] = 1
            if row.answer_mask is not None:
                inputs["answer_mask"][i, :size] = row.answer_mask
            if by_token:
                counted = row.target != IGNORED
                targets[i, :size] = np.where(counted, row.target, 0)
                weights[i, :size] = counted
            else:
                targets[i], weights[i] = row.target, 1.0
        return inputs, targets, weights


def bucket_of(length: int) -> int:
    """Round a row's length up to one that batches have."""
    return next((bucket for bucket in BUCKETS if bucket >= length), length)


POOL = 50
"""Batches whose rows are sorted by length together: little padding, and still a random order."""


class TaskBatches:
    """Puts rows into batches, each row once an epoch.

    Args:
        rows: of a split.
        batch_size: B; what is missing in the last batch of an epoch are rows without weight.
        seed: of the order; None keeps rows of like length together, and begins with the longest.
    """

    def __init__(self, rows: BatchRows, batch_size: int, seed: int | None) -> None:
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
                rest = (None,) if by_token else example.shape[1:]
                # A row of several texts has as many rows of tokens.
                tensor.set_shape((size * len(example), *rest))
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
        for number in range(self.steps_per_epoch):
            indices = self.indices(number)
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
