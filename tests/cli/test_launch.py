"""Several workers on one machine: the result of one device, and an end whatever happens."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from safetensors.numpy import load_file

from support import tiny
from tf_distilbert.cli import launch
from tf_distilbert.cli.main import main
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.training.strategy import make_strategy

STEPS = 20
ROOT = Path(__file__).parents[2]
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A teacher and a corpus."""
    folder = tmp_path_factory.mktemp("launch")
    save_model(tiny.model(), folder / "teacher")
    tiny.write_text(folder / "text.txt")
    return folder


def write_config(folder, name, **train):
    text = [str(folder / "text.txt")]
    values = {
        "teacher": str(folder / "teacher"),
        "output": str(folder / name),
        "data": {"text": text, "validation": text, "sequence_length": 32},
        "loss": {"mse_weight": 1e-3},
        "train": {
            "steps": STEPS,
            "global_batch_size": 8,
            "precision": "float32",
            "learning_rate": 1e-3,
            "epsilon": 1e-4,  # as in test_trainer: the keys' biases have no gradient but rounding
            "log_every": 1,
            "validate_every": 10,
            "checkpoint_every": 5,
        }
        | train,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def start(*arguments, **environment):
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-m", "tf_distilbert", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments, **environment):
    process = start(*arguments, **environment)
    _, errors = process.communicate(timeout=600)
    return process.returncode, errors


def launched(config, *more):
    return ["launch", "--workers", "2", "--", "distill", config, *more]


def reports(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    keys = [(line["kind"], line["step"]) for line in lines]
    assert len(keys) == len(set(keys))  # one writer, and no step twice
    clocks = ("time", "tokens_per_second")
    return {
        key: {name: value for name, value in line.items() if name not in (*clocks, "kind")}
        for key, line in zip(keys, lines, strict=True)
    }


@pytest.fixture(scope="module")
def plain(folder):
    """The run of one device."""
    code, errors = run("distill", write_config(folder, "plain"))
    assert code == 0, errors
    return folder / "plain"


def assert_same_run(found, expected):
    ours, theirs = reports(found), reports(expected)
    assert ours.keys() == theirs.keys() and ("train", STEPS) in ours
    for key, figures in theirs.items():
        assert ours[key].keys() == figures.keys()
        for name, value in figures.items():
            assert ours[key][name] == pytest.approx(value, rel=1e-6, abs=1e-6), (key, name)
    weights = [load_file(path / "model" / "model.safetensors") for path in (found, expected)]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[1].items():
        np.testing.assert_allclose(weights[0][name], tensor, rtol=0, atol=1e-6, err_msg=name)


@slow
def test_two_workers_give_the_run_of_one_device(folder, plain):
    code, errors = run(*launched(write_config(folder, "two")))
    assert code == 0, errors
    figures = reports(plain)["train", STEPS]
    assert {"distillation_loss", "mlm_loss", "cosine_loss", "mse_loss"} <= figures.keys()
    assert {"gradient_norm", "mlm_accuracy", "teacher_agreement"} <= figures.keys()
    assert ("validation", STEPS) in reports(plain)
    assert_same_run(folder / "two", plain)


def wait_for_checkpoint(process, output):
    """Until the first one is there; fails if the job ends before."""
    while not list((output / "checkpoints").glob("step-????????")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)


def workers_of(process):
    """The launcher's children, in the order in which they were started."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not path.exists():
        pytest.skip("needs Linux's /proc")
    return [int(number) for number in path.read_text().split()]


def threads_of(process):
    path = Path(f"/proc/{process.pid}/task")
    return len(list(path.iterdir())) if path.exists() else None


def is_running(number):
    path = Path(f"/proc/{number}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"


LONG = {"steps": 2000, "checkpoint_every": 5, "validate_every": 1000, "log_every": 100}


@pytest.mark.long  # the short form of tools/chaos.py kills one
@pytest.mark.parametrize("worker", [0, 1])
def test_a_killed_worker_ends_the_job(folder, worker):
    name = f"killed-{worker}"
    process = start(*launched(write_config(folder, name, **LONG)))
    wait_for_checkpoint(process, folder / name)
    os.kill(workers_of(process)[worker], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)  # the promise; it takes seconds
    assert process.returncode == 1
    assert f"worker {worker} was killed (SIGKILL)" in errors
    assert "go on with --resume" in errors
    assert "Traceback" not in errors


@slow
def test_a_job_goes_on_after_a_signal(folder, plain):
    """Stopped after its first checkpoint, resumed, it ends as the run that was not stopped."""
    config = write_config(folder, "stopped", checkpoint_every=1)
    process = start(*launched(config))
    wait_for_checkpoint(process, folder / "stopped")
    # Killed with several threads, of which one may end after the one that started the workers, it
    # would have them told twice to stop, and the second signal ends what the first one began.
    assert threads_of(process) in (1, None)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 143, errors
    step = int(re.search(r"stopped after step (\d+) of 20", errors)[1])
    assert (folder / "stopped" / "checkpoints" / f"step-{step:08d}").is_dir()
    code, errors = run(*launched(config, "--resume"))
    assert code == 0, errors
    assert_same_run(folder / "stopped", plain)


@pytest.mark.long
def test_workers_outlive_no_killed_launcher(folder):
    """They are told to stop, and save their run."""
    output = folder / "orphans"
    process = start(*launched(write_config(folder, "orphans", **LONG)))
    wait_for_checkpoint(process, output)
    workers = workers_of(process)
    process.kill()
    process.communicate(timeout=120)  # until nobody has its stderr any more
    deadline = time.monotonic() + 120
    while any(is_running(number) for number in workers):  # the other's is a pipe of the launcher
        assert time.monotonic() < deadline
        time.sleep(0.1)
    saved = max(int(path.name[5:]) for path in (output / "checkpoints").iterdir())
    assert saved % LONG["checkpoint_every"]  # between the regular ones


PRINTS = r"""
import sys, time
for part in (b"one\ntw", b"o\n\n\xff", b" three\nunfinished"):
    sys.stderr.buffer.write(part)
    sys.stderr.buffer.flush()
    time.sleep(0.1)
"""


def test_what_workers_print_is_shown_in_whole_lines_after_their_number(capfd):
    """The first one's stderr is that of the launcher."""
    command = [sys.executable, "-c", PRINTS]
    pipes = (subprocess.DEVNULL, subprocess.PIPE, subprocess.PIPE)
    launch._wait([subprocess.Popen(command, stderr=pipe) for pipe in pipes])
    lines = capfd.readouterr().err.split("\n")
    for number in (1, 2):
        own = [line for line in lines if line.startswith(f"[worker {number}] ")]
        texts = [line.removeprefix(f"[worker {number}] ") for line in own]
        assert texts == ["one", "two", "", "\ufffd three", "unfinished"]


@slow
def test_a_batch_that_workers_cannot_share_is_refused(folder):
    code, errors = run(*launched(write_config(folder, "odd", global_batch_size=7)))
    assert code == 2
    own = [line for line in errors.splitlines() if not line.startswith("[worker")]
    assert own == [
        "tf-distilbert: train.global_batch_size 7 is not a multiple of 2 replicas times "
        "train.micro_batch_size 1"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0", "--", "distill", "x.yaml"], "--workers is 0; give 1 or more"),
        (
            ["--workers", "2", "--"],
            "after `--` comes what each worker runs: distill, pretrain or",
        ),
        (
            ["--workers", "2"],
            "after `--` comes what each worker runs: distill, pretrain or",
        ),
        (["--workers", "2", "--", "evaluate"], "after `--` comes what each worker runs"),
    ],
)
def test_bad_commands_are_refused_before_anything_starts(capsys, arguments, message):
    assert main(["launch", *arguments]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"tf-distilbert: {message}") and errors.count("\n") == 1


BROKEN = [
    "{",
    "[]",
    '{"cluster": {}, "task": {"type": "worker", "index": 0}}',
    '{"cluster": {"worker": ["a:1"]}}',
    '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
]


@pytest.mark.parametrize("text", BROKEN)
@pytest.mark.parametrize("name", ["auto", "multi_worker"])
def test_a_broken_tf_config_is_refused(monkeypatch, text, name):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match="TF_CONFIG is broken; it must be"):
        make_strategy(name)


def test_a_run_with_a_broken_tf_config_ends_in_one_line(folder):
    code, errors = run("distill", write_config(folder, "broken"), TF_CONFIG="{")
    assert code == 2
    assert errors.startswith("tf-distilbert: TF_CONFIG is broken") and errors.count("\n") == 1
    assert not (folder / "broken").exists()


def test_workers_without_a_tf_config_are_refused(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UserError, match="TF_CONFIG is not set; start the workers with"):
        make_strategy("multi_worker")


def test_one_device_is_the_default_here(monkeypatch):
    for name in ("TF_CONFIG", "TPU_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert make_strategy("one") is tf.distribute.get_strategy()
    assert make_strategy("auto") is tf.distribute.get_strategy()


def test_mirrored_takes_all_devices():
    strategy = make_strategy("mirrored")
    assert strategy.num_replicas_in_sync == len(tf.config.list_logical_devices("CPU")) > 1


def test_a_tpu_that_is_not_there_is_refused_in_one_line(monkeypatch):
    monkeypatch.delenv("TPU_NAME", raising=False)
    with pytest.raises(UserError, match=r"train\.strategy is tpu, but none can be") as found:
        make_strategy("tpu")
    assert "\n" not in str(found.value)
