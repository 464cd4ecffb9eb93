"""A sentence encoder's scores without any fine-tuning, from the command line down."""

import json

import numpy as np
import pytest
import scipy.stats

from support import tiny
from support.commands import run
from support.task_files import row, write
from support.task_model import task_model
from tf_distilbert.backend import step
from tf_distilbert.errors import NotFiniteError
from tf_distilbert.finetuning import by_vectors
from tf_distilbert.finetuning.by_vectors import predict_by_vectors
from tf_distilbert.finetuning.evaluation import evaluate_task
from tf_distilbert.finetuning.ranking_metrics import ranking_scores
from tf_distilbert.finetuning.splits import read_split
from tf_distilbert.finetuning.tasks import find_task
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.serving.embedding import embed

PROMPTS = {"query": "the city ", "document": "of one ", "other": "sun "}
PAIRS = [
    *((tiny.SENTENCES[0], tiny.SENTENCES[i], float(i % 4)) for i in range(7)),
    *((tiny.SENTENCES[5], tiny.SENTENCES[i], float(i % 3)) for i in range(6)),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("by_vectors")
    save_model(task_model("embedding", "bert"), folder / "plain")
    prompted = task_model("embedding", "bert", prompts=PROMPTS, default_prompt="other")
    save_model(prompted, folder / "prompted")
    save_model(task_model("encoder", "bert"), folder / "encoder")
    save_model(tiny.model(num_layers=2), folder / "bert")
    lines = (row(a, b, str(score)) for a, b, score in PAIRS)
    write(folder / "STS-B" / "dev.tsv", row("sentence1", "sentence2", "score"), *lines)
    lines = (json.dumps({"a": a, "b": b, "s": score}) for a, b, score in PAIRS)
    write(folder / "own" / "validation.jsonl", *lines)
    texts = [row(f"p{n}", text) for n, text in enumerate(tiny.SENTENCES)]
    write(folder / "search" / "passages.tsv", row("id", "text"), *texts)
    queries = ["the capital of italy", "the moon", "people"]
    lines = [row(f"q{n}", text) for n, text in enumerate(queries)]
    write(folder / "search" / "queries.tsv", row("id", "text"), *lines)
    lines = [row("q0", "p1"), row("q1", "p5"), row("q2", "p3"), row("q2", "p4")]
    write(folder / "search" / "relevant.tsv", row("query", "passage"), *lines)
    return folder


def cosines(one, other):
    one, other = np.float64(one), np.float64(other)
    return one @ other.T / np.outer(*(np.linalg.norm(x, axis=1) for x in (one, other)))


def test_pairs_are_scored_by_their_cosine(folder):
    """That of two texts is the same in either order, and that of a text and itself is 1."""
    model, sentences = folder / "plain", list(tiny.SENTENCES)
    vectors = embed(sentences, model)
    of_texts = np.round(cosines(vectors, vectors), 7)
    found = [of_texts[sentences.index(a), sentences.index(b)] for a, b, _ in PAIRS]
    assert sorted(map(found.count, found))[-4:] == [2, 2, 2, 2]
    labels = [pair[2] for pair in PAIRS]
    pearson, spearman = scipy.stats.pearsonr(found, labels), scipy.stats.spearmanr(found, labels)
    figures = {"pearson": pearson.statistic, "spearman": spearman.statistic}
    expected = {"score": (figures["pearson"] + figures["spearman"]) / 2, **figures}
    assert evaluate_task(model, "stsb", folder)["validation"] == pytest.approx(expected, abs=1e-6)
    columns = {"text": "a", "text_pair": "b", "label": "s"}
    own = evaluate_task(model, "similarity", folder / "own", columns=columns)
    assert own["validation"] == pytest.approx(expected, abs=1e-6)


def test_texts_are_cut_where_the_model_cuts_them_or_earlier(folder, refused_here):
    columns = {"text": "a", "text_pair": "b", "label": "s"}
    arguments = (folder / "plain", "similarity", folder / "own")
    whole = evaluate_task(*arguments, columns=columns)
    assert evaluate_task(*arguments, columns=columns, max_length=32) == whole
    save_model(task_model("embedding", "bert", max_length=9), folder / "short", overwrite=True)
    short = evaluate_task(folder / "short", *arguments[1:], columns=columns)
    assert evaluate_task(*arguments, columns=columns, max_length=9) == short != whole
    words = ["evaluate", "--task", "similarity", "--model", folder / "short", "max_length=10"]
    words += ["--data", folder / "own", "columns.text=a", "columns.text_pair=b", "columns.label=s"]
    refused_here(*words, message="is 10, the model reads 9 tokens of a text; use 9 at most$")


@pytest.mark.parametrize("at_once", [2, 2**15])
def test_a_search_finds_the_nearest_passages(folder, monkeypatch, at_once):
    """Queries and passages have prompts of their own, where the model has any."""
    monkeypatch.setattr(by_vectors, "_PASSAGES_AT_ONCE", at_once)
    examples = read_split(find_task("retrieval"), folder / "search", "validation")
    queries = [query.text for query in examples]
    for name, prompts in (("plain", (None, None)), ("prompted", ("query", "document"))):
        model = folder / name
        own, passages = (
            embed(texts, model, prompt=prompt)
            for texts, prompt in zip((queries, tiny.SENTENCES), prompts, strict=True)
        )
        ranking = np.argsort(-cosines(own, passages), axis=1)
        expected = ranking_scores(ranking, examples)
        found = evaluate_task(model, "retrieval", folder / "search", predictions=folder / name)
        assert found == {"validation": {"score": expected["ndcg@10"], **expected}}
        lines = (folder / name / "retrieval_validation.tsv").read_text().splitlines()
        assert lines[1:] == [
            row(f"q{n}", f"p{passage}", str(place))
            for n, of_query in enumerate(ranking)
            for place, passage in enumerate(of_query, 1)
        ]


def test_pairs_have_the_default_prompt(folder):
    columns = {"text": "a", "text_pair": "b", "label": "s"}
    task = find_task("similarity", columns=columns)
    examples = read_split(task, folder / "own", "validation")
    model = task_model("embedding", "bert", prompts=PROMPTS, default_prompt="other")
    plain = task_model("embedding", "bert")
    put = [embed([PROMPTS["other"] + e.texts[i] for e in examples], plain) for i in (0, 1)]
    found = predict_by_vectors(step.forward_pass(model), model, task, examples)
    np.testing.assert_allclose(found, cosines(*put).diagonal(), rtol=0, atol=1e-6)


def test_an_encoder_without_a_head_gives_the_mean(folder):
    found = evaluate_task(folder / "encoder", "retrieval", folder / "search")
    assert found == evaluate_task(folder / "plain", "retrieval", folder / "search")


def test_training_pairs_can_be_searched_too(folder):
    write(folder / "pairs" / "train.tsv", "text\ttext_pair", *(f"{s}\t{s}" for s in tiny.SENTENCES))
    found = evaluate_task(folder / "plain", "retrieval", folder / "pairs", split="train")
    assert found["train"]["ndcg@10"] == found["train"]["recall@1"] == 1.0


def test_a_model_that_diverged_has_no_score(folder):
    model = task_model("embedding", "bert")
    model.trainable_variables[0].assign(model.trainable_variables[0] * np.nan)
    examples = read_split(find_task("retrieval"), folder / "search", "validation")
    with pytest.raises(NotFiniteError, match="vectors are not finite"):
        predict_by_vectors(step.forward_pass(model), model, find_task("retrieval"), examples)


@pytest.mark.parametrize(
    ("model", "task", "message"),
    [
        ("bert", "retrieval", r"bert: is a masked language model that was not fine-tuned; `tf-"),
        ("plain", "sst2", r"plain: was fine-tuned for embedding, not for sequence_classification"),
        (
            "bert",
            "stsb",
            r"finetune --task stsb --model .*bert --data .*search --output DIR` m",
        ),
    ],
)
def test_models_of_other_kinds(folder, refused_here, model, task, message):
    words = ["evaluate", "--task", task, "--model", folder / model, "--data", folder / "search"]
    refused_here(*words, message=message)


def test_the_command_prints_and_writes_the_scores(folder, capsys):
    words = ["evaluate", "--task", "retrieval", "--model", folder / "plain"]
    assert run(*words, "--data", folder / "search", "--json", folder / "found.json") == 0
    found = json.loads((folder / "found.json").read_text())["validation"]
    assert list(found) == ["score", *find_task("retrieval").metrics]
    printed = capsys.readouterr().out
    assert [f"validation               {n:20} {v:.4f}" for n, v in found.items()] == (
        printed.splitlines()
    )
