"""What is scored on a task without any model: the best answer that is the same for all examples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from tf_distilbert.finetuning.examples import (
    Example,
    QueryExample,
    QuestionExample,
    TokenExample,
)
from tf_distilbert.finetuning.metrics import score
from tf_distilbert.finetuning.ranking_metrics import best_fixed_ranking
from tf_distilbert.finetuning.tasks import Task

_CORRELATIONS = {"matthews", "pearson", "spearman"}


@dataclass(frozen=True)
class Baseline:
    """What a score must be above to say anything; fractions, SQuAD's, too.

    Attributes:
        score: of the best answer that is the same for all examples.
        noise: two standard errors at most, which is how far a score can be off by chance.
    """

    score: float
    noise: float

    def is_passed_by(self, score: float) -> bool:
        """Whether a score is clearly above what no model gives."""
        return score > self.score + self.noise


def baseline_of(task: Task, examples: Sequence[Example]) -> Baseline:
    """Compute the baseline of a split with labels.

    Args:
        task: with its classes.
        examples: of the split.
    """
    scale = 0.01 if task.kind == "question_answering" else 1.0  # SQuAD's are in percent
    best = max(
        task.main_score(score(task, answers, examples, null_odds=odds))
        for answers, odds in _same_for_all(task, examples)
    )
    # A share of n has a standard error of 0.5 / sqrt(n) at most, a correlation of about twice that.
    widest = 1.0 if _CORRELATIONS & set(task.main) else 0.5
    return Baseline(scale * best, 2 * widest / math.sqrt(len(examples)))


def _same_for_all(task: Task, examples: Sequence[Example]) -> list[tuple[Any, dict | None]]:
    """Give every prediction that is the same for all examples, as `score` takes it."""
    count = len(examples)
    if task.kind == "question_answering":
        ids = [question.id for question in cast(Sequence[QuestionExample], examples)]
        return [(dict.fromkeys(ids, ""), dict.fromkeys(ids, 0.0))]
    if task.kind == "retrieval":
        return [(best_fixed_ranking(cast(Sequence[QueryExample], examples)), None)]
    if task.has_numbers:
        return [(np.zeros(count), None)]
    if task.kind == "token_classification":
        words = [len(sentence.words) for sentence in cast(Sequence[TokenExample], examples)]
        return [([[label] * n for n in words], None) for label in range(len(task.labels))]
    return [(np.full(count, label), None) for label in range(len(task.labels))]


def mean_baseline(baselines: Sequence[Baseline]) -> Baseline:
    """Give that of several splits whose scores are averaged."""
    first, *_ = baselines
    parts = len(baselines)
    return replace(
        first,
        score=sum(one.score for one in baselines) / parts,
        noise=math.sqrt(sum(one.noise**2 for one in baselines)) / parts,
    )
