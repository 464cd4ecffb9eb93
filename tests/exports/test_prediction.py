"""`Predictor` and `predict`: the same answers from a model folder and from each of its exports."""

import io
import json
import shutil
from functools import cache, partial

import numpy as np
import pytest

from support import tiny
from support.commands import run
from support.exports import CASES, TASKS, call, exported_below
from support.task_model import LABELS, task_model
from tf_distilbert.exports.prediction import BATCH_SIZE, Predictor
from tf_distilbert.model_files.folder import save_model

TEXTS = (
    "Paris is the capital of [MASK] .",
    "",
    "the [MASK] and the [MASK] of Rome, an old city. [MASK]",
    "Pârïs — 中文 🙂",
    "people",
)


def requests_for(task):
    if task == "question_answering":
        return [{"question": "the city ?", "context": text} for text in TEXTS]
    requests = [{"text": text} for text in TEXTS]
    if task == "sequence_classification":
        requests += [{"text": text, "text_pair": "the sun ."} for text in TEXTS]
    return requests


@cache
def answers_of(model, task):
    return list(Predictor(model).predict(requests_for(task)))


def strict(line):
    """Read JSON as other languages do: Python's own takes NaN and Infinity, too."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(line, parse_constant=refuse)


def assert_equal_answers(found, expected, atol=1e-5):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            if np.asarray(value).dtype.kind == "f" and np.size(value):
                np.testing.assert_allclose(one[name], value, atol=atol, err_msg=name)
            else:
                assert one[name] == value, name


@pytest.fixture
def predict(capsys, monkeypatch):
    """Run ``predict``; give its lines of JSON."""

    def ask(model, *arguments, stdin=None):
        if stdin is not None:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        assert run("predict", "--model", model, *arguments) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        return [strict(line) for line in printed.out.splitlines()]

    return ask


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    # Where `exports` has them: each export is made once.
    return partial(exported_below, tmp_path_factory.getbasetemp() / "exports")


# Answers


@pytest.mark.parametrize(("task", "format_name"), CASES)
def test_an_export_answers_as_its_model_does(exported, task, format_name):
    model, folder = exported(task, format_name)
    requests = requests_for(task)
    expected = answers_of(model, task)
    found = list(Predictor(str(folder)).predict(requests))
    # keras-nlp's head computes slightly differently.
    assert_equal_answers(found, expected, atol=1e-3 if format_name == "keras_nlp" else 1e-5)
    strict(json.dumps(found))


@pytest.mark.parametrize(
    ("family", "format_name"),
    [
        ("roberta", "saved_model"),
        ("roberta", "onnx"),
        pytest.param("roberta", "litert", marks=pytest.mark.slow),
        pytest.param("bert", "saved_model", marks=pytest.mark.slow),
        pytest.param("bert", "litert", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("task", ["sequence_classification"])
def test_exports_of_other_families(exported, task, family, format_name):
    model, folder = exported(task, format_name, family)
    texts = ("the cat, the café", "", "a  cat\n中", "x")
    requests = [{"text": text} for text in texts]
    requests += [{"text": text, "text_pair": "the cat"} for text in texts]
    expected = list(Predictor(model).predict(requests))
    assert_equal_answers(list(Predictor(folder).predict(requests)), expected)
    # No answer is that of another text.
    assert len({str(answer["probabilities"]) for answer in expected}) == len(expected)


def test_a_robertas_masks_are_filled(exported, predict):
    model, folder = exported("masked_lm", "onnx", "roberta")
    [answer] = predict(folder, "the <mask>, the<mask>")
    assert_equal_answers([answer], predict(model, "the <mask>, the<mask>"))
    assert np.shape(answer["tokens"]) == (2, 5)


def test_answers_of_every_task(exported, predict):
    answers = {}
    for task in TASKS:
        model, _ = exported(task)
        options = ("--question", "the city ?") if task == "question_answering" else ()
        answers[task] = predict(model, *options, TEXTS[2], TEXTS[0])
    first, second = answers["masked_lm"]
    # Two texts of one batch: nothing of the longer one fills up the other.
    assert (len(first["tokens"]), len(second["tokens"])) == (3, 1)
    assert len(second["scores"]) == len(second["mask_positions"]) == 1
    assert second["mask_positions"] == [6] and "mask_count" not in second
    first, second = answers["token_classification"]
    assert set(second) == {"tokens", "start", "end", "labels", "scores"}
    assert {len(values) for values in second.values()} == {7} and len(first["labels"]) > 7
    pieces = zip(second["start"], second["end"], strict=True)
    words = [TEXTS[0][start:end] for start, end in pieces]
    assert words == TEXTS[0].split() and second["tokens"][0] == "paris"
    first, _ = answers["sequence_classification"]
    assert first["label"] == LABELS[int(np.argmax(first["probabilities"]))]
    assert abs(sum(first["probabilities"]) - 1) < 1e-5
    first, _ = answers["question_answering"]
    assert first["answer"] == TEXTS[2][first["start"] : first["end"]]
    assert isinstance(first["start"], int)
    assert (
        np.shape(answers["encoder"][0]["mean"]) == np.shape(answers["encoder"][0]["cls"]) == (16,)
    )


def test_a_regression_and_several_labels(tmp_path, predict):
    pytest.importorskip("tf2onnx")
    for problem in ("regression", "multi_label"):
        labels = ["score"] if problem == "regression" else LABELS
        model = task_model("sequence_classification", labels=labels, problem=problem)
        source = tmp_path / problem / "model"
        save_model(model, source)
        call("--model", source, "--format", "onnx", "--output", tmp_path / f"{problem}-onnx")
        [answer] = predict(tmp_path / f"{problem}-onnx", "paris")
        assert_equal_answers([answer], predict(source, "paris"))
        assert set(answer) == ({"value"} if problem == "regression" else {"label", "probabilities"})


def test_another_head_of_a_folder(exported, predict):
    model, _ = exported("masked_lm")
    [answer] = predict(model, "paris", "--task", "encoder")
    [[expected]] = [Predictor(model, task="encoder").predict([{"text": "paris"}])]
    assert_equal_answers([answer], [expected])
    assert set(answer) == {"cls", "mean"}


# Standard input


def test_lines_of_standard_input(exported, predict):
    """Plain and JSON, of both signatures, from Windows, with bytes that are no text."""
    model, _ = exported("sequence_classification")
    stdin = (
        b"paris is old\r\n"
        b"\r\n   \n"
        b'{"text": "paris is old"}\n'
        b'{"text_pair": "the sun", "text": "rome"}\r\n'
        b"{is not JSON\n"
        b"rome \xff\n"
        b'  {"text": "rome"}\n'
        b"paris is old"  # no line feed at the end
    )
    found = predict(model, stdin=stdin)
    predictor = Predictor(model)
    texts = ("paris is old", "paris is old", None, "{is not JSON", "rome \ufffd", "rome")
    requests = [{"text": text} for text in (*texts, "paris is old")]
    requests[2] = {"text": "rome", "text_pair": "the sun"}
    expected = [answer for request in requests for answer in predictor.predict([request])]
    assert_equal_answers(found, expected, atol=1e-6)
    assert_equal_answers(found[:1], found[1:2], atol=1e-6)


def test_empty_input_has_no_answers(exported, predict):
    model, _ = exported("encoder")
    assert predict(model, stdin=b"") == predict(model, stdin=b"\n\r\n") == []
    assert list(Predictor(model).predict([])) == []


def test_an_empty_argument_is_a_text(exported, predict):
    model, _ = exported("sequence_classification")
    assert len(predict(model, "")) == 1


def test_options_go_with_every_text(exported, predict):
    model, folder = exported("sequence_classification")
    contents = [{"text": text, "text_pair": "the moon"} for text in ("paris", "rome")]
    expected = list(Predictor(model).predict(contents))
    for found in (
        predict(folder, "--text-pair", "the moon", "paris", "rome"),
        predict(folder, "--text-pair", "the moon", stdin=b"paris\nrome\n"),
    ):
        assert_equal_answers(found, expected)
    model, folder = exported("question_answering")
    contents = [{"question": "the sun ?", "context": text} for text in ("paris is old", "rome")]
    expected = list(Predictor(model).predict(contents))
    lines = "\n".join(map(json.dumps, contents)).encode()
    assert_equal_answers(predict(folder, stdin=lines), expected)
    found = predict(folder, "--question", "the sun ?", stdin=b"paris is old\nrome\n")
    assert_equal_answers(found, expected)


def test_the_order_is_kept_beyond_a_batch(exported):
    """Also where neighbours have different signatures, and so are no batch."""
    model, folder = exported("sequence_classification")
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(tiny.WORDS[:30], 4)) for _ in range(2 * BATCH_SIZE + 3)]
    requests = [{"text": text} for text in texts]
    for place in (BATCH_SIZE + 1, BATCH_SIZE + 2, len(texts) - 1):
        requests[place] |= {"text_pair": "the sea"}
    found = list(Predictor(folder).predict(requests))
    predictor = Predictor(model)
    for place in (0, 1, BATCH_SIZE - 1, *range(BATCH_SIZE, BATCH_SIZE + 4), len(texts) - 1):
        assert_equal_answers([found[place]], list(predictor.predict([requests[place]])))
    assert len(found) == len(texts)


def test_text_of_other_scripts_is_printed_as_it_is(exported, capsys):
    model, _ = exported("question_answering")
    assert run("predict", "--model", model, "--question", "?", "中文 🙂 é") == 0
    assert "\\u" not in capsys.readouterr().out


# Versions


def test_the_newest_version_is_taken(exported, tmp_path, predict):
    """By number: 10 comes after 9. What is no version is passed over."""
    newest = {10: "encoder", 9: "sequence_classification"}
    for name in (*newest, "11.partial", "old"):
        _, folder = exported(newest.get(name, "sequence_classification"))
        shutil.copytree(folder, tmp_path / "m" / str(name))
    [found] = predict(tmp_path / "m", "paris")
    assert set(found) == {"cls", "mean"}
    [found] = predict(tmp_path / "m" / "9", "paris")
    assert set(found) == {"label", "probabilities"}


# Rows of a fixed shape


def test_many_masks_in_a_litert_file(exported, predict):
    """More than the file predicts at once."""
    model, folder = exported("masked_lm", "litert")
    text = "the [MASK] " * 11
    found = predict(folder, text)
    assert len(found[0]["tokens"]) == 11
    assert_equal_answers(found, predict(model, text))


def test_a_long_text_is_cut_where_the_file_ends(exported, tmp_path, predict):
    pytest.importorskip("ai_edge_litert")
    model, _ = exported("sequence_classification", "litert")
    words = ("--model", model, "--format", "litert", "--output", tmp_path / "out")
    call(*words, "--max-length", 8)
    # Six tokens beside the start and the end.
    [found] = predict(tmp_path / "out", "paris is the capital of france and rome")
    assert_equal_answers([found], predict(model, "paris is the capital of france"))
    assert json.loads((tmp_path / "out" / "metadata.json").read_text())["max_length"] == 8
