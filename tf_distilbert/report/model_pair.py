"""The models of a run and what they are compared on, as far as they are there."""

from dataclasses import dataclass, field

import keras
import tensorflow as tf

from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.data.pipeline import evaluation_dataset
from tf_distilbert.data.records import Records
from tf_distilbert.errors import UserError
from tf_distilbert.model_folder import load_model, load_task_model
from tf_distilbert.report.run import Run
from tf_distilbert.run_data import find_data

_TOKENS_AT_ONCE = 4096
_NUM_BATCHES = 8


@dataclass
class ModelPair:
    """What a run made, and its teacher.

    Attributes:
        run: as given.
        model: the finished model, if there is one.
        teacher: if there is one and it can still be loaded.
        records: what was trained on, if it is found.
        held_out: what was held out, if it is found; of models of tasks it is not looked for.
        notes: a sentence for each thing that is missing.
    """

    run: Run
    model: keras.Model | None = None
    teacher: keras.Model | None = None
    records: Records | None = None
    held_out: Records | None = None
    notes: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, run: Run) -> "ModelPair":
        """Load what there is.

        Raises:
            UserError: the finished model is broken.
        """
        pair = cls(run)
        if run.model is None:
            pair.notes.append(
                "There is no model yet: it is written when the run ends, and what needs it is left "
                "out."
            )
            return pair
        of_task = run.verb == "finetune"
        pair.model = (load_task_model if of_task else load_model)(run.model)
        if run.teacher:
            try:
                pair.teacher = (load_task_model if of_task else load_model)(run.teacher)
            except UserError as error:
                pair.notes.append(
                    f"The teacher cannot be loaded ({error}): what needs it is left out."
                )
        if not of_task:
            pair.find_data()
        return pair

    def find_data(self) -> None:
        """Open the records of the run, if they are still there."""
        folder = self.run.folder.absolute()
        beside = folder.with_name(folder.name + "-data")
        self.records, self.held_out = find_data(self.run.config.data, self.model.tokenizer, beside)
        if self.held_out is None:
            self.notes.append(
                "There is no held-out text, or it is no longer where the run had it: figures of "
                "quality, layers and examples are left out."
            )

    @property
    def batch_size(self) -> int:
        """Sequences at a time."""
        return max(1, min(_TOKENS_AT_ONCE // self.held_out.sequence_length, len(self.held_out)))

    @property
    def num_sequences(self) -> int:
        """How many held-out sequences are compared on: the first ones."""
        return min(len(self.held_out), _NUM_BATCHES * self.batch_size)

    def batches(self, number: int = _NUM_BATCHES) -> tf.data.Dataset:
        """Give the first held-out sequences, masked as every evaluation masks them."""
        masker = TokenMasker.for_records(self.held_out)
        return evaluation_dataset(self.held_out, masker, self.batch_size).take(number)
