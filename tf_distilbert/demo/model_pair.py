"""A teacher and its student that can be asked the same."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Self

from tf_distilbert.errors import UserError
from tf_distilbert.exports.prediction import Predictor
from tf_distilbert.serving.served_model import ServedModel

READABLE_TASKS = (
    "masked_lm",
    "sequence_classification",
    "token_classification",
    "question_answering",
    "embedding",
)
"""Tasks whose answers a person can read: of a sentence encoder, how near texts are."""


@dataclass(frozen=True)
class ModelPair:
    """Two models of one task, with one set of labels.

    Attributes:
        teacher, student: the models.
        teacher_name, student_name: where they come from, as the user wrote it.
    """

    teacher: Predictor
    student: Predictor
    teacher_name: str
    student_name: str

    @classmethod
    def load(cls, teacher: str, student: str, task: str | None = None) -> Self:
        """Load two models and see that they can be compared.

        Args:
            teacher, student: model folders or exports, as `Predictor` takes them.
            task: the head to be used, of model folders; see `load_task_model`.

        Raises:
            UserError: one cannot be loaded, or the two have different tasks, labels or masks.
        """
        load = partial(Predictor, task=task, compiled=True)
        pair = cls(load(teacher), load(student), teacher, student)
        pair._check()
        return pair

    def __iter__(self) -> Iterator[Predictor]:
        return iter((self.teacher, self.student))

    def _check(self) -> None:
        teacher, student = self.teacher.served, self.student.served
        if teacher.task not in READABLE_TASKS:
            raise UserError(
                f"{self.teacher_name}: is for {teacher.task}, whose answers are vectors; give a "
                f"model for one of {', '.join(READABLE_TASKS)}"
            )
        for what, of_student, of_teacher in (
            ("is for", student.task, teacher.task),
            ("its problem is", student.problem, teacher.problem),
            ("its labels are", _labels(student), _labels(teacher)),
            ("its mask is", _mask(student), _mask(teacher)),
        ):
            if of_student != of_teacher:
                raise UserError(
                    f"{self.student_name}: {what} {of_student}, of the teacher "
                    f"({self.teacher_name}) {of_teacher}; give two models of the same task"
                )


def _labels(served: ServedModel) -> str:
    """The names in an order of their own: the two may number them differently."""
    return "" if served.problem == "regression" else ", ".join(sorted(served.labels))


def _mask(served: ServedModel) -> str:
    return served.tokenizer.special_tokens.mask if served.task == "masked_lm" else ""
