"""SIGTERM and SIGINT: the step is finished, the run saved, the exit code says which it was."""

import json
import shlex
import signal

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from support import tiny
from tf_distilbert.cli.main import main
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.runs import monitor
from tf_distilbert.runs.monitor import Interruption


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    save_model(tiny.model(dropout=0.1, attention_dropout=0.1), folder / "teacher")
    tiny.write_text(folder / "text.txt")
    return folder


def configure(folder, output):
    values = {
        "teacher": str(folder / "teacher"),
        "output": str(folder / output),
        "data": {
            "text": str(folder / "text.txt"),
            "validation": str(folder / "text.txt"),
            "sequence_length": 32,
        },
        "train": {
            "steps": 6,
            "global_batch_size": 8,
            "precision": "float32",
            "log_every": 4,
            "validate_every": 3,
            "checkpoint_every": 100,
        },
    }
    path = folder / f"{output}.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


@pytest.fixture(scope="module")
def whole(folder):
    assert main(["distill", configure(folder, "whole")]) == 0
    return folder / "whole"


def results(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("time")
        line.pop("tokens_per_second", None)
    return lines, load_file(run / "model" / "model.safetensors")


def assert_same(found, expected):
    (lines, weights), (expected_lines, expected_weights) = results(found), results(expected)
    assert lines == expected_lines
    for name, tensor in expected_weights.items():
        np.testing.assert_array_equal(weights[name], tensor, err_msg=name)


def interrupted_at(monkeypatch, method, step, number):
    """Raise a signal when the monitor's method begins for this step."""
    original = getattr(monitor.Monitor, method)

    def raising(self, *arguments, **options):
        if self.progress.step == step:
            signal.raise_signal(number)
        return original(self, *arguments, **options)

    monkeypatch.setattr(monitor.Monitor, method, raising)


@pytest.mark.parametrize(
    ("name", "code", "method", "step"),
    [
        ("SIGTERM", 143, "on_train_batch_begin", 1),  # in a step: the second is finished
        # Between two steps.
        pytest.param("SIGINT", 130, "report", 4, marks=pytest.mark.slow),
        # In a validation, which is made again.
        pytest.param("SIGTERM", 143, "on_test_batch_end", 0, marks=pytest.mark.long),
        pytest.param("SIGTERM", 143, "on_test_batch_end", 3, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_the_run_after_its_step(
    folder, whole, monkeypatch, capsys, name, code, method, step
):
    output = f"{name}-{step}"
    config = configure(folder, output)
    with monkeypatch.context() as patch:
        interrupted_at(patch, method, step, signal.Signals[name])
        assert main(["distill", config]) == code
    last = capsys.readouterr().err.splitlines()[-1]
    done = 2 if step == 1 else step
    saved = f"step-{done:08d} is saved" if done else "nothing is saved"
    assert f"stopped after step {done} of 6; " in last and saved in last
    assert not (folder / output / "model").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    # The line to resume with is one that works.
    program, *arguments = shlex.split(last.partition("go on with: ")[2])
    assert program == "tf-distilbert" and arguments == ["distill", config, "--resume"]
    assert main(arguments) == 0
    assert_same(folder / output, whole)


@pytest.mark.slow
def test_a_validation_that_is_made_again_can_be_stopped_again(folder, whole, monkeypatch, capsys):
    config = configure(folder, "twice")
    for options in ([], ["--resume"]):
        with monkeypatch.context() as patch:
            interrupted_at(patch, "on_test_batch_end", 3, signal.SIGTERM)
            assert main(["distill", config, *options]) == 143
        assert "step-00000003 is saved" in capsys.readouterr().err
    assert main(["distill", config, "--resume"]) == 0
    assert_same(folder / "twice", whole)


@pytest.fixture
def in_foreground():
    """Ctrl-C as Python has it: a process started in the background ignores it."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


def test_a_second_signal_acts_at_once(in_foreground):
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_handlers_are_given_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with Interruption():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
