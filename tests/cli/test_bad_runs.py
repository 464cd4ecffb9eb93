"""The command line on runs that cannot be begun, gone on with or finished."""

import re
import shutil

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from support.commands import cut, left, run
from tf_distilbert.runs import checkpoints, loop


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# Runs


def test_a_run_that_exists(refused, config, finished):
    before = contents(finished)
    again = ("distill", config, "train.steps=2")
    message = r"run: holds a run already; add --resume to go on with it, --overwrite to delete it"
    refused(*again, message=message)
    message = r"run: its run has loss\.temperature 2\.0, now it is 3\.0; resume with the same"
    refused(*again, "loss.temperature=3", "--resume", message=message)
    # What --overwrite would delete is still there when the new run cannot begin.
    refused(*again, "teacher=none", "--overwrite", message=r"none: no such model folder")
    assert contents(finished) == before
    assert run(*again, "--resume") == 0  # complete: nothing to train
    assert run(*again, "loss.temperature=3", "--overwrite") == 0
    assert yaml.safe_load((finished / "config.yaml").read_text())["loss"]["temperature"] == 3.0


@pytest.mark.parametrize("flags", [["--overwrite"], ["--resume"], []])
@pytest.mark.parametrize("key", ["teacher", "student.initialize_from", "data.text"])
def test_a_run_that_would_replace_what_it_reads(refused, config, finished, key, flags):
    before = contents(finished)
    path = finished / ("log.jsonl" if key == "data.text" else "model")
    message = (
        rf"{key} is .*/run/\S+, inside the output \S+/run, which the run replaces; choose anot"
    )
    refused("distill", config, f"{key}={path}", *flags, message=message)
    assert contents(finished) == before


def test_an_output_may_be_called_as_a_setting_is(config, tmp_path, monkeypatch):
    """The settings are strings that could be paths: linear, auto, float32."""
    monkeypatch.chdir(tmp_path)
    for flags in ([], ["--resume"], ["--overwrite"]):
        assert run("distill", config, "output=float32", "train.precision=float32", *flags) == 0


def test_a_folder_or_file_that_is_no_run(refused, config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    message = r"run: exists and is not a run; choose another output$"
    for flags in ([], ["--resume"], ["--overwrite"]):
        refused("distill", config, *flags, message=message)
        refused(
            *("distill", config, f"output={tmp_path / 'run' / 'mine.txt'}", *flags),
            message=r"mine\.txt: exists and is not a run; choose another output$",
        )
    assert (tmp_path / "run" / "mine.txt").read_text() == "mine"
    assert left(tmp_path / "run") == {"mine.txt"}


@pytest.mark.parametrize("content", ["", "{", "- a", b"\xff"], ids=["empty", "{", "list", "bytes"])
def test_a_run_whose_settings_are_broken(refused, config, tmp_path, content):
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "config.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused("distill", config, "--resume", message=r"run/config\.yaml: ")


@pytest.mark.parametrize("mine", [set(), {"mine.txt"}], ids=["alone", "with a file of mine"])
def test_a_run_that_fails_before_its_first_report_leaves_room(config, tmp_path, monkeypatch, mine):
    """Memory that does not suffice is found by the first step."""
    out = tmp_path / "run"

    def fit(*_, **__):
        assert left(out) >= {"config.yaml"}
        if mine:
            (out / "mine.txt").write_text("mine")
        raise MemoryError("no memory for the first step")

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr("tf_distilbert.training.fitting.FittingModel.fit", fit)
        run("distill", config)
    assert left(out) == mine and out.exists() == bool(mine)
    if not mine:
        assert run("distill", config) == 0  # neither --resume nor --overwrite is needed


def test_what_a_run_has_learnt_is_kept_when_it_fails(config, finished, tmp_path, monkeypatch):
    before = contents(finished)

    def fit(*_, **__):
        raise MemoryError("no memory")

    monkeypatch.setattr("tf_distilbert.training.fitting.FittingModel.fit", fit)
    with pytest.raises(MemoryError):
        run("distill", config, "train.steps=9", "--resume")
    after = contents(finished)
    assert all(after[path] == before[path] for path in before if path.name != "config.yaml")


def test_a_run_whose_checkpoint_is_damaged(refused, config, finished):
    shutil.rmtree(finished / "model")
    cut(finished / "checkpoints" / "step-00000002" / "tensors.safetensors", 100)
    message = r"run/checkpoints: no checkpoint is whole; bring one back, or start again with"
    again = ("distill", config, "train.steps=2", "--resume")
    refused(*again, message=message, after_start=True)
    assert not (finished / "model").exists()


# A loss that is not finite


def test_a_teacher_that_is_not_finite(refused, config, broken, tmp_path):
    tensors = load_file(broken / "model.safetensors")
    tensors["cls.predictions.bias"][7] = np.nan
    save_file(tensors, broken / "model.safetensors")
    message = (
        r"not finite at step 1; 4 updates in a row were skipped; there is no good checkpoint; "
    )
    options = (f"teacher={broken}", "student.initialize_from=random")
    refused("distill", config, *options, message=message, after_start=True)
    assert not (tmp_path / "run" / "model").exists()
    assert left(tmp_path / "run" / "checkpoints") == set()


@pytest.fixture
def spoilt_after_two(monkeypatch):
    """The student gets a NaN with the update of step 2."""

    class Spoiling(checkpoints.Checkpoints):
        def save(self, progress):
            if progress.step == 2:
                bias = self.trainer.student.head.output_bias
                bias.assign(np.full(bias.shape, np.nan, np.float32))
            super().save(progress)

    monkeypatch.setattr(loop, "Checkpoints", Spoiling)


def test_a_loss_that_becomes_infinite_leaves_the_last_checkpoint(
    refused, config, tmp_path, monkeypatch, spoilt_after_two
):
    saved = tmp_path / "run" / "checkpoints" / "step-00000001"
    message = rf"not finite at step 3; .* the last good checkpoint is {saved}; lower "
    options = ("train.steps=6", "train.checkpoint_every=1")
    line = refused("distill", config, *options, message=message, after_start=True)
    assert "train.learning_rate" in line
    tensors = load_file(saved / "tensors.safetensors")
    assert all(np.isfinite(tensor).all() for tensor in tensors.values())
    assert left(tmp_path / "run" / "checkpoints") == {"step-00000001"}
    assert not (tmp_path / "run" / "model").exists()
    # The remedy that the line names is one that works.
    monkeypatch.undo()
    assert run("distill", config, *options, "train.learning_rate=1e-5", "--resume") == 0


def test_a_learning_rate_that_is_far_too_large(refused, config, tmp_path):
    """The first update has rate 0, the second one spoils the model: its checkpoint is no good."""
    options = ("train.learning_rate=1e30", "train.checkpoint_every=1")
    message = r"not finite at step 3; .* the last good checkpoint is .*/step-\d+; lower"
    line = refused("distill", config, *options, message=message, after_start=True)
    named = re.search(r"checkpoint is (\S+);", line)[1]
    tensors = load_file(f"{named}/tensors.safetensors")
    weights = [t for name, t in tensors.items() if not name.startswith("optimizer/")]
    weights = [weight for weight in weights if weight.dtype == np.float32]  # no dropout seeds
    assert len(weights) > 20
    assert max(np.abs(weight).max() for weight in weights) < 1e6
    assert not (tmp_path / "run" / "model").exists()
