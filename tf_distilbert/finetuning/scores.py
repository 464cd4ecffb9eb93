"""The metrics of a task."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from tf_distilbert.errors import NotFiniteError, UserError
from tf_distilbert.finetuning.example import Example, QuestionExample
from tf_distilbert.finetuning.metrics import accuracy, f1, macro_f1, matthews, pearson, spearman
from tf_distilbert.finetuning.squad_metrics import squad_1_scores, squad_2_scores
from tf_distilbert.finetuning.task_table import Task
from tf_distilbert.finetuning.token_metrics import entity_f1, token_accuracy

_METRICS = {
    "accuracy": accuracy,
    "f1": f1,
    "macro_f1": macro_f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
}
_TOKEN_METRICS = {"accuracy": token_accuracy, "f1": entity_f1}


def score(
    task: Task,
    predictions: Any,
    examples: Sequence[Example],
    *,
    null_odds: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Give the metrics of a task, GLUE's as fractions, SQuAD's in percent.

    Args:
        task: with its classes.
        predictions: of the examples in their order: classes, integer [N]; numbers, float [N]; of
            token classification a list of classes for each example; of questions the answers'
            texts by id.
        examples: of a split with labels.
        null_odds: of SQuAD 2.0, by id: the larger, the likelier there is no answer.

    Returns:
        A number for each of ``task.metrics``.

    Raises:
        UserError: an example has no label, or a predicted number is not finite.
        ValueError: predictions are not as many as examples.
    """
    if task.kind == "question_answering":
        questions = cast(Sequence[QuestionExample], examples)
        if task.name == "squad-v2":
            return squad_2_scores(predictions, questions, null_odds)
        return squad_1_scores(predictions, questions)
    if len(predictions) != len(examples):
        raise ValueError(f"{len(predictions)} predictions of {len(examples)} examples")
    by_token = task.kind == "token_classification"
    wanted: list[Any] = [getattr(e, "labels" if by_token else "label") for e in examples]
    if None in wanted:
        index = examples[wanted.index(None)].id
        raise UserError(
            f"{task.name}: example {index} has no label, so that there is nothing to compare with; "
            "score a split with labels"
        )
    if by_token:
        names, true_names = _names(task, predictions), _names(task, wanted)
        return {name: _TOKEN_METRICS[name](names, true_names) for name in task.metrics}
    found, true = np.asarray(predictions), np.asarray(wanted)
    if not np.all(np.isfinite(found)):
        raise NotFiniteError(
            f"{task.name}: {np.sum(~np.isfinite(found))} of {len(found)} predictions are not "
            "finite; train with a lower learning rate"
        )
    return {name: _METRICS[name](found, true) for name in task.metrics}


def _names(task: Task, sentences: Sequence[Sequence[int]]) -> list[list[str]]:
    return [[task.labels[label] for label in sentence] for sentence in sentences]
