"""Where a model comes from: written by its run, carried into the cards of its exports."""

import json
import platform
import shutil

import pytest
import tensorflow as tf
import yaml

from support import tiny
from support.task_model import task_model
from tf_distilbert.cli.main import main
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.folder import (
    load_model,
    load_task_model,
    load_tokenizer,
    save_model,
    weights_digest,
    written_task,
)
from tf_distilbert.model_files.provenance import read_provenance, write_provenance
from tf_distilbert.runs.logs import read_log
from tf_distilbert.version import __version__


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A distillation of a few steps in ``run``, with its configuration and text beside it."""
    folder = tmp_path_factory.mktemp("provenance")
    save_model(tiny.model(num_layers=2), folder / "teacher")
    text = tiny.write_text(folder / "text.txt", documents=12)
    values = {
        "teacher": str(folder / "teacher"),
        "output": str(folder / "run"),
        "data": {"text": [str(text)], "validation": [str(text)], "sequence_length": 32},
        "train": {
            "steps": 2,
            "global_batch_size": 4,
            "precision": "float32",
            "jit_compile": False,
            "validate_every": 1,
            "log_every": 1,
            "checkpoint_every": 2,
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    assert run("distill", folder / "config.yaml", "loss.temperature=3") == 0
    return folder


@pytest.fixture
def model(folder, tmp_path):
    """A copy of the run's model, under a run's folder of its own, to be changed."""
    return shutil.copytree(folder / "run" / "model", tmp_path / "mini" / "model")


def exported_card(model, output, format_name="onnx"):
    """Export, and give the card's fields and the rest of it."""
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    assert run("export", "--model", model, "--format", format_name, "--output", output) == 0
    empty, fields, text = (output / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(fields), text


def test_a_run_says_what_it_was_made_of(folder):
    found = read_provenance(folder / "run" / "model")
    assert found["made_by"] == f"tf_distilbert {__version__} distill"
    assert found["versions"]["python"] == platform.python_version()
    assert found["versions"]["tensorflow"] == tf.__version__
    assert found["teacher"] == str(folder / "teacher")
    assert found["text"] == [str(folder / "text.txt")]
    # The whole configuration, with what the command line changed and what nobody wrote.
    assert found["settings"]["loss"]["temperature"] == 3.0
    assert found["settings"]["train"]["steps"] == 2
    assert found["settings"]["loss"]["distillation_weight"] == 5.0


def test_its_figures_are_those_of_the_last_validation(folder):
    validation = read_provenance(folder / "run" / "model")["validation"]
    lines = (folder / "run" / "log.jsonl").read_text().splitlines()
    last = [line for line in map(json.loads, lines) if line.get("kind") == "validation"]
    reports = read_log(folder / "run", "validation")
    assert [report["step"] for report in reports] == [0, 1, 2]
    own = {name for name, value in reports[-1].items() if isinstance(value, float)} - {"time"}
    assert own >= {"loss", "mlm_loss", "mlm_accuracy"}
    assert {name: validation[name] for name in own} == {name: reports[-1][name] for name in own}
    assert not last or last[-1]["loss"] == validation["loss"]


def test_the_model_is_opened_as_ever(folder):
    path = folder / "run" / "model"
    assert load_model(path).architecture.family == "distilbert"
    assert load_task_model(path).task == "masked_lm"
    assert {p.name for p in path.iterdir()} >= {"config.json", "provenance.json", "vocab.txt"}
    assert not list(path.glob("*.partial"))


def test_a_resumed_run_that_is_complete_keeps_its_figures(folder):
    before = read_provenance(folder / "run" / "model")["validation"]
    assert run("distill", folder / "config.yaml", "loss.temperature=3", "--resume") == 0
    after = read_provenance(folder / "run" / "model")["validation"]
    assert (after["loss"], after["mlm_loss"]) == (before["loss"], before["mlm_loss"])


def test_settings_of_any_kind_can_be_written(tmp_path):
    settings = {"data": {"text": ["größe.txt"]}, "output": tmp_path}
    write_provenance(tmp_path, "pretrain", settings, None)
    found = read_provenance(tmp_path)
    assert found["made_by"].endswith(" pretrain")
    assert (found["teacher"], found["text"], found["validation"]) == (None, ["größe.txt"], {})
    assert found["settings"]["output"] == str(tmp_path)
    assert read_provenance(tmp_path / "elsewhere") == {}


# Cards


def test_the_card_of_an_export_says_it_all(folder, tmp_path):
    fields, text = exported_card(folder / "run" / "model", tmp_path / "out")
    assert fields["license"] == "unknown"  # nobody said one
    assert fields["base_model"] == str(folder / "teacher")
    assert fields["library_name"] == "tf_distilbert"
    assert fields["tags"] == ["distilbert", "masked_lm", "onnx"]
    found = read_provenance(folder / "run" / "model")
    assert f"| distilled from | {folder / 'teacher'} |" in text
    assert f"| text | {folder / 'text.txt'} |" in text
    assert f"| made by | tf_distilbert {__version__} distill |" in text
    quality = text.split("## Measured quality")[1].split("## ")[0]
    for name in ("loss", "mlm_loss", "mlm_accuracy"):
        assert f"| {name} | {found['validation'][name]:.4g} |" in quality
    assert "| time |" not in quality and "| step |" not in quality
    assert f"tf-distilbert predict --model {tmp_path / 'out'}" in text
    assert "[MASK]" in text.split("## How to call it")[1]


def test_a_model_from_elsewhere_is_said_to_be_unknown(tmp_path):
    save_model(task_model("sequence_classification"), tmp_path / "films")
    fields, text = exported_card(tmp_path / "films", tmp_path / "out")
    assert fields["license"] == "unknown" and "base_model" not in fields
    assert "Exported from `films`, which does not say how it was trained" in text
    assert "None is known of it." in text
    assert "| labels | bad, so so, good |" in text
    assert "# films, exported as onnx" in text


INHERITED = {
    "license": "other",
    "license_name": "mine",
    "license_link": "LICENSE",
    "language": ["en", "de"],
    "datasets": ["sst2"],
    "base_model": "someone/their-model",
}


def test_fields_of_the_source_s_card_are_carried_over(model, tmp_path):
    card = f"---\n{yaml.safe_dump(INHERITED | {'tags': ['x'], 'model-index': []})}---\n# Mine\n"
    (model / "README.md").write_text(card)
    fields, text = exported_card(model, tmp_path / "out")
    # What it says itself goes before what the run knows.
    assert {name: fields[name] for name in INHERITED} == INHERITED
    assert next(iter(fields)) == "license"
    assert fields["tags"] == ["distilbert", "masked_lm", "onnx"] and "model-index" not in fields
    assert "# Mine" not in text


@pytest.mark.parametrize(
    ("card", "license_name"),
    [
        (b"---\r\nlicense: mit\r\n---\r\nText.\r\n", "mit"),
        (b"---\nlicense: mit\n---", "mit"),  # the fields are all there is
        (b"\xef\xbb\xbf---\nlicense: mit\n---\nText.\n", "mit"),
        (b"# No fields\n\n---\nlicense: mit\n---\n", "unknown"),
        (b"---\nlicense: [\n---\n", "unknown"),
        (b"---\n- license\n---\n", "unknown"),
        (b"\xff\xfe", "unknown"),
        (b"", "unknown"),
    ],
    ids=["CRLF", "no end", "BOM", "below", "no YAML", "list", "no UTF-8", "empty"],
)
def test_a_card_in_any_form_is_read_or_passed_over(card, license_name, tmp_path):
    from tf_distilbert.exports.model_card import _fields_of

    (tmp_path / "README.md").write_bytes(card)
    assert _fields_of(tmp_path / "README.md").get("license", "unknown") == license_name


# Broken files


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
def test_a_broken_file_is_one_line_and_no_export(content, model, tmp_path, capsys):
    (model / "provenance.json").write_bytes(content)
    words = ("--model", model, "--format", "keras_nlp", "--output", tmp_path / "out")
    capsys.readouterr()
    assert run("export", *words) == 2
    line = capsys.readouterr().err.splitlines()[-1]  # what it was doing comes before
    assert line.startswith(f"tf-distilbert: {model / 'provenance.json'}: ")
    assert {path.name for path in tmp_path.iterdir()} == {"mini"}
    # The model itself is as good as before.
    assert run("fill-mask", "--model", model, "paris is the [MASK] .") == 0


@pytest.mark.parametrize(
    "content",
    [
        {"teacher": 5, "text": "one.txt", "validation": {"loss": 1.5, "mlm_loss": "low"}},
        {"text": 5},
        {"validation": [1.5]},
        {"teacher": None, "text": None, "validation": None, "made_by": None},
    ],
    ids=["other kinds", "a number for texts", "a list for figures", "nothing"],
)
def test_other_content_ends_in_a_card_or_in_one_line(content, model, tmp_path, capsys):
    """Someone wrote it by hand."""
    pytest.importorskip("tf2onnx")
    (model / "provenance.json").write_text(json.dumps(content))
    capsys.readouterr()
    code = run("export", "--model", model, "--format", "onnx", "--output", tmp_path / "out")
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("tf-distilbert: ")]
    assert code in (0, 2) and len(errors) == (code == 2), errors
    if code == 2:
        assert "provenance.json" in errors[0] and not (tmp_path / "out").exists()
        return
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| text | one.txt |" in card or content.get("text") != "one.txt"


def test_a_run_directory_stands_for_its_model(folder, tmp_path, capsys):
    """Wherever a model is asked for: read, predict, export, begin with, teach."""
    made, model = folder / "run", folder / "run" / "model"
    assert read_provenance(made) == read_provenance(model) != {}
    assert weights_digest(made) == weights_digest(model)
    assert written_task(made) == "masked_lm"
    assert load_tokenizer(made).sha256 == load_tokenizer(model).sha256
    for verb in ("fill-mask", "predict"):
        printed = []
        for path in (made, model):
            assert run(verb, "--model", path, "paris is the [MASK] of france") == 0
            printed.append(capsys.readouterr().out)
        assert printed[0] == printed[1] != ""
    assert run("export", "--model", made, "--format", "saved_model", "--output", tmp_path) == 0
    assert read_provenance(made)["made_by"] in (tmp_path / "run/1/README.md").read_text()


def test_a_run_without_a_model_is_no_model(folder, tmp_path):
    (tmp_path / "run").mkdir()
    shutil.copy(folder / "run" / "config.yaml", tmp_path / "run")
    with pytest.raises(UserError, match=r"run: is a run that has no model yet; let it end, with"):
        load_model(tmp_path / "run")
