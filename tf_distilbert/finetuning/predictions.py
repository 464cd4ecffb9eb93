"""What a model predicts for the examples of a split."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from rich.console import Console

from tf_distilbert.backend import step
from tf_distilbert.console.time_left import TimeLeft
from tf_distilbert.errors import NotFiniteError
from tf_distilbert.finetuning.answers import Answer, best_answers
from tf_distilbert.finetuning.by_vectors import predict_by_vectors
from tf_distilbert.finetuning.encoding import EncodedSplit
from tf_distilbert.finetuning.examples import Example, QuestionExample, TokenExample
from tf_distilbert.finetuning.metrics import score
from tf_distilbert.finetuning.rows import IGNORED, TaskBatches, TaskRows
from tf_distilbert.finetuning.tasks import Task
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.models.sentence_encoder import SentenceEncoder


@dataclass(frozen=True)
class Predictions:
    """The predictions for a split.

    Attributes:
        task: with its classes.
        examples: what was predicted.
        values: as `score` takes them.
        null_odds: of SQuAD 2.0, by id.
        answers: of questions, with their n-best lists.
    """

    task: Task
    examples: Sequence[Example]
    values: Any
    null_odds: Mapping[str, float] | None = None
    answers: tuple[Answer, ...] = ()

    def scores(self) -> dict[str, float]:
        """Give the metrics of the task; see `score`."""
        return score(self.task, self.values, self.examples, null_odds=self.null_odds)


Predict = Callable[[EncodedSplit, int, Console | None], Predictions]
"""From a split, how many rows to take at a time, and where progress is shown."""


def predictor(model: EncoderModel) -> Predict:
    """Give what predicts with the weights that a model has whenever it is called.

    Args:
        model: of the task of the splits.
    """
    forward = step.forward_pass(model)
    if isinstance(model, SentenceEncoder):

        def by_vectors(split: EncodedSplit, size: int, console: Console | None) -> Predictions:
            task, examples = split.task, split.examples
            values = predict_by_vectors(forward, model, task, examples, size, console)
            return Predictions(task, examples, values)

        return by_vectors
    return lambda split, size, console: predict_split(forward, split, size, console=console)


def predict_split(
    forward: Callable[[Mapping[str, np.ndarray]], Any],
    split: EncodedSplit,
    batch_size: int = 64,
    null_threshold: float = 0.0,
    console: Console | None = None,
) -> Predictions:
    """Predict all examples of a split, those of like length together.

    Args:
        forward: of a model that was fine-tuned on the task; see `forward_pass`.
        split: encoded for the model.
        batch_size: rows at a time; has no influence on the predictions but rounding.
        null_threshold: of SQuAD 2.0; see `best_answers`.
        console: where progress is shown; None: nowhere.

    Raises:
        NotFiniteError: an output is infinite or no number.
    """
    batches = TaskBatches(split.rows, batch_size, seed=None)
    task, kind = split.task.name, split.task.kind
    with TimeLeft(console, f"evaluating {task}", batches.steps_per_epoch) as progress:

        def predict(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
            found = np.asarray(forward(_of_model(inputs)))
            progress.advance()
            return found

        logits = batches.predict(predict)
    if kind == "question_answering":
        with TimeLeft(console, f"choosing the answers of {task}"):
            return _answers(split, logits, null_threshold)
    if not all(np.isfinite(row).all() for row in logits):
        raise NotFiniteError(
            f"{split.task.name}: the model's logits are not finite; train with a lower learning "
            "rate"
        )
    if kind == "token_classification":
        return Predictions(split.task, split.examples, _labels(split, logits))
    values = np.stack(logits).astype("float64")
    values = values[:, 0] if kind == "regression" else values.argmax(-1)
    return Predictions(split.task, split.examples, values)


def _of_model(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array for name, array in inputs.items() if name != "answer_mask"}


def _labels(split: EncodedSplit, logits: list[np.ndarray]) -> list[list[int]]:
    """Give a class for each word: of those that did not fit into the row, the one for none."""
    labels = split.task.labels
    none = labels.index("O") if "O" in labels else 0
    found = []
    examples = cast(Sequence[TokenExample], split.examples)
    rows = cast(TaskRows, split.rows).rows
    for example, row, of_row in zip(examples, rows, logits, strict=True):
        counted = np.asarray(row.target) != IGNORED
        seen = of_row[: len(counted)].argmax(-1)[counted].tolist()
        found.append(seen + [none] * (len(example.words) - len(seen)))
    return found


def _answers(split: EncodedSplit, logits: list[np.ndarray], null_threshold: float) -> Predictions:
    has_nulls = split.task.name == "squad-v2"
    answers = best_answers(
        cast(Sequence[QuestionExample], split.examples),
        split.windows,
        [window[:, 0] for window in logits],
        [window[:, 1] for window in logits],
        null_answers=has_nulls,
        null_threshold=null_threshold,
    )
    texts = {answer.id: answer.text for answer in answers}
    null_odds = None
    if has_nulls:
        null_odds = {a.id: a.null_odds for a in answers if a.null_odds is not None}
    return Predictions(split.task, split.examples, texts, null_odds, tuple(answers))
