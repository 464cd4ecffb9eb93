"""Several sequences in one row, so that little of a batch is padding.

Which sequences share a row is settled once, from their lengths: the longest first, each into the
fullest row that still has room (best fit decreasing). Rows then take the place of sequences in
the data's order. Masks stay those of the sequences: packed or not, each is masked alike.
"""

import numpy as np
import tensorflow as tf

from tf_distilbert.data.records import Records
from tf_distilbert.data.shard_files import DamagedSequences


class PackedRecords:
    """Records, several to a row.

    Args:
        records: what to pack.

    Attributes:
        records: as given.
        rows: int64 [num_rows, K], which sequences are in each row, one after another; -1 where a
            row has fewer than K.
        num_sequences: rows, which is what a batch holds now.
        num_tokens, sequence_length, pad_id: as the records have.
    """

    def __init__(self, records: Records) -> None:
        self.records = records
        self.rows = pack_rows(records.lengths(np.arange(len(records))), records.sequence_length)
        self.num_sequences, self.num_tokens = len(self.rows), records.num_tokens
        self.sequence_length, self.pad_id = records.sequence_length, records.pad_id

    def __len__(self) -> int:
        return self.num_sequences

    @property
    def damaged(self) -> DamagedSequences:
        """The damaged sequences that were found; see `Records`."""
        return self.records.damaged

    @property
    def identity(self) -> str:
        """Tell these rows from others; see `Records.identity`."""
        return f"{self.records.identity}-packed"

    def gather(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Copy the sequences of some rows.

        Args:
            rows: int64 [B].

        Returns:
            The sequences one under another, int32 [M, S], padded; which they are, int64 [M]; and
            in which of the B rows each is, int64 [M], ascending.
        """
        sequences = self.rows[rows]
        row_of, _ = np.nonzero(sequences >= 0)
        sequences = sequences[sequences >= 0]
        return self.records.gather(sequences), sequences, row_of

    def num_slots(self, rate: float) -> int:
        """The most predictions of a row if of each sequence at most ⌈rate · length⌉ are chosen.

        It is 1 at least: a batch has slots, if none of them is in use.
        """
        lengths = np.append(self.records.lengths(np.arange(len(self.records))), 0)  # -1: nothing
        return max(1, int(np.ceil(rate * lengths[self.rows]).sum(axis=1).max()))


def pack_rows(lengths: np.ndarray, row_length: int) -> np.ndarray:
    """Put sequences into rows.

    Args:
        lengths: tokens of each sequence, int [n]; at most `row_length`.
        row_length: tokens that a row holds.

    Returns:
        int64 [num_rows, K]; see `PackedRecords`.

    Example:
        >>> pack_rows(np.array([3, 8, 5, 2]), 8)
        array([[ 1, -1], [ 2,  0], [ 3, -1]])
    """
    rows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(row_length + 1)]  # rows by the room they have
    for sequence in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[sequence])
        room = next((r for r in range(length, row_length) if with_room[r]), row_length)
        if room == row_length:
            rows.append([])
            row = len(rows) - 1
        else:
            row = with_room[room].pop()
        rows[row].append(sequence)
        with_room[room - length].append(row)
    packed = np.full((len(rows), max(map(len, rows))), -1, np.int64)
    for places, sequences in zip(packed, rows, strict=True):
        places[: len(sequences)] = sequences
    return packed


def merge_rows(
    batch: tuple, row_of: tf.Tensor, num_rows: int, num_slots: int, pad_id: int
) -> tuple:
    """Write masked sequences one after another into rows.

    Args:
        batch: M masked sequences, as `TokenMasker` gives them.
        row_of: int64 [M], the row of each, ascending; the sequences of a row fit it.
        num_rows: B.
        num_slots: prediction slots in a row of the result, P.
        pad_id: fills up rows.

    Returns:
        B rows in the same form, with ``position_ids`` int32 [B, S], where in its own sequence a
        token stands, and ``sequence_ids`` int32 [B, S]: 1, 2, ... in each row, 0 at padding.
    """
    inputs, mask_ids, mask_weights = batch
    mask, chosen = inputs["padding_mask"], tf.cast(mask_weights, tf.bool)
    length = mask.shape[1]
    lengths = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)
    # How many tokens, and how many sequences, of the same row come before each sequence.
    first = tf.searchsorted(row_of, row_of)
    ends = tf.cumsum(lengths)
    starts = ends - lengths
    offsets = starts - tf.gather(starts, first)
    numbers = tf.range(tf.size(row_of)) - first + 1

    def merge(values: tf.Tensor, where: tf.Tensor, width: int, fill: int | float = 0) -> tf.Tensor:
        values = tf.boolean_mask(tf.broadcast_to(values, tf.shape(where)), where)
        sizes = tf.reduce_sum(tf.cast(where, tf.int64), axis=1)
        sizes = tf.math.unsorted_segment_sum(sizes, row_of, num_rows)
        ragged = tf.RaggedTensor.from_row_lengths(values, sizes, validate=False)
        return ragged.to_tensor(fill, shape=(num_rows, width))

    sequence_ids = merge(numbers[:, None], mask, length)
    merged = {
        "token_ids": merge(inputs["token_ids"], mask, length, pad_id),
        "padding_mask": sequence_ids > 0,
        "mask_positions": merge(inputs["mask_positions"] + offsets[:, None], chosen, num_slots),
        "position_ids": merge(tf.range(length)[None], mask, length),
        "sequence_ids": sequence_ids,
    }
    return (
        merged,
        merge(mask_ids, chosen, num_slots),
        merge(mask_weights, chosen, num_slots),
    )
