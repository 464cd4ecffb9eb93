"""The model of a run, what it is compared with, and the sequences that it is compared on."""

from dataclasses import dataclass, field
from pathlib import Path

import keras
import tensorflow as tf

from tf_distilbert.config.finetuning import FinetuneConfig
from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.data.pipeline import evaluation_dataset
from tf_distilbert.data.records import Records
from tf_distilbert.distillation.trimming import trimmed_to
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.folder import load_model, load_task_model, written_task
from tf_distilbert.report.run import Run
from tf_distilbert.runs.records import find_records

_TOKENS_AT_ONCE = 4096
_NUM_BATCHES = 8


@dataclass(frozen=True)
class HeldOut:
    """What a run held out, of which the first sequences are compared on.

    Attributes:
        records: all of it.
        hides_words: whether the models predict words, which are then hidden.
    """

    records: Records
    hides_words: bool = True

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
        masker = TokenMasker.for_records(self.records, **({} if self.hides_words else {"rate": 0}))
        return evaluation_dataset(self.records, masker, self.batch_size).take(number)


NO_MODEL = "There is no model yet: it is written when the run ends, and what needs it is left out."

EARLIER_MODEL = (
    "The run goes on to another length. The model that is there, and what is measured of it, are "
    "those of its end before."
)


@dataclass
class RunModels:
    """What a run made, and its teacher.

    Attributes:
        run: as given.
        model: the finished model.
        teacher: if there is one and it can still be loaded; with the model's tokens alone, where
            the model was given a part of them.
        whole_teacher: the same with all its tokens.
        held_out: what was held out, if it is found; of models of tasks it is not looked for.
        notes: a sentence for each thing that is missing.
    """

    run: Run
    model: keras.Model
    teacher: keras.Model | None = None
    whole_teacher: keras.Model | None = None
    held_out: HeldOut | None = None
    notes: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, run: Run) -> "RunModels | None":
        """Load what there is; None for a run that has no model yet, see `NO_MODEL`.

        Raises:
            UserError: the finished model is broken.
        """
        if run.model is None:
            return None
        models = cls(run, _load(run, run.model))
        if run.goes_on:
            models.notes.append(EARLIER_MODEL)
        if run.teacher:
            models.find_teacher(run.teacher)
        models.find_records()
        return models

    @property
    def predicts_words(self) -> bool:
        """Whether the model has a masked-LM head."""
        return self.model.task == "masked_lm"

    def find_teacher(self, path: str) -> None:
        """Load the teacher, if it is still there and still that of the model."""
        done = "loaded"
        try:
            whole = teacher = _load(self.run, path)
            done = "compared"
            if self.run.verb != "finetune":
                teacher = trimmed_to(whole, self.model.tokenizer)
        except UserError as error:
            self.notes.append(f"The teacher cannot be {done} ({error}): what needs it is left out.")
            return
        self.teacher, self.whole_teacher = teacher, whole
        if teacher is not whole:
            kept, there = (each.architecture.vocabulary_size for each in (teacher, whole))
            self.notes.append(
                f"It has {kept:,} of the teacher's {there:,} tokens. Quality, layers and answers "
                "are those of the teacher with these tokens alone, its size is that with all."
            )

    def find_records(self) -> None:
        """Open what was held out, if it is still there."""
        config, folder = self.run.config, self.run.folder.absolute()
        if isinstance(config, FinetuneConfig):
            return
        beside = folder.with_name(folder.name + "-data")
        _, records = find_records(config.data, self.model.tokenizer, beside)
        if records is None:
            self.notes.append(
                "There is no held-out text, or it is no longer where the run had it: metrics of "
                "quality, layers and examples are left out."
            )
        else:
            self.held_out = HeldOut(records, self.predicts_words)


def _load(run: Run, path: str | Path) -> keras.Model:
    predicts_words = run.verb != "finetune" and written_task(path) in (None, "masked_lm")
    return (load_model if predicts_words else load_task_model)(path)
