"""An export that is wrong, stopped or killed leaves nothing behind."""

import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from support import tiny
from support.commands import run, tree
from support.exports import call, exported_below, names_in, need
from support.task_model import task_model
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    # One place for all test files: each export is made once.
    return partial(exported_below, tmp_path_factory.getbasetemp() / "exports")


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """A bare encoder, which is exported fastest."""
    folder = tmp_path_factory.mktemp("models") / "vectors"
    save_model(task_model("encoder"), folder)
    return folder


def with_other_weights(write):
    """Write what a model of other weights would be, as a broken converter might."""

    def wrapped(what, *arguments):
        variable = max(what.variables, key=lambda v: int(np.prod(v.shape)))
        kept = np.array(variable)
        variable.assign(kept * 1.5)
        try:
            return write(what, *arguments)
        finally:
            variable.assign(kept)

    return wrapped


WRITERS = {
    "saved_model": "tf_distilbert.exports.formats.write_saved_model",
    "litert": "tf_distilbert.exports.litert_file.convert_to_litert",
    "onnx": "tf_distilbert.exports.onnx_file.convert_to_onnx",
    "openvino": "tf_distilbert.exports.onnx_file.convert_to_onnx",
    "keras_nlp": "tf_distilbert.exports.keras_nlp.write_keras_nlp",
}


def replace_writer(monkeypatch, format_name, change):
    module, name = WRITERS[format_name].rsplit(".", 1)
    original = getattr(sys.modules[module], name)
    monkeypatch.setattr(WRITERS[format_name], change(original))


@pytest.mark.parametrize(
    "format_name",
    [
        "saved_model",
        "litert",
        "onnx",
        "keras_nlp",
        pytest.param("openvino", marks=pytest.mark.long),
    ],
)
def test_other_numbers_are_found_and_nothing_is_kept(
    exported, format_name, tmp_path, monkeypatch, capsys
):
    need(format_name)
    model, _ = exported("masked_lm" if format_name == "keras_nlp" else "encoder", format_name)
    replace_writer(monkeypatch, format_name, with_other_weights)
    words = ("--model", model, "--format", format_name, "--output", tmp_path / "out")
    capsys.readouterr()
    assert run("export", *words) == 2
    *progress, line = capsys.readouterr().err.splitlines()
    assert progress[1:] == [f"writing {format_name} in float32", "checking the answers"]
    assert line.startswith("tf-distilbert: the export: the raw outputs differ from the model's by")
    assert "nothing was kept of it" in line
    assert tree(tmp_path) == []


def test_other_tokens_in_the_graph_are_found(vectors, tmp_path, monkeypatch, capsys):
    """The numbers of rows of ids would be right."""

    def with_another_tokenizer(write):
        def wrapped(model, service, folder):
            cased = WordPieceTokenizer(tiny.VOCABULARY, lower_case=False)
            other = service.with_run(service.run)
            other.model = replace(service.model, tokenizer=cased)
            return write(model, other, folder)

        return wrapped

    replace_writer(monkeypatch, "saved_model", with_another_tokenizer)
    words = ("--model", vectors, "--format", "saved_model", "--output", tmp_path)
    assert run("export", *words) == 2
    assert "serving_default's" in capsys.readouterr().err
    assert tree(tmp_path) == []


@pytest.mark.parametrize("format_name", ["saved_model", "onnx"])
def test_an_interrupted_export_leaves_nothing(vectors, format_name, tmp_path, monkeypatch, capsys):
    need(format_name)

    def then_stop(write):
        def wrapped(*arguments):
            write(*arguments)
            raise KeyboardInterrupt

        return wrapped

    replace_writer(monkeypatch, format_name, then_stop)
    words = ("--model", vectors, "--format", format_name, "--output", tmp_path / "out")
    assert run("export", *words) == 130
    assert capsys.readouterr().err.endswith("\ntf-distilbert: stopped\n")
    assert tree(tmp_path) == []


def test_what_a_killed_export_left_is_no_obstacle(vectors, tmp_path):
    need("onnx")
    left = tmp_path / "out.partial"
    left.mkdir()
    (left / "junk").write_text("half")
    call("--model", vectors, "--format", "onnx", "--output", tmp_path / "out")
    assert names_in(tmp_path) == {"out"} and "junk" not in names_in(tmp_path / "out")
