"""`predict` on bad input: exit code 2, one line that names it, nothing written."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf

from support.commands import run
from support.exports import save_models
from support.task_model import task_model
from tf_distilbert.model_files.folder import save_model


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return save_models(
        tmp_path_factory.mktemp("models"),
        *("sequence_classification", "question_answering", "encoder"),
    )


@pytest.fixture
def refused_predict(refused_here):
    def check(model, *words, message):
        return refused_here("predict", "--model", model, *words, message=message)

    return check


def test_predict_where_there_is_nothing(refused_predict, models, place):
    refused_predict("none", "a", message=r"^none: no such model folder")
    (place / "empty").mkdir()
    line = refused_predict("empty", "a", message=r"^empty")
    assert "export" in line or "model folder" in line
    model = models / "encoder"
    refused_predict(model, "a", "--task", "masked_lm", message=r"has no masked-LM head")
    refused_predict(model, "a", "--task", "summary", message=r"task 'summary': use one of")


class Doubler(tf.Module):
    """Somebody's SavedModel, with nothing of ours."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def __call__(self, x):
        return 2 * x


def test_predict_on_exports_that_are_broken(refused_predict, place):
    tf.saved_model.save(Doubler(), str(place / "other"))
    refused_predict("other", "a", message=r"^other\S*: ")
    (place / "half").mkdir()
    (place / "half" / "metadata.json").write_text("{}")
    message = r"^half/metadata\.json: its task is None, which is not supported"
    refused_predict("half", "a", message=message)
    (place / "half" / "metadata.json").write_text("[")
    refused_predict("half", "a", message=r"^half/metadata\.json: is not JSON")


def test_an_export_has_its_task(refused_predict, models, place, capsys):
    pytest.importorskip("tf2onnx")
    words = ("--model", models / "encoder", "--format", "onnx", "--output", "out")
    assert run("export", *words) == 0
    message = r"^--task encoder: out is an export, which has its task$"
    refused_predict("out", "a", "--task", "encoder", message=message)
    facts = json.loads((place / "out" / "metadata.json").read_text())
    (place / "out" / "metadata.json").write_text(json.dumps(facts | {"task": "summary"}))
    refused_predict("out", "a", message=r"^out\S*: ")
    (place / "out" / "metadata.json").write_text(json.dumps(facts))
    (place / "out" / "model.onnx").write_bytes(b"nothing")
    refused_predict("out", "a", message=r"^out/model\.onnx: cannot be opened")
    (place / "out" / "model.onnx").unlink()
    refused_predict("out", "a", message=r"^out: holds no saved_model\.pb, model\.tflite")


def test_questions_and_pairs_are_for_their_tasks(refused_predict, models):
    classifier = models / "sequence_classification"
    message = r"^a request with question, context: this model answers \{text\} or \{text, text_pai"
    refused_predict(classifier, "a", "--question", "what ?", message=message)
    message = r"^a request with text, text_pair: this model answers \{question, context\}$"
    refused_predict(models / "question_answering", "a", "--text-pair", "b", message=message)
    message = r"^a request with text: this model answers \{question, context\}$"
    refused_predict(models / "question_answering", "a", message=message)
    message = r"^--question and --text-pair: give one of them"
    refused_predict(classifier, "a", "--question", "b", "--text-pair", "c", message=message)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"texts": "a"}', r"^a request with texts: this model answers \{text\} or"),
        ("{}", r"^a request with nothing: this model answers"),
        ('{"text": "a", "more": "b"}', r"^a request with text, more: this model answers"),
        ('fine\n{"text": 5}', r"^standard input, line 2: the values of a request must be texts$"),
        ('{"text": null}', r"^standard input, line 1: the values"),
        ('{"text": ["a"]}', r"^standard input, line 1: the values"),
        ('one\n\n\n{"text": {"a": "b"}}', r"^standard input, line 4: the values"),
    ],
)
def test_lines_that_are_no_requests(refused_predict, models, monkeypatch, lines, message):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    refused_predict(models / "sequence_classification", message=message)


@pytest.mark.parametrize(
    "line",
    [b'{"text": "half a pair \\ud83d"}', b'{"text": ' + b"1" * 5000 + b"}", b'{"a":' * 20_000],
    ids=["surrogate", "long number", "deep"],
)
def test_lines_that_python_cannot_take_are_answered_or_refused(models, monkeypatch, capsys, line):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(line)))
    code = run("predict", "--model", models / "sequence_classification")
    printed = capsys.readouterr()
    assert code in (0, 2)
    assert len(printed.err.splitlines()) == (code == 2)
    assert len(printed.out.splitlines()) == (code == 0)


def test_an_argument_that_is_not_utf8(models, capsys):
    """As Python gives it to a program: with surrogates in place of the bytes."""
    words = ("predict", "--model", models / "sequence_classification", "caf\udce9")
    assert run(*words) in (0, 2)
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) + len(printed.out.splitlines()) == 1


def test_numbers_that_are_none_are_not_printed_as_json(models, place, capsys):
    """NaN is no JSON; a model that gives it has diverged."""
    model = task_model("sequence_classification")
    model.trainable_variables[0].assign(np.full_like(model.trainable_variables[0], np.nan))
    save_model(model, place / "diverged")
    code = run("predict", "--model", "diverged", "a")
    printed = capsys.readouterr()
    assert "NaN" not in printed.out
    assert code == 0 or len(printed.err.splitlines()) == 1
