"""From records to masked batches: the dataset that `fit` takes.

The stream is a pure function of a step's number. Sequence number ``step · batch + row`` of an
endless stream belongs to epoch ``number // N``, and which of the N records it is, is a permutation
of ``number % N`` that is computed, not stored. So every record is seen exactly once an epoch, a
run resumes at any step without reading what came before, and nothing needs a shuffle buffer.

Several replicas share a batch by row: each computes which rows are its own, and reads no others.
"""

import atexit
import itertools
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from tf_distilbert.data.masking import TokenMasker, as_uint64, mix
from tf_distilbert.data.records import Records
from tf_distilbert.data.row_packing import PackedRecords, merge_rows
from tf_distilbert.errors import UserError
from tf_distilbert.training.strategy import Strategy, distribute


def masked_lm_dataset(
    records: Records | PackedRecords,
    masker: TokenMasker,
    batch_size: int,
    *,
    seed: int = 0,
    first_step: int = 0,
    num_steps: int | None = None,
    num_parts: int = 1,
    parts: range | None = None,
    vectors: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Make the training stream: shuffled, masked anew each epoch, endless or `num_steps` long.

    Iterated again, a stream of `num_steps` goes on where it ended, as `fit` of several epochs
    expects; an endless one begins again.

    Args:
        records: prepared text, or the same packed into rows.
        masker: how to mask.
        batch_size: sequences (or rows) in a batch, B.
        seed: of the order of the records.
        first_step: where to begin: the dataset is the endless stream's, from this batch on.
        num_steps: how many batches an iteration has; endless if left out.
        num_parts: into how many equal parts each batch is cut: one for each replica.
        parts: which of them come, one after another, as batches of their own; by default all. See
            `distributed_dataset`.
        vectors: float [N, E], one a record, that come along as ``teacher_embedding``, float32
            [B, E]; not of packed rows.

    Returns:
        Batches of fixed shape, structured as keras-nlp's masked-LM preprocessors give them:
        ``({"token_ids": int32 [B, S], "padding_mask": bool [B, S], "mask_positions":
        int32 [B, P]}, mask_ids int32 [B, P], mask_weights float32 [B, P])``. Packed rows have
        ``position_ids`` and ``sequence_ids``, too; see `merge_rows`.

    Raises:
        UserError: a batch cannot be cut evenly; or, as it is read, a record is damaged.

    Example:
        >>> records = tf_distilbert.prepare(["books.txt"], teacher.tokenizer, "records")
        >>> masker = tf_distilbert.TokenMasker.for_records(records)
        >>> dataset = tf_distilbert.masked_lm_dataset(records, masker, 32, num_steps=1000)
        >>> distiller.fit(dataset, epochs=3)  # 3,000 different batches
    """

    parts = _parts(batch_size, num_parts, parts)
    first = first_step * len(parts)
    if num_steps is None:
        numbers = tf.data.Dataset.range(first, np.iinfo(np.int64).max)
    else:
        numbers = _continuing_range(first, num_steps * len(parts))
    rows = _rows_of_parts(numbers, batch_size // num_parts, num_parts, parts)
    choices = rows.map(lambda numbers: visiting_order(numbers, len(records), seed))
    if isinstance(records, PackedRecords):
        return _packed_batches(choices, records, masker, batch_size // num_parts)
    return _batches(choices, records, masker, batch_size // num_parts, vectors)


def evaluation_dataset(
    records: Records,
    masker: TokenMasker,
    batch_size: int,
    *,
    num_parts: int = 1,
    parts: range | None = None,
    vectors: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Make one pass over the records in order, with the same masks every time.

    The last batch is filled with empty sequences that carry no weight, so that all have one shape.

    Args:
        records: held-out text.
        masker: how to mask; an evaluation compares best with uniform masks, `smoothing` 0.
        batch_size: sequences in a batch, B.
        num_parts: into how many equal parts each batch is cut; see `masked_lm_dataset`.
        parts: which of them come; see `masked_lm_dataset`.
        vectors: see `masked_lm_dataset`.

    Returns:
        Batches as `masked_lm_dataset` gives them, ceil(sequences / B) of them.

    Raises:
        UserError: a batch cannot be cut evenly.
    """

    def choose(numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.zeros_like(numbers), tf.where(numbers < len(records), numbers, -1)

    parts = _parts(batch_size, num_parts, parts)
    numbers = tf.data.Dataset.range(-(-len(records) // batch_size) * len(parts))
    rows = _rows_of_parts(numbers, batch_size // num_parts, num_parts, parts)
    return _batches(rows.map(choose), records, masker, batch_size // num_parts, vectors)


def distributed_dataset(
    strategy: Strategy, make: Callable[[int, range], tf.data.Dataset]
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Let each worker of a strategy make the parts of its own replicas alone.

    Args:
        strategy: whose replicas share the batches.
        make: from `num_parts` and `parts` to a `masked_lm_dataset` or an `evaluation_dataset`.

    Returns:
        What `fit` takes on that strategy: of one replica, and on JAX, an ordinary dataset.

    Raises:
        UserError: a batch cannot be shared evenly.

    Example:
        >>> make = partial(masked_lm_dataset, records, masker, 4096)
        >>> stream = distributed_dataset(strategy, lambda n, parts: make(num_parts=n, parts=parts))
        >>> distiller.fit(stream, steps_per_epoch=1000)
    """
    return distribute(strategy, make)


def visiting_order(numbers: tf.Tensor, num_records: int, seed: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Tell which record comes at a place of the endless stream.

    Args:
        numbers: places, int64 [n]; those of a step are ``step · batch_size + row``.
        num_records: records in an epoch.
        seed: of the order.

    Returns:
        The epoch and the record's index, int64 [n] each.
    """
    epochs, index = numbers // num_records, numbers % num_records
    # The op shuffles well only if all its seed words differ between epochs: hash them. (The
    # public `tf.random.experimental.index_shuffle` does not take a batch of seeds.)
    key = mix(mix(as_uint64(seed)) + as_uint64(epochs))
    words = tf.stack([mix(key + as_uint64(i)) for i in range(3)], axis=1)
    return epochs, tf.raw_ops.RandomIndexShuffle(
        index=index,
        seed=tf.cast(words, tf.int64),
        max_index=np.int64(num_records - 1),
        rounds=8,
    )


def _parts(batch_size: int, num_parts: int, parts: range | None) -> range:
    if batch_size % num_parts:
        raise UserError(
            f"a batch of {batch_size} sequences cannot be shared by {num_parts} replicas; use a "
            f"multiple of {num_parts}"
        )
    return range(num_parts) if parts is None else parts


def _continuing_range(first: int, count: int) -> tf.data.Dataset:
    """Count from `first`; each iteration has the `count` numbers after those of the last one."""
    iterations = itertools.count()

    def begin(_: tf.Tensor) -> tf.data.Dataset:
        iteration = tf.numpy_function(lambda: np.int64(next(iterations)), [], tf.int64)
        start = first + count * iteration
        return tf.data.Dataset.range(start, start + count)

    numbers = tf.data.Dataset.from_tensors(0).flat_map(begin)
    return numbers.apply(tf.data.experimental.assert_cardinality(count))


def _rows_of_parts(
    numbers: tf.data.Dataset, size: int, num_parts: int, parts: range
) -> tf.data.Dataset:
    """Give the places in the stream of each part of each step: int64 [size]."""

    def rows(number: tf.Tensor) -> tf.Tensor:
        step, part = number // len(parts), parts.start + number % len(parts)
        return (step * num_parts + part) * size + tf.range(size, dtype=tf.int64)

    return numbers.map(rows)


def _batches(
    choices: tf.data.Dataset,
    records: Records,
    masker: TokenMasker,
    batch_size: int,
    vectors: np.ndarray | None = None,
) -> tf.data.Dataset:
    gather = READER_CALLS.counted(records.gather)
    look_up = READER_CALLS.counted(partial(_rows_of, vectors))

    def load(epochs: tf.Tensor, indices: tf.Tensor) -> tuple:
        token_ids = tf.numpy_function(gather, [indices], tf.int32)
        token_ids = tf.ensure_shape(token_ids, (batch_size, records.sequence_length))
        inputs, *others = masker(token_ids, records.pad_id, epochs, indices)
        if vectors is not None:
            found = tf.numpy_function(look_up, [indices], tf.float32)
            size = (batch_size, vectors.shape[1])
            inputs = inputs | {"teacher_embedding": tf.ensure_shape(found, size)}
        return inputs, *others

    # Deterministic by default: parallel calls, results in order.
    return choices.map(load, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _rows_of(vectors: np.ndarray | None, indices: np.ndarray) -> np.ndarray:
    """Look up vectors; of an index of -1, an empty row, zeros."""
    assert vectors is not None  # nothing is looked up where there are none
    return np.where(indices[:, None] >= 0, vectors[indices], 0).astype(np.float32)


def _packed_batches(
    choices: tf.data.Dataset, records: PackedRecords, masker: TokenMasker, batch_size: int
) -> tf.data.Dataset:
    num_slots, gather = records.num_slots(masker.rate), READER_CALLS.counted(records.gather)

    def load(epochs: tf.Tensor, rows: tf.Tensor) -> tuple:
        kinds = (tf.int32, tf.int64, tf.int64)
        token_ids, sequences, row_of = tf.numpy_function(gather, [rows], kinds)
        token_ids = tf.ensure_shape(token_ids, (None, records.sequence_length))
        sequences, row_of = (tf.ensure_shape(tensor, (None,)) for tensor in (sequences, row_of))
        masked = masker(token_ids, records.pad_id, tf.gather(epochs, row_of), sequences)
        return merge_rows(masked, row_of, batch_size, num_slots, records.pad_id)

    return choices.map(load, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


QUIET_SECONDS, LONGEST_WAIT = 0.1, 10.0


class ReaderCalls:
    """Counts calls into Python that tf.data's threads make, so that a program can end.

    A thread that asks for Python's lock while the interpreter is taken down never gets it, and an
    iterator that is taken down waits for its threads. So a program that ends with such an iterator
    alive would hang. Before that, what reads ahead is given the time to fill its buffers: then no
    thread is in Python any more, as nothing takes batches from them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._last_end: float | None = None

    def counted(self, function: Callable) -> Callable:
        """Give a function that does the same, and is counted while it does."""

        def call(*arguments: Any) -> Any:
            with self._lock:
                self._running += 1
            try:
                return function(*arguments)
            finally:
                with self._lock:
                    self._running -= 1
                    self._last_end = time.monotonic()

        return call

    def wait(self) -> None:
        """Return when no call was running for a moment, or when that takes too long."""
        if self._last_end is None and not self._running:
            return
        start = time.monotonic()  # the next call may be waiting for the lock that we hold
        while time.monotonic() < start + LONGEST_WAIT:
            quiet_since = max(start, self._last_end or start)
            if not self._running and time.monotonic() - quiet_since > QUIET_SECONDS:
                return
            time.sleep(QUIET_SECONDS / 10)


READER_CALLS = ReaderCalls()
atexit.register(READER_CALLS.wait)
