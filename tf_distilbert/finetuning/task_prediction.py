"""What a fine-tuned model predicts for the examples of a split."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from tf_distilbert.errors import NotFiniteError
from tf_distilbert.finetuning.answers import Answer, best_answers
from tf_distilbert.finetuning.encoded_split import EncodedSplit
from tf_distilbert.finetuning.example import QuestionExample, TokenExample
from tf_distilbert.finetuning.task import score
from tf_distilbert.finetuning.task_batches import TaskBatches
from tf_distilbert.finetuning.task_rows import IGNORED


@dataclass(frozen=True)
class Predictions:
    """The predictions for a split.

    Attributes:
        split: what was predicted.
        values: as `score` takes them.
        null_odds: of SQuAD 2.0, by id.
        answers: of questions, with their n-best lists.
    """

    split: EncodedSplit
    values: Any
    null_odds: Mapping[str, float] | None = None
    answers: tuple[Answer, ...] = ()

    def scores(self) -> dict[str, float]:
        """Give the metrics of the task; see `score`."""
        task, examples = self.split.task, self.split.examples
        return score(task, self.values, examples, null_odds=self.null_odds)


def predict_split(
    forward: Callable[[Mapping[str, np.ndarray]], Any],
    split: EncodedSplit,
    batch_size: int = 64,
    null_threshold: float = 0.0,
) -> Predictions:
    """Predict all examples of a split, those of like length together.

    Args:
        forward: of a model that was fine-tuned on the task; see `forward_pass`.
        split: encoded for the model.
        batch_size: rows at a time; has no influence on the predictions but rounding.
        null_threshold: of SQuAD 2.0; see `best_answers`.

    Raises:
        NotFiniteError: an output is infinite or no number.
    """
    batches = TaskBatches(split.rows, batch_size, seed=None)
    logits = batches.predict(lambda inputs: forward(_of_model(inputs)))
    kind = split.task.kind
    if kind == "question_answering":
        return _answers(split, logits, null_threshold)
    if not all(np.isfinite(row).all() for row in logits):
        raise NotFiniteError(
            f"{split.task.name}: the model's logits are not finite; train with a lower learning "
            "rate"
        )
    if kind == "token_classification":
        return Predictions(split, _labels(split, logits))
    values = np.stack(logits).astype("float64")
    return Predictions(split, values[:, 0] if kind == "regression" else values.argmax(-1))


def _of_model(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array for name, array in inputs.items() if name != "answer_mask"}


def _labels(split: EncodedSplit, logits: list[np.ndarray]) -> list[list[int]]:
    """Give a class for each word: of those that did not fit into the row, the one for none."""
    labels = split.task.labels
    none = labels.index("O") if "O" in labels else 0
    found = []
    examples = cast(Sequence[TokenExample], split.examples)
    for example, row, of_row in zip(examples, split.rows.rows, logits, strict=True):
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
    return Predictions(split, texts, null_odds, tuple(answers))
