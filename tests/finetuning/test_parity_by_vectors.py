"""Scores of sentence encoders, against sentence-transformers' evaluators of the same folders."""

import numpy as np
import pytest

from support import parity, tiny
from support.task_files import row, write
from support.task_model import task_model
from tf_distilbert.finetuning.evaluation import evaluate_task
from tf_distilbert.model_files.folder import save_model

sentence_transformers = pytest.importorskip(
    "sentence_transformers", reason="needs the extra `parity`"
)
pytestmark = pytest.mark.parity
SECTION = "Scores of sentence encoders"
AGAINST = "sentence-transformers' evaluator"
TOLERANCE = 1e-6
PROMPTS = {"query": "the city ", "passage": "of one "}


def texts(seed, count):
    """All different, and of like words."""
    generator = np.random.default_rng(seed)
    words = [word for word in tiny.WORDS if "#" not in word]
    found = {" ".join(generator.choice(words, generator.integers(3, 12))) for _ in range(2 * count)}
    return sorted(found)[:count]


def theirs(folder):
    return sentence_transformers.SentenceTransformer(str(folder), device="cpu")


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_similarity(tmp_path, family):
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    save_model(task_model("embedding", family), tmp_path / "model")
    one, other = texts(1, 60), texts(2, 60)
    scores = np.random.default_rng(3).integers(0, 11, 60) / 2
    lines = (row(a, b, str(s)) for a, b, s in zip(one, other, scores, strict=True))
    write(tmp_path / "dev.tsv", row("sentence1", "sentence2", "score"), *lines)
    found = evaluate_task(tmp_path / "model", "stsb", tmp_path)["validation"]
    evaluator = EmbeddingSimilarityEvaluator(
        one, other, scores.tolist(), similarity_fn_names=["cosine"], write_csv=False
    )
    expected = evaluator(theirs(tmp_path / "model"))
    for name in ("pearson", "spearman"):
        difference = abs(found[name] - expected[f"{name}_cosine"])
        parity.at_most(SECTION, f"{name} of pairs", AGAINST, difference, TOLERANCE)


@pytest.mark.parametrize("prompts", [{}, PROMPTS], ids=["plain", "prompts"])
def test_retrieval(tmp_path, prompts):
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    save_model(task_model("embedding", "bert", prompts=prompts), tmp_path / "model")
    queries, passages = texts(1, 30), texts(2, 150)
    generator = np.random.default_rng(3)
    relevant = {n: generator.choice(150, generator.integers(1, 15), False) for n in range(30)}
    for stem, column in (("queries", queries), ("passages", passages)):
        lines = (row(str(n), text) for n, text in enumerate(column))
        write(tmp_path / f"{stem}.tsv", row("id", "text"), *lines)
    pairs = (row(str(n), str(p)) for n, found in relevant.items() for p in found)
    write(tmp_path / "relevant.tsv", row("query", "passage"), *pairs)
    found = evaluate_task(tmp_path / "model", "retrieval", tmp_path)["validation"]
    evaluator = InformationRetrievalEvaluator(
        {str(n): text for n, text in enumerate(queries)},
        {str(n): text for n, text in enumerate(passages)},
        {str(n): set(map(str, passages)) for n, passages in relevant.items()},
        precision_recall_at_k=[1, 10, 100],
        main_score_function="cosine",
        query_prompt_name="query" if prompts else None,
        corpus_prompt_name="passage" if prompts else None,
        write_csv=False,
    )
    expected = evaluator(theirs(tmp_path / "model"))
    assert 0.01 < found["ndcg@10"] < 0.9
    for name in ("ndcg@10", "mrr@10", "recall@1", "recall@10", "recall@100"):
        difference = abs(found[name] - expected[f"cosine_{name}"])
        parity.at_most(SECTION, name, AGAINST, difference, TOLERANCE)
