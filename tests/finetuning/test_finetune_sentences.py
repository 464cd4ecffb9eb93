"""Fine-tuning of sentence encoders from files to files: what is learnt, kept and refused."""

import json

import numpy as np
import pytest

from support import tiny
from support.commands import run
from support.devices import strategy_of
from support.task_files import row, write
from support.task_model import task_model
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.finetuning import FinetuneConfig
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.evaluation import evaluate_task
from tf_distilbert.finetuning.finetune import finetune
from tf_distilbert.model_files.folder import load_task_model, save_model
from tf_distilbert.runs.monitor import Monitor
from tf_distilbert.serving.embedding import embed

TOPICS = ["paris", "rome", "berlin", "river", "sea", "sun", "moon", "day", "night", "language"]


def sentence(generator, topic):
    """A few words around one that counts."""
    others = ["the", "a", "of", "is", "in", "and", "one", "two", "large", "small", "old", "new"]
    words = [*generator.choice(others, 5), topic]
    return " ".join(generator.permuted(words))


def pairs(number, seed):
    """Of the same topic, or of two; with 5 and 1 for scores."""
    generator = np.random.default_rng(seed)
    for count in range(number):
        topics = generator.choice(TOPICS, 2, replace=False)
        if count % 2:
            topics[1] = topics[0]
        yield *(sentence(generator, topic) for topic in topics), 5 if count % 2 else 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sentences")
    save_model(task_model("embedding", "bert", pooling="mean", normalize=True), folder / "start")
    save_model(tiny.model(seed=1, num_layers=2), folder / "bert")
    for stem, number, seed in (("train", 240, 1), ("dev", 80, 2)):
        lines = [row(a, b, str(score)) for a, b, score in pairs(number, seed)]
        write(folder / "own" / f"{stem}.tsv", row("text", "text_pair", "label"), *lines)
        head = row("sentence1", "sentence2", "score")
        write(folder / "glue" / "STS-B" / f"{stem}.tsv", head, *lines)
    generator = np.random.default_rng(3)
    same = [[sentence(generator, topic) for _ in range(3)] for topic in TOPICS * 20]
    other = [sentence(generator, topic) for topic in (TOPICS[1:] + TOPICS[:1]) * 20]
    lines = [row(*texts[:2], negative) for texts, negative in zip(same, other, strict=True)]
    write(folder / "search" / "train.tsv", row("text", "text_pair", "negative"), *lines)
    texts = [[sentence(generator, topic) for topic in TOPICS * 4] for _ in range(2)]
    for stem, column in zip(("queries", "passages"), texts, strict=True):
        lines = [row(str(n), text) for n, text in enumerate(column)]
        write(folder / "search" / f"{stem}.tsv", row("id", "text"), *lines)
    same = ((q, p) for q in range(40) for p in range(40) if q % 10 == p % 10)
    lines = [row(str(query), str(passage)) for query, passage in same]
    write(folder / "search" / "relevant.tsv", row("query", "passage"), *lines)
    return folder


def configure(folder, task, output, data, model="start", **values):
    train = {"epochs": 8, "global_batch_size": 16, "learning_rate": 3e-3, "precision": "float32"}
    settings = {"task": task, "model": str(folder / model), "data": str(folder / data)}
    train |= {"log_every": 50, "validate_every": 60, **values.pop("train", {})}
    settings |= {"output": str(folder / output), "train": train, **values}
    return parse_config(FinetuneConfig, settings)


@pytest.mark.parametrize("objective", ["mse", "cosent"])
def test_similarities_are_learnt(folder, objective):
    before = evaluate_task(folder / "start", "similarity", folder / "own")["validation"]
    loss = {"similarity": objective}
    scores = finetune(configure(folder, "similarity", objective, "own", loss=loss))
    assert scores["validation"]["spearman"] > before["spearman"] + 0.4
    model = folder / objective / "model"
    assert json.loads((folder / objective / "scores.json").read_text()) == scores
    assert evaluate_task(model, "similarity", folder / "own") == scores
    found = load_task_model(model)
    assert (found.task, found.pooling, found.normalize) == ("embedding", "mean", True)
    vectors = embed(["the sea", "a river and the sea"], model)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_passages_are_found_better(folder):
    before = evaluate_task(folder / "start", "retrieval", folder / "search")["validation"]
    config = configure(folder, "retrieval", "found", "search", loss={"matryoshka": [16, 4]})
    scores = finetune(config)["validation"]
    assert scores["score"] == scores["ndcg@10"] > max(0.8, before["ndcg@10"] + 0.1)
    assert evaluate_task(folder / "found" / "model", "retrieval", folder / "search") == {
        "validation": scores
    }
    log = [json.loads(line) for line in (folder / "found" / "log.jsonl").read_text().splitlines()]
    assert sum("ndcg@10" in line for line in log) >= 2


def test_stsb_of_a_sentence_encoder_is_a_similarity(folder):
    """And of any other model a regression, as ever."""
    few = {"steps": 2, "epochs": None}
    scores = finetune(configure(folder, "stsb", "stsb", "glue", train=few))
    assert load_task_model(folder / "stsb" / "model").task == "embedding"
    assert evaluate_task(folder / "stsb" / "model", "stsb", folder / "glue") == scores
    finetune(configure(folder, "stsb", "regression", "glue", model="bert", train=few))
    found = load_task_model(folder / "regression" / "model")
    assert (found.task, found.problem) == ("sequence_classification", "regression")


def test_any_encoder_becomes_one_that_gives_the_mean(folder):
    few = {"steps": 1, "epochs": None, "learning_rate": 1e-9}
    finetune(configure(folder, "retrieval", "made", "search", model="bert", train=few))
    found = load_task_model(folder / "made" / "model")
    assert (found.task, found.pooling, found.max_length) == ("embedding", "mean", 32)
    encoder = load_task_model(folder / "bert", "encoder")
    for own, before in zip(found.weights, encoder.weights, strict=True):
        np.testing.assert_allclose(own, before, rtol=0, atol=1e-7)


def test_a_length_is_kept_by_the_model(folder):
    few = {"steps": 1, "epochs": None}
    config = configure(folder, "similarity", "short", "own", max_length=8, train=few)
    scores = finetune(config)
    assert load_task_model(folder / "short" / "model").max_length == 8
    assert evaluate_task(folder / "short" / "model", "similarity", folder / "own") == scores


def test_a_share_of_the_pairs_is_searched(folder):
    few = {"steps": 1, "epochs": None}
    config = configure(folder, "retrieval", "share", "search", validation_share=0.1, train=few)
    assert list(finetune(config)) == ["held_out"]


def test_a_stopped_run_goes_on_to_the_same_bits(folder, monkeypatch):
    class Stop(Exception):
        """As a kill, between two steps."""

    original = Monitor.on_train_batch_end

    def stopping(self, batch, logs=None):
        original(self, batch, logs)
        if self.progress.step == 5:
            raise Stop

    few = {"steps": 6, "epochs": None, "checkpoint_every": 3}
    finetune(configure(folder, "retrieval", "whole", "search", train=few))
    with monkeypatch.context() as patch:
        patch.setattr(Monitor, "on_train_batch_end", stopping)
        with pytest.raises(Stop):
            finetune(configure(folder, "retrieval", "part", "search", train=few))
    finetune(configure(folder, "retrieval", "part", "search", train={**few, "resume": "auto"}))
    found, expected = (
        tiny.weights(load_task_model(folder / name / "model")) for name in ("part", "whole")
    )
    np.testing.assert_array_equal(found, expected)


def test_two_devices_share_the_pairs(folder, monkeypatch):
    """A key's bias changes no softmax: Adam makes its rounding large, which epsilon prevents."""
    few, runs = {"steps": 4, "epochs": None, "epsilon": 1e-4}, []
    for devices in (1, 2):
        strategy = strategy_of(devices)
        monkeypatch.setattr("tf_distilbert.runs.job.make_strategy", lambda _, s=strategy: s)
        finetune(configure(folder, "similarity", f"{devices} devices", "own", train=few))
        runs.append(tiny.weights(load_task_model(folder / f"{devices} devices" / "model")))
    np.testing.assert_allclose(*runs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("task", "data", "values", "message"),
    [
        (
            "similarity",
            "own",
            ["train.micro_batch_size=4", "loss.similarity=cosent"],
            "which mi",
        ),
        ("retrieval", "search", ["train.micro_batch_size=4"], "in batch negatives compares all"),
        ("retrieval", "search", ["loss.similarity=cosent"], "for pairs with scores, not for retr"),
        ("retrieval", "search", ["loss.matryoshka=[17]"], "different sizes from 1 to 16"),
        (
            "retrieval",
            "search",
            ["loss.matryoshka=[4, 4]"],
            "loss.matryoshka is .4, 4.; it",
        ),
        (
            "similarity",
            "own",
            ["loss.similarity=best"],
            "loss.similarity is 'best'; it must",
        ),
        ("similarity", "own", ["teacher=start"], "^teacher is not for similarity, a task by vect"),
        ("similarity", "own", ["head_dropout=0.1"], "^head_dropout is not for similarity"),
        ("similarity", "own", ["max_length=33"], "is 33, the model reads 32 tokens of a text"),
        ("classification", "own", ["loss.matryoshka=[4]"], "^loss.matryoshka is for tasks by vec"),
        ("classification", "own", ["loss.similarity=cosent"], "^loss.similarity is for tasks by"),
    ],
)
def test_what_does_not_go_together(folder, refused, task, data, values, message):
    words = ["finetune", "--task", task, "--model", folder / "start", "--data", folder / data]
    refused(*words, "--output", folder / "refused", *values, message=message, after_start=True)
    assert not (folder / "refused").exists()


def test_the_command_makes_a_sentence_encoder(folder, capsys):
    words = ["finetune", "--task", "similarity", "--model", folder / "start"]
    words += ["--data", folder / "own", "--output", folder / "command", "train.steps=1"]
    assert run(*words, "train.epochs=null", "train.precision=float32") == 0
    assert "spearman" in capsys.readouterr().out
    assert run("predict", "--model", folder / "command" / "model", "the sea") == 0
    [line] = capsys.readouterr().out.splitlines()
    expected = embed(["the sea"], folder / "command" / "model")[0]
    np.testing.assert_allclose(json.loads(line)["embedding"], expected, atol=1e-5)


def test_equal_scores_are_refused_before_anything_is_written(folder):
    lines = (row(a, b, "3") for a, b, _ in pairs(8, 1))
    write(folder / "equal" / "train.tsv", row("text", "text_pair", "label"), *lines)
    write(folder / "equal" / "dev.tsv", row("text", "text_pair", "label"), "a\tb\t3")
    with pytest.raises(UserError, match="all scores of its split train are 3"):
        finetune(configure(folder, "similarity", "equal-run", "equal"))
    assert not (folder / "equal-run").exists()
