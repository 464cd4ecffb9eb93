"""The precision of a run: what `auto` stood for is written down, and a resumed run keeps it."""

import json
from dataclasses import replace

import keras
import pytest
import yaml
from rich.console import Console

from support import tiny
from tf_distilbert.backend import devices
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.finetuning import FinetuneConfig
from tf_distilbert.config.jobs import DistillConfig, PretrainConfig
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.runs.directory import RunDirectory
from tf_distilbert.runs.job import Job
from tf_distilbert.runs.train import distill

QUIET = Console(quiet=True)


@pytest.fixture
def has_bfloat16(monkeypatch):
    """Say whether the device has bfloat16."""
    return lambda has: monkeypatch.setattr(devices, "has_bfloat16", lambda: has)


def config(folder, precision="auto", resume="auto"):
    values = tiny.run_settings(folder, "run", precision=precision, resume=resume)
    return parse_config(DistillConfig, values)


def stored(folder):
    return yaml.safe_load((folder / "run" / "config.yaml").read_text())["train"]["precision"]


def opened(config):
    """The precision of a job's settings, which is that of the models that it makes."""
    job = Job.open(config, QUIET)
    assert keras.config.dtype_policy().name == job.config.train.precision
    assert replace(job.config, train=config.train) == config
    return job.config.train.precision


@pytest.mark.parametrize(("has", "precision"), [(True, "mixed_bfloat16"), (False, "float32")])
def test_a_new_run_stores_what_auto_stands_for(tmp_path, has_bfloat16, has, precision):
    has_bfloat16(has)
    job = Job.open(config(tmp_path), QUIET)
    job.load(lambda progress: None)
    assert job.config.train.precision == stored(tmp_path) == precision


def test_so_do_the_other_jobs(tmp_path, has_bfloat16):
    has_bfloat16(True)
    values = tiny.run_settings(tmp_path, "run", precision="auto")
    values["initialize_from"] = values.pop("teacher")
    assert opened(parse_config(PretrainConfig, values)) == "mixed_bfloat16"
    values = {"task": "sst2", "model": "m", "data": "d", "output": str(tmp_path / "run")}
    assert opened(parse_config(FinetuneConfig, values)) == "mixed_bfloat16"


@pytest.mark.parametrize("before", ["mixed_bfloat16", "float32"])
def test_a_resumed_run_keeps_it_on_another_device(tmp_path, has_bfloat16, before):
    has_bfloat16(before == "mixed_bfloat16")
    RunDirectory(tmp_path / "run").create(config(tmp_path, before))
    has_bfloat16(True)
    assert opened(config(tmp_path)) == before
    has_bfloat16(False)
    if before == "float32":
        assert opened(config(tmp_path)) == before
        return
    # As it was, this device cannot go on with it, whether that is asked for or not.
    message = (
        r"run: its run was in mixed_bfloat16, which this device does not have; go on with "
        r"train\.precision=float32, which"
    )
    for precision in ("auto", "mixed_bfloat16"):
        with pytest.raises(UserError, match=message) as caught:
            Job.open(config(tmp_path, precision), QUIET)
        assert "\n" not in str(caught.value)
    assert opened(config(tmp_path, "float32")) == "float32"


def test_another_precision_can_be_asked_for(tmp_path, has_bfloat16):
    RunDirectory(tmp_path / "run").create(config(tmp_path, "float32"))
    has_bfloat16(True)
    assert opened(config(tmp_path, "mixed_bfloat16")) == "mixed_bfloat16"
    has_bfloat16(False)
    with pytest.raises(UserError, match=r"^train\.precision is mixed_bfloat16, but this device"):
        Job.open(config(tmp_path, "mixed_bfloat16"), QUIET)


@pytest.mark.parametrize(("has", "precision"), [(True, "mixed_bfloat16"), (False, "float32")])
def test_a_run_of_before_has_what_the_device_has(tmp_path, has_bfloat16, has, precision):
    """Its settings say auto."""
    RunDirectory(tmp_path / "run").create(config(tmp_path))
    assert stored(tmp_path) == "auto"
    has_bfloat16(has)
    assert opened(config(tmp_path)) == precision


def test_a_run_that_is_overwritten_is_a_new_one(tmp_path, has_bfloat16):
    RunDirectory(tmp_path / "run").create(config(tmp_path, "float32"))
    has_bfloat16(True)
    assert opened(config(tmp_path, resume="overwrite")) == "mixed_bfloat16"


def test_the_settings_that_a_run_leaves_have_it(tmp_path, has_bfloat16):
    save_model(tiny.model(num_layers=2), tmp_path / "teacher")
    tiny.write_text(tmp_path / "text.txt", documents=8)
    has_bfloat16(False)
    values = tiny.run_settings(tmp_path, "run", precision="auto", steps=1)
    values["data"]["validation"] = []
    path = distill(parse_config(DistillConfig, values), QUIET)
    assert stored(tmp_path) == "float32"
    provenance = json.loads((path / "provenance.json").read_text())
    assert provenance["settings"]["train"]["precision"] == "float32"
    # On a device that has bfloat16 it is the run that it was.
    has_bfloat16(True)
    values["train"]["resume"] = "auto"
    distill(parse_config(DistillConfig, values), QUIET)
    assert stored(tmp_path) == "float32"
