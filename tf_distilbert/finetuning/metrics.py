"""Metrics of classes and numbers, from their definitions, on NumPy arrays.

Dimensions: N examples. Where a metric is not defined, as of constant predictions, it is 0: that
is what it would be of predictions that know nothing, and a NaN can neither be compared nor
averaged. scikit-learn does the same for F1 and Matthews; scipy gives NaN for correlations.
"""

import math

import numpy as np


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
