"""Examples as rows of token ids: encoded once, put together into batches of any rows.

Dimensions: B rows of a batch, S tokens of its longest row, rounded up to a bucket.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

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


@dataclass(frozen=True)
class TaskRows:
    """The rows of a split.

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

    def padded_length(self, indices: np.ndarray) -> int:
        """Say how long a batch of rows is: the longest row's length, rounded up to a bucket."""
        return min(bucket_of(int(self.lengths[indices[indices >= 0]].max())), self.max_length)

    def batch(
        self, indices: Sequence[int] | np.ndarray, length: int
    ) -> tuple[dict, np.ndarray, np.ndarray]:
        """Put rows together.

        Args:
            indices: which rows; -1 is an empty row without weight.
            length: S, at least that of the longest row.

        Returns:
            Inputs, targets and weights; see `TaskTrainer`.
        """
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


def join(
    tokenizer: Tokenizer, first: Sequence[int], second: Sequence[int] | None, double: bool
) -> tuple[np.ndarray, int]:
    """Put one text or two between start and end tokens.

    Args:
        tokenizer: has the special tokens.
        first, second: ids of the texts.
        double: put two end tokens between the texts, as RoBERTa does.

    Returns:
        The ids, and where the second text begins.
    """
    head = [tokenizer.start_id, *first, tokenizer.end_id]
    if second is None:
        return np.array(head, np.int32), len(head)
    head += [tokenizer.end_id] * double
    return np.array([*head, *second, tokenizer.end_id], np.int32), len(head)


def cut_longest_first(lengths: Sequence[int], room: int) -> list[int]:
    """Say how many tokens of each of two texts to keep, taking from the longer one first.

    That is what `transformers` does with pairs that are too long. Where both are, each keeps half;
    what is left over goes to the longer one, or to the second of two that are equal.
    """
    first, second = lengths
    if first + second <= room:
        return [first, second]
    shorter = min(first, second, room // 2)
    longer = room - shorter
    return [longer, shorter] if first > second else [shorter, longer]
