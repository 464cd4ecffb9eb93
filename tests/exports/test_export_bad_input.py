"""`export` on bad input: exit code 2, one line that names it, nothing written."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from support import tiny
from support.commands import run
from support.exports import save_models
from tf_distilbert.errors import UserError
from tf_distilbert.exports.exporter import export


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return save_models(
        tmp_path_factory.mktemp("models"),
        *("masked_lm", "sequence_classification", "question_answering", "encoder"),
    )


@pytest.fixture
def refused_export(refused_here, models):
    """The same of `export` of a model; by default to the folder out.

    What it is doing (loading, writing) may stand before the line.
    """

    def check(*options, message, task="masked_lm", format_name="onnx"):
        words = ("export", "--model", models / task, "--format", format_name)
        output = () if "--output" in options else ("--output", "out")
        return refused_here(*words, *output, *options, message=message, after_start=True)

    return check


# Models


@pytest.mark.parametrize(
    ("task", "asked", "message"),
    [
        (
            "masked_lm",
            "question_answering",
            r"masked_lm: its head is for masked_lm, not for question_answering; leave out --task",
        ),
        ("encoder", "masked_lm", r"encoder: has no masked-LM head"),
        ("masked_lm", "summary", r"task 'summary': use one of masked_lm, .*encoder$"),
    ],
)
def test_a_head_that_is_not_there(refused_export, task, asked, message):
    for format_name in ("saved_model", "onnx"):
        options = ("--task", asked)
        refused_export(*options, task=task, format_name=format_name, message=message)


def test_models_that_are_none(refused_here, models, place):
    words = ("export", "--format", "onnx", "--output", "out", "--model")
    (place / "empty").mkdir()
    for name, message in (
        ("none", r"^none: no such model folder; give its path, or hf://"),
        (models / "encoder" / "config.json", r"config\.json: is no folder; give"),
        ("empty", r"^empty.*; "),
    ):
        refused_here(*words, name, message=message, after_start=True)


def test_a_vocabulary_that_does_not_fit(refused_here, models, place):
    folder = shutil.copytree(models / "sequence_classification", place / "broken")
    (folder / "vocab.txt").write_text("\n".join([*tiny.VOCABULARY, "more"]))
    number = len(tiny.VOCABULARY)
    message = rf"broken: its vocabulary has {number + 1} tokens, its config.* vocab_size {number};"
    words = ("export", "--model", "broken", "--format", "saved_model")
    refused_here(*words, message=message, after_start=True)
    refused_here("predict", "--model", "broken", "a", message=message)


def test_a_config_that_names_no_head(refused_here, models, place):
    folder = shutil.copytree(models / "encoder", place / "mine")
    config = json.loads((folder / "config.json").read_text())
    del config["architectures"]
    (folder / "config.json").write_text(json.dumps(config))
    message = r"does not say which head the model has .*--task: masked_lm, "
    words = ("export", "--model", "mine", "--format", "onnx", "--output", "out")
    refused_here(*words, message=message, after_start=True)
    refused_here("predict", "--model", "mine", "a", message=message)


def test_keras_nlp_takes_masked_language_models_alone(refused_export):
    message = r"keras_nlp takes masked language models; this is for sequence_classification"
    refused_export(task="sequence_classification", format_name="keras_nlp", message=message)


# Options


def test_formats_and_precisions(refused_export):
    formats = "saved_model, litert, onnx, openvino, keras_nlp"
    refused_export(format_name="tflite", message=rf"^--format 'tflite': use one of {formats}$")
    for format_name, precision, known in (
        ("saved_model", "int8", "float32, bfloat16"),
        ("litert", "bfloat16", "float32, float16, int8, full_int8"),
        ("onnx", "float16", "float32, int8"),
        ("openvino", "int8", "float32"),
        ("keras_nlp", "half", "float32"),
    ):
        message = rf"^--precision {precision}: {format_name} can be {known}$"
        refused_export("--precision", precision, format_name=format_name, message=message)


def test_versions(refused_export):
    for version in (0, -1):
        message = rf"^--version is {version}; servers know whole numbers from 1 on$"
        refused_export("--version", version, format_name="saved_model", message=message)


@pytest.mark.parametrize("number", [0, -2])
def test_batching_of_nothing(refused_export, number):
    message = rf"^--batching {number}: 4 or more, with --format saved_model$"
    refused_export(f"--batching={number}", format_name="saved_model", message=message)


def test_batching_is_for_the_server(refused_export):
    message = r"^--batching 32: 4 or more, with --format saved_model$"
    refused_export("--batching", message=message)


def test_long_texts(refused_export):
    for format_name in ("saved_model", "onnx"):
        message = r"^--long-texts 'split': use one of cut, window$"
        refused_export("--long-texts", "split", format_name=format_name, message=message)


def test_top_k(refused_export):
    for number in (0, -1, len(tiny.VOCABULARY) + 1):
        message = rf"^--top-k is {number}; the vocabulary has {len(tiny.VOCABULARY)} tokens$"
        refused_export("--top-k", number, format_name="saved_model", message=message)


@pytest.mark.parametrize("format_name", ["saved_model", "litert", "onnx"])
@pytest.mark.parametrize("length", [2, 0, 33])
def test_lengths(refused_export, format_name, length):
    message = rf"^--max-length is {length}; the model takes \d to 32$"
    refused_export("--max-length", length, format_name=format_name, message=message)


@pytest.mark.parametrize("length", [3, 4])
def test_a_length_that_leaves_no_room_for_a_pair(models, place, capsys, length):
    """Question and context, and a separator between them: it works, or a line says why not."""
    pytest.importorskip("tf2onnx")
    words = ("export", "--model", models / "question_answering", "--format", "onnx")
    code = run(*words, "--output", "out", "--max-length", length)
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("tf-distilbert: ")]
    assert code in (0, 2) and len(errors) == (code == 2), errors
    assert (place / "out").exists() == (code == 0)


def test_calibration(refused_export, place):
    options = ("--precision", "full_int8")
    message = r"^--calibration: full_int8 needs text"
    refused_export(*options, format_name="litert", message=message)
    (place / "empty.txt").touch()
    for name, message in (
        ("none.txt", r"^none\.txt: no such file; check the path$"),
        ("empty.txt", r"empty\.txt: no text at all; check the sources$"),
        (".", r"^\.: is a folder; name its files"),
    ):
        given = ("--calibration", name)
        refused_export(*options, *given, format_name="litert", message=message)
    message = r"^--calibration goes with --precision full_int8, not int8$"
    given = ("--precision", "int8", "--calibration", "empty.txt")
    refused_export(*given, format_name="litert", message=message)


@pytest.mark.parametrize("name", ["a/b", ".."])
def test_names_that_are_none(refused_export, place, name):
    """A name is one folder in the output, and a part of a server's addresses."""
    options = {"task": "encoder", "format_name": "saved_model"}
    refused_export("--name", name, message=r"^--name", **options)
    assert os.listdir(place.parent) == ["place"]


# Outputs


def test_an_output_must_be_given(refused_here, models):
    for format_name in ("litert", "onnx", "openvino", "keras_nlp"):
        message = rf"^--format {format_name} needs --output: a new folder$"
        words = ("--model", models / "masked_lm", "--format", format_name)
        refused_here("export", *words, message=message)


def test_outputs_that_are_there(refused_export, place):
    (place / "out").mkdir()
    (place / "out" / "mine").write_text("mine")
    (place / "file").write_text("mine")
    for output in ("out", "file"):
        message = rf"^{output}: exists already; choose another --output"
        refused_export("--output", output, message=message)
    (place / "encoder" / "1" / "mine").mkdir(parents=True)
    options = {"task": "encoder", "format_name": "saved_model"}
    message = r"^encoder/1: exists already; choose another --output or --version$"
    refused_export("--output", ".", message=message, **options)


@pytest.mark.parametrize(
    ("path", "name"), [(".", "films"), ("../films", "films"), ("../a@2", "a@2")]
)
def test_the_default_name_is_the_folders(refused_here, models, place, monkeypatch, path, name):
    """Seen without an export: the place that the name leads to is taken."""
    shutil.copytree(models / "encoder", place / name)
    (place / "out" / name / "1" / "mine").mkdir(parents=True)
    monkeypatch.chdir(place / name)
    words = ("export", "--model", path, "--format", "saved_model", "--output", "../out")
    message = rf"^\.\./out/{name}/1: exists already"
    refused_here(*words, message=message, after_start=True)


def test_an_output_without_a_name(models):
    with pytest.raises(UserError, match=r"^--output is empty; give a new folder$"):
        export(models / "encoder", "saved_model", "")
    with pytest.raises(UserError, match=r"^--name '': letters, digits"):
        export(models / "encoder", "saved_model", name="")


@pytest.mark.parametrize("format_name", ["saved_model", "onnx"])
def test_outputs_under_a_file(refused_export, place, format_name):
    """Root may write anywhere, but not below a file."""
    (place / "file").write_text("mine")
    for output in ("file/out", "file/deep/out"):
        message = r"^file/.*: cannot be written \((Not a directory|File exists)\); make room"
        refused_export("--output", output, format_name=format_name, message=message)
    assert (place / "file").read_text() == "mine"


@pytest.mark.parametrize("format_name", ["saved_model", "litert"])
def test_a_disk_that_is_full(refused_export, monkeypatch, format_name):
    if format_name == "litert":
        pytest.importorskip("ai_edge_litert")

    def no_space(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tf_distilbert.exports.exporter.model_card", no_space)
    message = r"out.*: cannot be written \(No space left on device\); make room"
    refused_export(task="encoder", format_name=format_name, message=message)


# Packages

MISSING = """
import contextlib, io, json, sys
for name in ("ai_edge_litert", "tf2onnx", "onnx", "onnxruntime", "openvino", "tensorflow_serving"):
    sys.modules[name] = None
from tf_distilbert.cli.main import main
results = {}
for name in ("litert", "onnx", "openvino", "saved_model"):
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            words = ["--model", sys.argv[1], "--format", name, "--output", f"out-{name}"]
            code = main(["export", *words])
    except BaseException as error:
        code = repr(error)
    results[name] = code, errors.getvalue()
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def without_packages(models, tmp_path_factory):
    """What `export` says in a process where no optional package can be imported."""
    folder = tmp_path_factory.mktemp("missing")
    command = [sys.executable, "-c", MISSING, str(models / "encoder")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("format_name", "package"),
    [("litert", "ai_edge_litert"), ("onnx", "(tf2)?onnx"), ("openvino", "openvino|(tf2)?onnx")],
)
def test_a_missing_package_is_named_with_its_extra(without_packages, format_name, package):
    folder, results = without_packages
    code, errors = results[format_name]
    assert code == 2, code
    line = errors.splitlines()[-1]
    extra = rf"is not installed; run `pip install 'tf_distilbert\[{format_name}\]'`$"
    assert re.search(rf"^tf-distilbert: ({package})\S*: {extra}", line), line
    assert not (folder / f"out-{format_name}").exists()


def test_a_saved_model_needs_no_optional_package(without_packages):
    folder, results = without_packages
    code, errors = results["saved_model"]
    assert code == 0 and "tf-distilbert: " not in errors
    assert (folder / "out-saved_model" / "encoder" / "1" / "saved_model.pb").is_file()
