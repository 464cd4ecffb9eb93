"""The held-out sequences that the models of a run are compared on."""

from dataclasses import dataclass

import tensorflow as tf

from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.data.pipeline import evaluation_dataset
from tf_distilbert.data.records import Records

_TOKENS_AT_ONCE = 4096
_NUM_BATCHES = 8


@dataclass(frozen=True)
class HeldOut:
    """What a run held out, of which the first sequences are compared on.

    Attributes:
        records: all of it.
    """

    records: Records

    @property
    def batch_size(self) -> int:
        """Sequences at a time."""
        return max(1, min(_TOKENS_AT_ONCE // self.records.sequence_length, len(self.records)))

    @property
    def num_sequences(self) -> int:
        """How many sequences are compared on: the first ones."""
        return min(len(self.records), _NUM_BATCHES * self.batch_size)

    def batches(self, number: int = _NUM_BATCHES) -> tf.data.Dataset:
        """Give the first sequences, masked as every evaluation masks them."""
        masker = TokenMasker.for_records(self.records)
        return evaluation_dataset(self.records, masker, self.batch_size).take(number)
