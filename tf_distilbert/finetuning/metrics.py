"""The metrics of a task: of classes, numbers and labelled words, from their definitions.

Dimensions: N examples. Where a metric is not defined, as of constant predictions, it is 0: that
is what it would be of predictions that know nothing, and a NaN can neither be compared nor
averaged. scikit-learn does the same for F1 and Matthews; scipy gives NaN for correlations.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from tf_distilbert.errors import NotFiniteError, UserError
from tf_distilbert.finetuning.examples import Example, QueryExample, QuestionExample
from tf_distilbert.finetuning.ranking_metrics import ranking_scores
from tf_distilbert.finetuning.squad_metrics import squad_1_scores, squad_2_scores
from tf_distilbert.finetuning.tasks import Task


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Give the fraction of examples whose class is predicted.

    Args:
        predicted: integer [N].
        labels: integer [N].
    """
    return float(np.mean(predicted == labels))


def f1(predicted: np.ndarray, labels: np.ndarray, positive: int = 1) -> float:
    """Give the harmonic mean of precision and recall of one class; 0 if it is never predicted.

    2 TP / (2 TP + FP + FN).

    Args:
        predicted: integer [N].
        labels: integer [N].
        positive: the class.
    """
    found, wanted = predicted == positive, labels == positive
    total = np.sum(found) + np.sum(wanted)
    return float(2 * np.sum(found & wanted) / total) if total else 0.0


def macro_f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Give the mean of the F1 of each class that is predicted or to be predicted.

    Args:
        predicted: integer [N].
        labels: integer [N].
    """
    classes = np.union1d(predicted, labels)
    return float(np.mean([f1(predicted, labels, positive) for positive in classes]))


def matthews(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Give the correlation of classes; 0 if all predictions, or all labels, are the same.

    The covariance of two one-hot codes over the root of the product of their variances, which of
    two classes is Matthews' (TP TN - FP FN) / root of (TP+FP)(TP+FN)(TN+FP)(TN+FN).

    Source: Gorodkin, Comparing two K-category assignments by a K-category correlation
    coefficient, 2004 (R_K).

    Args:
        predicted: integer [N].
        labels: integer [N].
    """
    classes = np.union1d(predicted, labels)
    count = len(labels)
    # Counts as Python's integers: their products would overflow.
    found = [int(np.sum(predicted == c)) for c in classes]
    wanted = [int(np.sum(labels == c)) for c in classes]
    right = int(np.sum(predicted == labels))
    covariance = count * right - sum(f * w for f, w in zip(found, wanted, strict=True))
    variances = [count * count - sum(n * n for n in counts) for counts in (found, wanted)]
    if not all(variances):
        return 0.0
    return covariance / math.sqrt(variances[0] * variances[1])


def pearson(predicted: np.ndarray, scores: np.ndarray) -> float:
    """Give the correlation of two lists of numbers; 0 if either is constant.

    Args:
        predicted: float [N].
        scores: float [N].
    """
    first, second = _standardised(predicted), _standardised(scores)
    return float(np.clip(first @ second, -1.0, 1.0))


def spearman(predicted: np.ndarray, scores: np.ndarray) -> float:
    """Give the correlation of the ranks of two lists of numbers; 0 if either is constant.

    Numbers that are equal share the mean of their ranks.

    Args:
        predicted: float [N].
        scores: float [N].
    """
    return pearson(_ranks(predicted), _ranks(scores))


def _standardised(values: np.ndarray) -> np.ndarray:
    """Deviations from the mean, of length 1; zeros of a constant."""
    values = np.asarray(values, np.float64)
    if np.all(values == values[:1]):
        return np.zeros_like(values)
    # Large numbers would overflow in their squares.
    values = values / np.max(np.abs(values))
    deviations = values - np.mean(values)
    return deviations / np.linalg.norm(deviations)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; of equal values the mean of theirs."""
    _, numbers, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((2 * last - counts + 1) / 2)[numbers]


Sentences = Sequence[Sequence[str]]
Entity = tuple[str, int, int]


def token_accuracy(predicted: Sentences, labels: Sentences) -> float:
    """Give the fraction of all words whose label is predicted; 0 if there is no word.

    Args:
        predicted: for each sentence a label a word.
        labels: as many.
    """
    pairs = list(_pairs(predicted, labels))
    return sum(found == wanted for found, wanted in pairs) / len(pairs) if pairs else 0.0


def entity_f1(predicted: Sentences, labels: Sentences) -> float:
    """Give the F1 of entities: of the predicted ones and the true ones, those that are both.

    Where all labels are ``O``, ``B-TYPE`` or ``I-TYPE`` (BIO) an entity is a stretch of words of
    a type, as `entities` finds it, and right only if type, first and last word are. Other labels
    (parts of speech) are not of stretches: each word that is not ``O`` is by itself, which
    without any ``O`` is the accuracy. 0 if there is no entity.

    Args:
        predicted: for each sentence a label a word.
        labels: as many.
    """
    if not is_bio({label for sentences in (predicted, labels) for s in sentences for label in s}):
        pairs = list(_pairs(predicted, labels))
        right = sum(found == wanted != "O" for found, wanted in pairs)
        total = sum((found != "O") + (wanted != "O") for found, wanted in pairs)
        return 2 * right / total if total else 0.0
    right = total = 0
    for found, wanted in zip(predicted, labels, strict=True):
        found_entities, wanted_entities = set(entities(found)), set(entities(wanted))
        right += len(found_entities & wanted_entities)
        total += len(found_entities) + len(wanted_entities)
    return 2 * right / total if total else 0.0


def is_bio(labels: set[str]) -> bool:
    """Whether labels are all of the form that `entities` reads."""
    return all(label in ("O", "B", "I") or label[:2] in ("B-", "I-") for label in labels)


def entities(labels: Sequence[str]) -> list[Entity]:
    """Give the entities of a sentence: type, first word, word after the last one.

    One begins with every ``B-``, and with an ``I-`` that follows ``O`` or another type: so CoNLL's
    own script has it, and seqeval unless it is told to be strict.

    Example:
        >>> entities(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
        [('PER', 0, 2), ('LOC', 3, 4), ('LOC', 4, 5)]
    """
    found: list[Entity] = []
    start, kind = 0, None
    for place, label in enumerate([*labels, "O"]):
        prefix, _, name = label.partition("-")
        goes_on = prefix == "I" and name == kind
        if kind is not None and not goes_on:
            found.append((kind, start, place))
        if not goes_on:
            start, kind = place, None if label == "O" else name
    return found


def _pairs(predicted: Sentences, labels: Sentences) -> list[tuple[str, str]]:
    return [
        pair
        for found, wanted in zip(predicted, labels, strict=True)
        for pair in zip(found, wanted, strict=True)
    ]


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
            texts by id; of queries the numbers of passages, see `ranking_scores`.
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
    if task.kind == "retrieval":
        return ranking_scores(predictions, cast(Sequence[QueryExample], examples))
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
