"""A run that is made longer: it goes on where it was, by the schedule of its new length."""

import io
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml
from rich.console import Console
from safetensors.numpy import load_file

from support import tiny
from support.capitals import sentences
from support.task_files import row, write
from tf_distilbert.backend import devices
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.finetuning import FinetuneConfig
from tf_distilbert.config.jobs import DistillConfig, PretrainConfig
from tf_distilbert.config.training import TrainConfig, resolve_steps
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.finetune import finetune
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.runs.batches import TrainingBatches
from tf_distilbert.runs.directory import RunDirectory
from tf_distilbert.runs.logs import read_log
from tf_distilbert.runs.loop import _describe_new_length
from tf_distilbert.runs.train import distill, pretrain

PEAK = 5e-4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("longer")
    save_model(tiny.model(num_layers=2), folder / "teacher")
    tiny.write_text(folder / "text.txt", documents=12)
    return folder


def settings(folder, output, **train):
    fixed = {"log_every": 1, "validate_every": 2, "checkpoint_every": 2, "keep_checkpoints": 9}
    return tiny.run_settings(folder, output, **fixed, **train)


def run(job, config):
    """Run a job; give the lines that it shows."""
    shown = io.StringIO()
    job(config, Console(file=shown, width=200))
    return shown.getvalue().splitlines()


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def made_longer(lines):
    return [line for line in lines if "the learning rate follows" in line]


def rates(folder):
    return {report["step"]: report["learning_rate"] for report in read_log(folder, "train")}


def by_hand(steps, total):
    """Linear from 0 to the peak in 5 % of the steps, then linear to 0 after the last one."""
    warmup = math.ceil(0.05 * total)
    made = np.arange(steps[0], steps[1] + 1) - 1
    return PEAK * np.minimum(made / warmup, (total - made) / (total - warmup))


@pytest.fixture(scope="module")
def finished(folder):
    return distill(
        parse_config(DistillConfig, settings(folder, "finished", steps=4)), Console(quiet=True)
    ).parent


def copied(finished, name):
    """The finished run in a folder of its own."""
    return shutil.copytree(finished, finished.with_name(name))


def test_a_finished_run_goes_on_to_its_new_end(folder, finished):
    path = copied(finished, "goes-on")
    shutil.copytree(folder / "finished-data", folder / "goes-on-data")
    before, log = files(path), (path / "log.jsonl").read_text()
    config = parse_config(DistillConfig, settings(folder, "goes-on", steps=8, resume="auto"))
    lines = run(distill, config)
    assert made_longer(lines) == [
        "train.steps was 4, now 8: from step 5 on the learning rate follows the schedule of 8 "
        "steps (2.9e-04, was 0.0)"
    ]
    assert lines[0].startswith("4 of 8 steps left, of 4 sequences")
    # The first part is as it was, to the byte; the second follows the rates of eight steps.
    after = files(path)
    first = [p for p in before if p.parts[0] == "checkpoints"]
    assert len(first) == 4 and all(after[p] == before[p] for p in first)
    assert (path / "log.jsonl").read_text().startswith(log)
    found = rates(path)
    assert list(found) == list(range(1, 9))
    np.testing.assert_allclose([found[i] for i in range(1, 5)], by_hand((1, 4), 4), rtol=1e-6)
    np.testing.assert_allclose([found[i] for i in range(5, 9)], by_hand((5, 8), 8), rtol=1e-6)
    # Step 5 begins with the weights of step 4: Adam moves none by more than a few rates.
    tensors = {
        step: load_file(path / "checkpoints" / f"step-{step:08d}" / "tensors.safetensors")
        for step in (4, 6, 8)
    }
    moved = [
        np.abs(tensors[6][name] - tensors[4][name]).max()
        for name in tensors[4]
        if name.startswith("model/") and tensors[4][name].dtype == np.float32
    ]
    assert 0 < max(moved) < 3 * sum(by_hand((5, 6), 8))
    assert [tensors[step]["optimizer/0/iteration"] for step in (4, 6, 8)] == [4, 6, 8]
    # What the run leaves is that of eight steps.
    assert (
        before[(path / "model/model.safetensors").relative_to(path)]
        != (path / "model" / "model.safetensors").read_bytes()
    )
    assert yaml.safe_load((path / "config.yaml").read_text())["train"]["steps"] == 8
    provenance = json.loads((path / "model" / "provenance.json").read_text())
    assert provenance["settings"]["train"]["steps"] == 8
    validations = read_log(path, "validation")
    assert [report["step"] for report in validations] == [0, 2, 4, 6, 8]
    state = json.loads((path / "checkpoints" / "step-00000008" / "state.json").read_text())
    best = min(validations, key=lambda report: report["loss"])
    assert (state["best_step"], state["best_loss"]) == (best["step"], best["loss"])
    # Said once: from now on it is a run of eight steps.
    assert not made_longer(run(distill, config))


def test_a_run_cannot_become_shorter_than_it_is(folder, finished):
    before = files(finished)
    config = parse_config(DistillConfig, settings(folder, "finished", steps=3, resume="auto"))
    message = r"finished: its run has made 4 steps, but train\.steps is 3; give 4 steps or more, or"
    with pytest.raises(UserError, match=message):
        distill(config, Console(quiet=True))
    assert files(finished) == before


@pytest.mark.slow
def test_a_pretraining_goes_on_for_more_epochs(folder):
    values = settings(folder, "pretrained", steps=None, epochs=0.5)
    values["initialize_from"] = values.pop("teacher")
    first = run(pretrain, parse_config(PretrainConfig, values))[0]  # "N steps of ..."
    half = int(first.split()[0])
    values["train"] |= {"epochs": 1.0, "resume": "auto"}
    [line] = made_longer(run(pretrain, parse_config(PretrainConfig, values)))
    found = rates(folder / "pretrained")
    whole = max(found)
    assert line.startswith(
        f"train.epochs was 0.5 ({half} steps), now 1.0 ({whole} steps): from step {half + 1} on "
    )
    assert whole in (2 * half - 1, 2 * half)
    second = [found[i] for i in range(half + 1, whole + 1)]
    np.testing.assert_allclose(second, by_hand((half + 1, whole), whole), rtol=1e-6)


@pytest.mark.slow
def test_a_fine_tuning_goes_on_for_more_epochs(folder):
    for split, number, seed in (("train", 32, 1), ("dev", 16, 2)):
        rows = (row(text, str(label)) for text, label in sentences(number, seed))
        write(folder / "glue" / "SST-2" / f"{split}.tsv", row("sentence", "label"), *rows)
    values = {
        **{"task": "sst2", "model": str(folder / "teacher"), "data": str(folder / "glue")},
        "output": str(folder / "tuned"),
        "train": {
            **{"epochs": 1, "global_batch_size": 8, "precision": "float32"},
            **{"learning_rate": PEAK, "warmup_share": 0.05, "log_every": 1},
        },
    }
    run(finetune, parse_config(FinetuneConfig, values))
    (folder / "tuned" / "scores.json").unlink()
    values["train"] |= {"epochs": 3, "resume": "auto"}
    assert made_longer(run(finetune, parse_config(FinetuneConfig, values))) == [
        "train.epochs was 1.0 (4 steps), now 3.0 (12 steps): from step 5 on the learning rate "
        "follows the schedule of 12 steps (3.6e-04, was 0.0)"
    ]
    found = rates(folder / "tuned")
    np.testing.assert_allclose([found[i] for i in range(5, 13)], by_hand((5, 12), 12), rtol=1e-6)
    assert (folder / "tuned" / "scores.json").exists()


# What is said, by what was and what is


def line(tmp_path, before, now, made):
    """The line of a run of 400 sequences of 10 tokens, in batches of 8."""
    before, now = (
        TrainConfig(global_batch_size=8, learning_rate=PEAK, **kind) for kind in (before, now)
    )

    def steps_of(train):
        return resolve_steps(train, num_sequences=400, num_tokens=4000)

    directory = RunDirectory(tmp_path / "run")
    directory.before = before
    batches = TrainingBatches("", steps_of(now), steps_of, 8, "", None, None)
    return _describe_new_length(directory, batches, now, made)


LENGTHS = {
    "epochs": (
        ({"epochs": 2.0}, {"epochs": 4.0}, 100),
        "train.epochs was 2.0 (100 steps), now 4.0 (200 steps): from step 101 on the learning rate "
        "follows the schedule of 200 steps (2.6e-04, was 0.0)",
    ),
    "tokens of a stopped run": (
        ({"tokens": 4000}, {"tokens": 8000}, 20),
        "train.tokens was 4000 (50 steps), now 8000 (100 steps): from step 21 on the learning rate "
        "follows the schedule of 100 steps (4.2e-04, was 3.2e-04)",
    ),
    "epochs for steps": (
        ({"steps": 100}, {"epochs": 4.0}, 100),
        "train.steps was 100, now train.epochs is 4.0 (200 steps): from step 101 on the learning "
        "rate follows the schedule of 200 steps (2.6e-04, was 0.0)",
    ),
    "shorter, but not than it is": (
        ({"steps": 100}, {"steps": 80}, 40),
        "train.steps was 100, now 80: from step 41 on the learning rate follows the schedule of 80 "
        "steps (2.6e-04, was 3.2e-04)",
    ),
    "as short as it is": (
        ({"steps": 100}, {"steps": 40}, 40),
        "train.steps was 100, now 40: all of these steps are made",
    ),
    "the same in other words": (({"steps": 100}, {"epochs": 2.0}, 40), None),
    "the same": (({"steps": 100}, {"steps": 100}, 40), None),
    "nothing made yet": (({"steps": 100}, {"steps": 50}, 0), None),
}


@pytest.mark.parametrize(("lengths", "message"), LENGTHS.values(), ids=LENGTHS)
def test_what_a_describe_new_length_means_is_said_with_numbers(tmp_path, lengths, message):
    assert line(tmp_path, *lengths) == message


def test_epochs_that_are_made_already_are_refused(tmp_path):
    message = r"run: its run has made 80 steps, but train\.epochs is 1\.0 \(50 steps\); give 80 ste"
    with pytest.raises(UserError, match=message):
        line(tmp_path, {"epochs": 2.0}, {"epochs": 1.0}, 80)


def test_a_changed_rate_is_compared_with_the_one_it_was(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    directory.before = TrainConfig(steps=100, learning_rate=1e-3)
    now = TrainConfig(steps=200, learning_rate=1e-4)
    batches = TrainingBatches("", 200, lambda train: train.steps, 8, "", None, None)
    # (200 - 50) / 190 of the one, (100 - 50) / 95 of the other.
    assert "(7.9e-05, was 5.3e-04)" in _describe_new_length(directory, batches, now, 50)


# Which settings may change


def test_a_result_is_no_result_of_another_length_or_precision(folder, finished):
    """As `retention` takes finished runs for its own."""
    config = parse_config(DistillConfig, settings(folder, "finished", steps=4, resume="auto"))
    RunDirectory(finished).check(config)
    for key, value, was in (("steps", 8, 4), ("precision", "mixed_bfloat16", "float32")):
        other = replace(config, train=replace(config.train, **{key: value}))
        with pytest.raises(UserError, match=rf"has train\.{key} {was}, now it is {value}"):
            RunDirectory(finished).check(other)
        RunDirectory(finished).check(other, goes_on=True)


def test_auto_is_whatever_a_result_has(folder, finished, monkeypatch):
    monkeypatch.setattr(devices, "has_bfloat16", lambda: True)
    values = settings(folder, "finished", steps=4, precision="auto", resume="auto")
    RunDirectory(finished).check(parse_config(DistillConfig, values))
