"""The metrics of a retrieval, from the passages that were found.

Dimensions: N queries, D passages found for each.
"""

from collections.abc import Sequence

import numpy as np

from tf_distilbert.finetuning.examples import QueryExample

DEPTH = 100
"""How many passages the metrics look at."""

_RECALLS = (1, 10, 100)
_FIRST = 10


def ranking_scores(ranking: np.ndarray, examples: Sequence[QueryExample]) -> dict[str, float]:
    """Give the metrics of a retrieval, each a mean over the queries.

    - ``ndcg@10``: the sum of the grades of the first ten passages, each by log2 of (1 + its place,
      from 1), over the largest such sum that there can be. Without grades, all are 1.
    - ``mrr@10``: 1 over the place of the first relevant passage; 0 if it is not among the ten.
    - ``recall@1``, ``recall@10``, ``recall@100``: how many of the relevant passages are among the
      first ones, as a share of all relevant ones.

    Args:
        ranking: numbers of passages, the best first, integer [N, D]; D is `DEPTH`, or all passages.
        examples: N queries.

    Source: Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, 2002, with
    the discount of ``trec_eval`` (``ndcg_cut``, ``recall``), whose gain is the grade itself.
    """
    gains = np.zeros(ranking.shape)
    for row, (query, found) in enumerate(zip(examples, ranking.tolist(), strict=True)):
        gains[row] = [query.relevant.get(passage, 0.0) for passage in found]
    is_relevant = gains > 0
    counts = np.array([len(query.relevant) for query in examples])
    best = [sorted(query.relevant.values(), reverse=True)[:_FIRST] for query in examples]
    ideal = np.array([_discounted(np.array(grades)) for grades in best])
    places = np.arange(1, 1 + min(_FIRST, ranking.shape[1]))
    # Of what is relevant, the first counts most.
    reciprocal = np.max(is_relevant[:, :_FIRST] / places, axis=1)
    recalls = {f"recall@{k}": np.mean(is_relevant[:, :k].sum(1) / counts) for k in _RECALLS}
    means = {"ndcg@10": np.mean(_discounted(gains) / ideal), "mrr@10": np.mean(reciprocal)}
    return {name: float(mean) for name, mean in {**means, **recalls}.items()}


def best_fixed_ranking(examples: Sequence[QueryExample]) -> np.ndarray:
    """Give the one ranking for all queries that has the largest ``ndcg@10``.

    That is a sum over passages: of a passage's discount, times what its grades are of each query's
    largest sum. So the passages are ordered by these.

    Args:
        examples: N queries.

    Returns:
        integer [N, D].
    """
    weights = np.zeros(len(examples[0].passages.ids))
    for query in examples:
        grades = np.array(sorted(query.relevant.values(), reverse=True))
        for passage, grade in query.relevant.items():
            weights[passage] += grade / _discounted(grades)
    best = np.argsort(-weights, kind="stable")[:DEPTH]
    return np.tile(best, (len(examples), 1))


def _discounted(gains: np.ndarray) -> np.ndarray:
    """Sum the gains of the first ten, the later ones less: float [..., D] to [...]."""
    first = gains[..., :_FIRST]
    return first @ (1 / np.log2(np.arange(2, 2 + first.shape[-1])))
