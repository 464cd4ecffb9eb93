"""Exports: what is written and where, in which numbers; with which card.

That a server can load a SavedModel is `test_serving_proof.py`'s to show.
"""

import json
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import tensorflow as tf

import tf_distilbert
from support import tiny
from support.commands import run, tree
from support.exports import CASES, LONG, TASKS, call, exported_below, names_in, need
from support.task_model import LABELS, task_model
from tf_distilbert.errors import UserError
from tf_distilbert.exports.exporter import export
from tf_distilbert.exports.prediction import Predictor
from tf_distilbert.exports.saved_model import SavedModelSession
from tf_distilbert.model_files.folder import save_model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    # One place for all test files: each export is made once.
    return partial(exported_below, tmp_path_factory.getbasetemp() / "exports")


TOKENIZER = {"vocab.txt", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.json"}
FILES = {
    "litert": {"README.md", "metadata.json", "model.tflite", "example.py"},
    "onnx": {"README.md", "metadata.json", "model.onnx"},
    "openvino": {"README.md", "metadata.json", "model.xml", "model.bin"},
}


@pytest.mark.parametrize(("task", "format_name"), CASES)
def test_each_format_writes_its_files_and_no_others(exported, task, format_name):
    _, folder = exported(task, format_name)
    assert not [name for name in tree(folder.parent) if name.endswith((".partial", ".old"))]
    if format_name == "saved_model":
        extra = {"fingerprint.pb"}  # of newer TensorFlow
        wanted = {"saved_model.pb", "variables", "assets", "assets.extra", "README.md"}
        assert names_in(folder) - extra == wanted
        assert names_in(folder / "assets.extra") == {"tf_serving_warmup_requests"}
        assert (folder / "assets.extra" / "tf_serving_warmup_requests").stat().st_size > 0
        assert {"metadata.json", "vocab.txt"} <= names_in(folder / "assets")
        assert names_in(folder.parent) == {"1"}
    elif format_name == "keras_nlp":
        assert {"README.md", "config.json", "model.weights.h5", "task.json"} <= names_in(folder)
    else:
        assert FILES[format_name] <= names_in(folder) <= FILES[format_name] | TOKENIZER


@pytest.mark.parametrize(("task", "format_name"), CASES)
def test_metadata_says_what_the_file_does_not(exported, task, format_name):
    _, folder = exported(task, format_name)
    if format_name == "keras_nlp":
        assert not (folder / "metadata.json").exists() or is_keras_nlps(folder)
        return
    inner = folder / "assets" if format_name == "saved_model" else folder
    facts = json.loads((inner / "metadata.json").read_text())
    inputs = ["token_ids", "padding_mask", *(["mask_positions"] if task == "masked_lm" else [])]
    classes = ("sequence_classification", "token_classification")
    wanted = {
        "made_by": f"tf_distilbert {tf_distilbert.__version__}",
        "format": format_name,
        "precision": "float32",
        "task": task,
        "family": "distilbert",
        "max_length": 32,
        "segments": False,
        "labels": list(LABELS) if task in classes else [],
        "problem": "single_label" if task == "sequence_classification" else "",
        "inputs": inputs,
        "output": {"encoder": "last_hidden_state", "embedding": "embedding"}.get(task, "logits"),
        "vocabulary": ["vocab.txt"],
    }
    assert {name: facts[name] for name in wanted} == wanted
    if format_name != "saved_model":
        assert (folder / facts["file"]).is_file()
        shape = [1, 32] if format_name == "litert" else [None, None]
        assert facts["input_shapes"]["token_ids"] == shape


def is_keras_nlps(folder):
    return "keras_version" in json.loads((folder / "metadata.json").read_text())


@pytest.mark.parametrize("task", TASKS)
def test_a_saved_model_has_a_signature_for_texts_and_one_for_ids(exported, task):
    _, folder = exported(task)
    session = SavedModelSession(folder)
    texts = {"serving_default": ("text",)}
    if task == "sequence_classification":
        texts["text_pair"] = ("text", "text_pair")
    if task == "question_answering":
        texts = {"serving_default": ("context", "question")}
    found = {name: tuple(sorted(inputs)) for name, inputs in session.inputs.items()}
    ids = {"token_ids", "padding_mask"} | ({"mask_positions"} if task == "masked_lm" else set())
    assert found == {**texts, "token_ids": tuple(sorted(ids))}


def test_a_robertas_saved_model_takes_ids_under_both_names(exported):
    """Its tokenizer cannot go into a graph."""
    _, folder = exported("sequence_classification", family="roberta")
    session = SavedModelSession(folder)
    assert set(session.inputs) == {"serving_default", "token_ids"}
    ids = {"token_ids": [[0, 9, 8, 2]], "padding_mask": [[1, 1, 1, 1]]}
    inputs = {name: np.array(values, "int32") for name, values in ids.items()}
    assert set(session.inputs["token_ids"]) == set(inputs)
    first, second = (session(inputs, name)["logits"] for name in session.inputs)
    np.testing.assert_array_equal(first, second)
    assert names_in(folder / "assets") >= {"vocab.json", "merges.txt", "metadata.json"}


@pytest.mark.slow
def test_a_berts_export_takes_segments(exported):
    _, folder = exported("question_answering", "onnx", "bert")
    facts = json.loads((folder / "metadata.json").read_text())
    assert facts["inputs"] == ["token_ids", "padding_mask", "segment_ids"]
    assert facts["segments"] is True


# Names and versions


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """A bare encoder, which is exported fastest."""
    folder = tmp_path_factory.mktemp("models") / "vectors"
    save_model(task_model("encoder"), folder)
    return folder


def test_versions_lie_side_by_side_and_are_never_overwritten(
    vectors, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    words = ("--model", vectors, "--format", "saved_model")
    call(*words)  # into saved_models/ and under the folder's name, for none was given
    first = tmp_path / "saved_models" / "vectors" / "1"
    out, progress = capsys.readouterr()
    assert progress.startswith(f"loading {vectors}\nwriting saved_model in float32\n")
    assert out.startswith("saved_models/vectors/1: ") and out.count("\n") == 1 and " MB, " in out
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    assert run("export", *words) == 2
    error = capsys.readouterr().err
    assert "saved_models/vectors/1: exists already" in error and "--version" in error
    call(*words, "--version", 12, "--batching")
    assert names_in(first.parent) == {"1", "12", "batching_parameters.txt"}
    assert {path: path.read_bytes() for path in before} == before
    assert tree(first / "assets") == tree(first.parent / "12" / "assets")
    check_batching(first.parent / "batching_parameters.txt", 32)


def check_batching(path, size):
    """Parse it; the server's own message is in no package."""
    scalar = r"(\w+) *\{ *value: *(\d+) *\}|(\w+): *(true|false)"
    fields = {}
    for line in path.read_text().splitlines():
        matched = re.fullmatch(scalar, line.strip())
        assert matched, line
        name, value = (part for part in matched.groups() if part)
        fields[name] = json.loads(value)
    timeout = fields.pop("batch_timeout_micros")
    assert fields == {"max_batch_size": size}
    assert 0 < timeout <= 100_000


def test_an_export_into_an_empty_folder_that_is_there(vectors, tmp_path):
    need("onnx")
    (tmp_path / "out").mkdir()
    folder, found = export(vectors, "onnx", tmp_path / "out")
    assert folder == tmp_path / "out" and names_in(tmp_path) == {"out"}
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert 0 < found.size < size  # the card comes after
    assert found.largest_difference < 1e-4 * found.largest_output
    assert found.milliseconds > 0
    assert found.agreement.share == pytest.approx(1, abs=1e-6) and found.agreement.count > 64


def test_a_model_that_is_in_no_folder(tmp_path):
    need("onnx")
    model = task_model("sequence_classification")
    with pytest.raises(UserError, match=r"^--name: give the name under which a server"):
        export(model, "saved_model", tmp_path)
    folder, _ = export(model, "onnx", tmp_path / "out")
    assert "Exported from `SequenceClassifier`, which" in (folder / "README.md").read_text()
    [answer] = Predictor(folder).predict(ask("paris is a city ."))
    ids = tf.constant([model.tokenizer.encode("paris is a city .")])
    logits = model({"token_ids": ids, "padding_mask": tf.ones_like(ids)})
    np.testing.assert_allclose(answer["probabilities"], tf.nn.softmax(logits)[0], atol=1e-5)
    model.tokenizer = None
    with pytest.raises(UserError, match="the model has no tokenizer"):
        export(model, "onnx", tmp_path / "without")
    assert names_in(tmp_path) == {"out"}


def test_the_public_name_stays_a_function():
    """A folder of the package has the same name, and importing what is in it may not hide it."""
    assert callable(tf_distilbert.export)
    assert callable(tf_distilbert.export)  # the first time is another way than the second


# Numbers


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A model large enough for quantization: the converter leaves small weights as they are."""
    folder = tmp_path_factory.mktemp("wide") / "wide"
    sizes = {"hidden_size": 64, "intermediate_size": 256, "num_layers": 1}
    save_model(tiny.model(family="distilbert", num_segments=0, **sizes), folder)
    return folder


def test_a_bfloat16_saved_model_holds_bfloat16(wide, tmp_path):
    words = ("--model", wide, "--format", "saved_model", "--precision", "bfloat16")
    call(*words, "--output", tmp_path, "--top-k", 2, "--max-length", 12)
    folder = tmp_path / "wide" / "1"
    variables = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    kinds = variables.get_variable_to_dtype_map()
    sizes = {n: np.prod(s) for n, s in variables.get_variable_to_shape_map().items() if len(s)}
    assert {kinds[name] for name, size in sizes.items() if size > 1000} == {tf.bfloat16}
    facts = json.loads((folder / "assets" / "metadata.json").read_text())
    assert (facts["precision"], facts["max_length"]) == ("bfloat16", 12)
    assert "| precision | bfloat16 |" in (folder / "README.md").read_text()
    [answer] = Predictor(folder).predict([{"text": "paris is the [MASK] of france ."}])
    assert np.shape(answer["scores"]) == (1, 2)  # --top-k
    [expected] = Predictor(wide).predict([{"text": "paris is the [MASK] of france ."}])
    np.testing.assert_allclose(answer["scores"][0], expected["scores"][0][:2], atol=0.1)
    # What is beyond --max-length is cut.
    [answer] = Predictor(folder).predict([{"text": "paris " * 20 + "[MASK]"}])
    assert answer["mask_positions"] == []


PRECISIONS = (
    *("litert-int8", "onnx-int8"),
    pytest.param("onnx-float32", marks=pytest.mark.slow),
    pytest.param("litert-float32", marks=pytest.mark.long),
    pytest.param("litert-float16", marks=pytest.mark.slow),
    pytest.param("litert-full_int8", marks=pytest.mark.slow),
)
# Of the size of the weights in float32.
SHARES = {"float32": (0.9, 1.5), "float16": (0.45, 0.75)}


@pytest.mark.parametrize("kind", PRECISIONS)
def test_fewer_bits_make_smaller_files(wide, tmp_path, kind):
    format_name, precision = kind.split("-")
    need(format_name)
    text = tiny.write_text(tmp_path / "text.txt")
    more = ("--calibration", text) if precision == "full_int8" else ()
    words = ("--model", wide, "--format", format_name, "--precision", precision)
    call(*words, "--output", tmp_path / "out", "--max-length", 16, *more)
    facts = json.loads((tmp_path / "out" / "metadata.json").read_text())
    assert (facts["precision"], facts["max_length"]) == (precision, 16)
    weights = (wide / "model.safetensors").stat().st_size
    least, most = SHARES.get(precision, (0.2, 0.5))
    assert least < (tmp_path / "out" / facts["file"]).stat().st_size / weights < most
    assert f"| precision | {precision} |" in (tmp_path / "out" / "README.md").read_text()


# Long texts

ENDS = (LONG, f"{LONG} berlin moon night german sea three")


def answers(folder):
    return [answer["probabilities"] for answer in Predictor(folder).predict(ask(*ENDS))]


def ask(*texts):
    return [{"text": text} for text in texts]


def test_the_end_of_a_long_text_is_cut_by_default(exported):
    _, folder = exported("sequence_classification")
    one, other = answers(folder)
    assert one == other
    assert "| longer texts | cut |" in (folder / "README.md").read_text()


def test_question_answering_reads_all_of_a_context_by_default(exported):
    _, folder = exported("question_answering")
    requests = [{"question": "the sea ?", "context": text} for text in ENDS]
    one, other = Predictor(folder).predict(requests)
    assert one["score"] != other["score"]
    assert "| longer texts | read in windows |" in (folder / "README.md").read_text()


@pytest.mark.slow
def test_windows_read_the_end_of_a_long_text(exported, tmp_path):
    model, _ = exported("sequence_classification")
    words = ("--model", model, "--format", "saved_model", "--output", tmp_path, "--name", "m")
    call(*words, "--long-texts", "window")
    one, other = answers(tmp_path / "m" / "1")
    assert one != other
    card = (tmp_path / "m" / "1" / "README.md").read_text()
    assert "| longer texts | read in windows |" in card


def test_what_the_card_says_of_long_texts_is_what_predict_does(exported, tmp_path):
    """Beside a SavedModel there is no graph that would keep it."""
    need("onnx")
    model, _ = exported("sequence_classification")
    words = ("--model", model, "--format", "onnx", "--output", tmp_path / "out")
    call(*words, "--long-texts", "window")
    in_windows = "read in windows" in (tmp_path / "out" / "README.md").read_text()
    one, other = answers(tmp_path / "out")
    assert (one != other) == in_windows


# Without this package


@pytest.mark.parametrize("task", TASKS)
def test_the_litert_example_runs_by_itself(exported, task):
    _, folder = exported(task, "litert")
    texts = {
        "masked_lm": ["Paris is the [MASK] of France."],
        "question_answering": ["the city ?", "paris is the capital of france ."],
    }.get(task, ["Paris is a large city."])
    # Isolated, in another folder: nothing of this package is to be found.
    command = [sys.executable, "-I", str(folder / "example.py"), *texts]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    names = ("question", "context") if task == "question_answering" else ("text",)
    [answer] = Predictor(folder).predict([dict(zip(names, texts, strict=True))])
    if task == "sequence_classification":
        assert done.stdout.startswith(f"{answer['label']} [")
    elif task == "masked_lm":
        place, best = answer["mask_positions"][0], answer["tokens"][0]
        assert done.stdout.strip() == f"{place} {best}"
    elif task == "token_classification":
        pairs = zip(answer["tokens"], answer["labels"], strict=True)
        lines = [f"{word} {label}" for word, label in pairs]
        assert done.stdout.splitlines()[1:-1] == lines and len(lines) == 6
    elif task == "question_answering":
        # The example takes the best start and the best end, and does not ask which is first.
        assert done.stdout.strip() and done.stdout.strip() in texts[1]
    elif task == "encoder":
        numbers = [float(n) for n in done.stdout.strip(" []\n").split()]
        np.testing.assert_allclose(numbers, answer["cls"], atol=1e-4)
