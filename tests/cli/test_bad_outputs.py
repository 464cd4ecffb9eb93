"""The command line on outputs that cannot be written: one line that says so, nothing half-made."""

import errno
import os
import re

import pytest
import yaml

from support.commands import left, run
from tf_distilbert.errors import explain_write_errors
from tf_distilbert.model_files import folder as model_folder
from tf_distilbert.runs import checkpoints, logs


def test_outputs_under_a_file(refused, config, text, teacher, tmp_path):
    """Root may write anywhere, but not below a file."""
    below = tmp_path / "file" / "out"
    below.parent.write_text("mine")
    vocabulary = ("--vocab", teacher / "vocab.txt", "--sequence-length", 16)
    message = r"file/out.* cannot be written \(Not a directory\); make room or choose another place"
    refused("prepare", "--text", text, *vocabulary, "--output", below, message=message)
    refused("distill", config, f"output={below}", message=message)
    message = r"file: no such folder; make it first$"
    refused("vocab", "--text", text, "--size", 90, "--output", below, message=message)
    assert below.parent.read_text() == "mine"
    assert left(tmp_path) == {"config.yaml", "file"}


def test_a_pretraining_under_a_file(refused, text, tmp_path):
    (tmp_path / "file").write_text("mine")
    values = {
        "output": str(tmp_path / "file" / "run"),
        "data": {"text": str(text), "vocabulary": 90, "sequence_length": 16},
        "train": {"steps": 1},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    message = r"file/run.*: cannot be written"
    refused("pretrain", tmp_path / "config.yaml", message=message)


def test_figures_that_cannot_be_written(refused, text, teacher, tmp_path):
    options = ("evaluate", "--model", teacher, "--text", text, "--sequence-length", 16, "--json")
    refused(
        *options, "/dev/full", message=r"/dev/full: cannot be written \(No space", after_start=True
    )
    refused(*options, tmp_path / "none" / "x.json", message=r"give a file in a folder that exists$")
    assert left(tmp_path) == set()


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_space_for_config(path, _):
    with explain_write_errors(path):
        no_space()


def test_a_disk_that_is_full_when_the_run_begins(refused, config, tmp_path, monkeypatch):
    monkeypatch.setattr("tf_distilbert.runs.directory.write_atomically", no_space_for_config)
    message = r"run/config\.yaml: cannot be written \(No space left on device\)"
    refused("distill", config, message=message, after_start=True)
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_disk_that_is_full_at_a_checkpoint(config, tmp_path, monkeypatch, capsys):
    save = checkpoints.save_file

    def save_once(tensors, path):
        if "step-00000004" in str(path):
            path.write_bytes(b"half")
            no_space()
        save(tensors, path)

    monkeypatch.setattr(checkpoints, "save_file", save_once)
    monkeypatch.setattr(model_folder, "save_file", no_space)
    # The run goes on with the old one kept, and fails where nothing is left to go on with.
    assert run("distill", config, "train.steps=6") == 2
    said = " ".join(capsys.readouterr().err.split())
    no_room = r"cannot be written \(No space left on device\)"
    assert re.search(rf"step 4: no checkpoint: \S*/step-00000004: {no_room}", said)
    assert re.search(rf"tf-distilbert: \S*/run/model: {no_room}", said)
    assert left(tmp_path / "run" / "checkpoints") == {"step-00000002", "step-00000006"}
    assert not (tmp_path / "run" / "model").exists()
    # With room again the run goes on from there.
    monkeypatch.undo()
    assert run("distill", config, "train.steps=6", "--resume") == 0
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


@pytest.mark.slow
def test_a_disk_that_is_full_at_the_log_for_a_while(config, tmp_path, monkeypatch, capsys):
    append, calls = logs._append, []

    def append_later(path, text):
        calls.append(text)
        if len(calls) < 3:
            no_space()
        append(path, text)

    monkeypatch.setattr(logs, "_append", append_later)
    assert run("distill", config, "train.log_every=1") == 0
    assert capsys.readouterr().err.count("log.jsonl: cannot be written (No space left") == 1
    assert [report["step"] for report in logs.read_log(tmp_path / "run", "train")] == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_disk_that_is_full_at_the_log_to_the_end(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(logs, "open", no_space, raising=False)
    assert run("distill", config, "train.log_every=1") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(r"log\.jsonl: 4 reports are lost, it cannot be written \(No space left", said)
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


def test_a_disk_that_is_full_at_the_model(refused, config, tmp_path, monkeypatch):
    monkeypatch.setattr(model_folder, "save_file", no_space)
    message = r"run/model: cannot be written \(No space left on device\)"
    refused("distill", config, "train.steps=2", message=message, after_start=True)
    assert {path.name for path in (tmp_path / "run").glob("model*")} == set()
    assert (tmp_path / "run" / "checkpoints" / "step-00000002").exists()
