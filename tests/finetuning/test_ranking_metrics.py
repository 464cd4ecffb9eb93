"""Metrics of rankings: scikit-learn's and plain loops' figures, and cases by hand."""

import itertools
import math

import numpy as np
import pytest
import sklearn.metrics

from tf_distilbert.finetuning.baseline import baseline_of
from tf_distilbert.finetuning.examples import Passages, QueryExample
from tf_distilbert.finetuning.metrics import score
from tf_distilbert.finetuning.ranking_metrics import DEPTH, best_fixed_ranking, ranking_scores
from tf_distilbert.finetuning.tasks import find_task

RETRIEVAL = find_task("retrieval")


def queries_of(*relevant, count):
    passages = Passages([f"p{n}" for n in range(count)], ["x"] * count)
    return [QueryExample(str(n), "q", found, passages) for n, found in enumerate(relevant)]


def random_case(seed, count, graded):
    """Queries with a few relevant passages each, and random cosines, all different."""
    random = np.random.default_rng(seed)
    relevant = []
    for _ in range(20):
        chosen = random.choice(count, random.integers(1, min(count, 15)), replace=False)
        grades = random.integers(1, 4, len(chosen)) if graded else np.ones(len(chosen))
        relevant.append({int(n): float(g) for n, g in zip(chosen, grades, strict=True)})
    cosines = random.permuted(np.linspace(-1, 1, 20 * count)).reshape(20, count)
    return queries_of(*relevant, count=count), cosines


def by_loops(ranking, queries):
    """Each figure from its definition, query by query."""
    found = {name: [] for name in RETRIEVAL.metrics}
    for places, query in zip(ranking, queries, strict=True):
        hits = [place for place, number in enumerate(places, 1) if number in query.relevant]
        gain = sum(query.relevant[places[p - 1]] / math.log2(p + 1) for p in hits if p <= 10)
        best = sorted(query.relevant.values(), reverse=True)[:10]
        found["ndcg@10"].append(gain / sum(g / math.log2(p + 1) for p, g in enumerate(best, 1)))
        found["mrr@10"].append(1 / hits[0] if hits and hits[0] <= 10 else 0.0)
        for k in (1, 10, 100):
            share = len([place for place in hits if place <= k]) / len(query.relevant)
            found[f"recall@{k}"].append(share)
    return {name: sum(values) / len(values) for name, values in found.items()}


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("count", [3, 10, 40, 300])
@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_the_definitions(seed, count, graded):
    queries, cosines = random_case(seed, count, graded)
    ranking = np.argsort(-cosines, axis=1)[:, :DEPTH]
    found = ranking_scores(ranking, queries)
    assert found == pytest.approx(by_loops(ranking.tolist(), queries), abs=1e-12)
    assert list(found) == list(RETRIEVAL.metrics)
    grades = np.zeros(cosines.shape)
    for n, query in enumerate(queries):
        grades[n, list(query.relevant)] = list(query.relevant.values())
    expected = sklearn.metrics.ndcg_score(grades, cosines, k=10)
    assert found["ndcg@10"] == pytest.approx(expected, abs=1e-12)
    assert score(RETRIEVAL, ranking, queries) == found
    assert RETRIEVAL.main_score(found) == found["ndcg@10"]


def test_figures_by_hand():
    """The second is relevant in the first query; the first and the third in the other."""
    queries = queries_of({5: 1.0}, {0: 3.0, 2: 1.0}, count=6)
    found = ranking_scores(np.array([[4, 5, 0], [0, 1, 2]]), queries)
    best = 3 + 1 / np.log2(3)
    ndcg = (1 / np.log2(3) + (3 + 1 / 2) / best) / 2
    expected = {"ndcg@10": ndcg, "mrr@10": (1 / 2 + 1) / 2, "recall@1": 0.25}
    assert found == pytest.approx({**expected, "recall@10": 1.0, "recall@100": 1.0})


def test_the_baseline_is_the_best_ranking_that_is_the_same_for_all():
    """Of all orders of six passages none has a larger nDCG."""
    queries = queries_of({5: 1.0, 1: 2.0}, {0: 3.0, 2: 1.0}, {2: 1.0, 5: 1.0}, count=6)
    orders = itertools.permutations(range(6))
    best = max(ranking_scores(np.array([o] * 3), queries)["ndcg@10"] for o in orders)
    found = ranking_scores(best_fixed_ranking(queries), queries)["ndcg@10"]
    assert found == pytest.approx(best, abs=1e-12)
    baseline = baseline_of(RETRIEVAL, queries)
    assert baseline.score == pytest.approx(best)
    assert baseline.noise == pytest.approx(1 / np.sqrt(3))
