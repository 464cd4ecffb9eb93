"""The same blanks, filled in by the models of all runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from tf_distilbert.mask_filling import Guess
from tf_distilbert.report.blanks import Blank, answer, choose_blanks
from tf_distilbert.report.held_out import HeldOut
from tf_distilbert.report.run_models import RunModels


@dataclass(frozen=True)
class Example:
    """A sentence with a blank, and each model's answers.

    Attributes:
        blank: the sentence.
        answers: name of a model to its guesses, best first.
    """

    blank: Blank
    answers: dict[str, list[Guess]]


class Examples:
    """Collects answers, model by model.

    Attributes:
        shown: the examples, of the first run's held-out text.
    """

    def __init__(self) -> None:
        self.shown: list[Example] = []
        self._vocabulary: str | None = None
        self._teachers: list[str] = []

    def add(self, models: RunModels, held_out: HeldOut) -> None:
        """Let the models of a run answer, a teacher of several runs once.

        Args:
            models: of a run.
            held_out: what the run held out; the first run's has the sentences.
        """
        tokenizer = models.model.tokenizer
        if self._vocabulary is None:
            blanks = choose_blanks(held_out.records, tokenizer)
            self.shown = [Example(blank, {}) for blank in blanks]
            self._vocabulary = tokenizer.sha256
        if self._vocabulary != tokenizer.sha256:
            models.notes.append("Its vocabulary is not that of the examples, which it leaves out.")
            return
        source = models.run.teacher
        if models.teacher is not None and source is not None and source not in self._teachers:
            others = f" of {models.run.name}" if self._teachers else ""
            self._teachers.append(source)
            self._answer(f"teacher{others}", models.teacher)
        kind = "student " if models.run.teacher else ""
        self._answer(kind + models.run.name, models.model)

    def _answer(self, name: str, model: keras.Model) -> None:
        blanks: Sequence[Blank] = [example.blank for example in self.shown]
        if not blanks:
            return
        answers = answer(model, model.tokenizer, blanks)
        for example, guesses in zip(self.shown, answers, strict=True):
            example.answers[name] = guesses
