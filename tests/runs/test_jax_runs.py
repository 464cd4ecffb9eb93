"""The command line on Keras's JAX backend: the same runs, checkpoints and errors."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from support import tiny
from support.capitals import sentences
from support.task_files import row, write
from tf_distilbert.cli.main import main
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.models.task_models import SequenceClassifier

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="needs JAX: pip install -e '.[jax]'"
)
slow = pytest.mark.slow

# The program, stopped by a signal after a step; or without a package.
PROGRAM = """
import signal, sys
sys.path.insert(0, {root!r})
stop_after, missing, arguments = {stop_after!r}, {missing!r}, {arguments!r}
if missing:
    sys.modules[missing] = None
if stop_after:
    from tf_distilbert.training.runtime import start_keras
    start_keras()
    from tf_distilbert.runs.monitor import Monitor
    begin = Monitor.on_train_batch_begin
    def begin_or_stop(self, batch, logs=None):
        if self.progress.step == stop_after - 1:
            signal.raise_signal(signal.SIGTERM)
        begin(self, batch, logs)
    Monitor.on_train_batch_begin = begin_or_stop
from tf_distilbert.cli.main import main
sys.exit(main(arguments))
"""


def run(backend, *arguments, stop_after=None, missing=None):
    """The exit code and what was printed on stderr."""
    options = {"stop_after": stop_after, "missing": missing, "root": str(ROOT)}
    program = PROGRAM.format(arguments=[str(a) for a in arguments], **options)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jax-runs")
    save_model(tiny.model(seed=1), folder / "teacher")
    save_model(tiny.model(seed=1, dropout=0.2, attention_dropout=0.1), folder / "dropping")
    tiny.write_text(folder / "text.txt")
    return folder


def configure(folder, output, teacher="teacher", **train):
    values = {
        "teacher": str(folder / teacher),
        "output": str(folder / output),
        "data": {
            "text": str(folder / "text.txt"),
            "validation": str(folder / "text.txt"),
            "sequence_length": 32,
        },
        "train": {
            "steps": 12,
            "global_batch_size": 8,
            "precision": "float32",
            "epsilon": 1e-4,
            "log_every": 4,
            "validate_every": 6,
            "checkpoint_every": 100,
            **train,
        },
    }
    path = folder / f"{output}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def results(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    figures = {}
    for line in lines:
        key = line.pop("kind"), line.pop("step")
        assert key not in figures
        clocks = ("time", "tokens_per_second")
        figures[key] = {name: value for name, value in line.items() if name not in clocks}
    return figures, load_file(run / "model" / "model.safetensors")


def assert_same(found, expected, rtol, atol):
    (figures, weights), (expected_figures, expected_weights) = results(found), results(expected)
    assert figures.keys() == expected_figures.keys()
    for key, values in expected_figures.items():
        for name, value in values.items():
            assert figures[key][name] == pytest.approx(value, rel=rtol, abs=atol), (key, name)
    for name, tensor in expected_weights.items():
        np.testing.assert_allclose(weights[name], tensor, rtol=0, atol=atol, err_msg=name)


@slow
def test_a_run_changes_its_backend_and_back(folder):
    """Begun by TensorFlow, continued by JAX, ended by TensorFlow: as if never stopped."""
    assert main(["distill", str(configure(folder, "plain"))]) == 0
    config = configure(folder, "mixed")
    for backend, stop_after, code in (
        ("tensorflow", 3, 143),
        ("jax", 9, 143),
        ("tensorflow", None, 0),
    ):
        found, errors = run(backend, "distill", config, "--resume", stop_after=stop_after)
        assert found == code, errors
        if stop_after:
            assert f"stopped after step {stop_after} of 12" in errors
            state = folder / f"mixed/checkpoints/step-{stop_after:08d}/state.json"
            assert json.loads(state.read_text())["next_sequence"] == 8 * stop_after
    assert_same(folder / "mixed", folder / "plain", rtol=1e-5, atol=1e-5)


@slow
def test_a_stopped_run_ends_as_if_it_had_not_been(folder):
    whole = configure(folder, "whole", "dropping")
    assert run("jax", "distill", whole)[0] == 0
    stopped = configure(folder, "stopped", "dropping")
    assert run("jax", "distill", stopped, stop_after=5)[0] == 143
    assert run("jax", "distill", stopped, "--resume")[0] == 0
    assert_same(folder / "stopped", folder / "whole", rtol=0, atol=0)


@slow
def test_two_processes_give_the_run_of_one(folder):
    assert run("jax", "distill", configure(folder, "one"))[0] == 0
    two = configure(folder, "two")
    code, errors = run("jax", "launch", "--workers", "2", "--", "distill", two, stop_after=None)
    assert code == 0 and "on 2 devices" in errors, errors
    assert_same(folder / "two", folder / "one", rtol=1e-5, atol=1e-6)


@slow
@pytest.mark.parametrize(
    ("backend", "launch"),
    [
        ("jax", ()),
        pytest.param("jax", ("launch", "--workers", "2", "--"), marks=pytest.mark.long),
        ("tensorflow", ("launch", "--workers", "2", "--")),
    ],
)
def test_a_fine_tuning_gives_that_of_one_process_on_tensorflow(folder, backend, launch):
    """Its model has a head already: random numbers are the backend's own."""
    labels = ("negative", "positive")
    model = SequenceClassifier(tiny.architecture(), labels, tiny.tokenizer(), head_dropout=0.0)
    save_model(model, folder / "classifier", overwrite=True)
    for split, number, seed in (("train", 60, 1), ("dev", 13, 2)):
        rows = (row(text, str(label)) for text, label in sentences(number, seed))
        write(folder / "SST-2" / f"{split}.tsv", row("sentence", "label"), *rows)
    options = ["--task", "sst2", "--model", folder / "classifier", "--data", folder / "SST-2"]
    options += ["train.global_batch_size=8", "train.epochs=2", "train.precision=float32"]
    options += ["train.epsilon=1e-4", "train.learning_rate=1e-3", "train.resume=overwrite"]
    for name, *command in (("alone", "tensorflow"), ("other", backend, *launch)):
        code, errors = run(*command, "finetune", *options, "--output", folder / name)
        assert code == 0, errors
    assert_same(folder / "other", folder / "alone", rtol=1e-4, atol=1e-5)
    scores = [json.loads((folder / n / "scores.json").read_text()) for n in ("other", "alone")]
    assert scores[0] == scores[1]


def test_what_needs_tensorflow_says_so(folder):
    arguments = ("export", "--model", folder / "teacher", "--output", folder / "export")
    code, errors = run("jax", *arguments, "--format", "saved_model")
    assert (code, errors.count("\n")) == (2, 1)
    assert errors.startswith("tf-distilbert: Keras's backend is jax, this needs tensorflow; ")


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"strategy": "mirrored"}, "train.strategy is mirrored, which is TensorFlow's; on JAX use"),
        ({"strategy": "tpu"}, "train.strategy is tpu, but JAX has none (it has cpu:0); install"),
    ],
)
def test_a_strategy_that_jax_has_not(folder, train, message):
    code, errors = run("jax", "distill", configure(folder, "refused", **train))
    assert (code, errors.count("\n")) == (2, 1)
    assert errors.startswith(f"tf-distilbert: {message}")
    assert not (folder / "refused").exists()


def test_a_backend_asked_for_too_late(folder, capsys):
    """The tests run on TensorFlow."""
    config = configure(folder, "late", backend="jax")
    assert main(["distill", str(config)]) == 2
    errors = capsys.readouterr().err
    assert "train.backend is jax, but Keras was imported with tensorflow before" in errors
    assert errors.count("\n") == 1


def test_a_backend_that_is_not_installed(folder):
    config = configure(folder, "missing", backend="jax")
    code, errors = run("tensorflow", "distill", config, missing="jax")
    assert (code, errors.count("\n")) == (2, 1)
    assert "the backend is jax, which is not installed; pip install 'tf-distilbert[jax]'" in errors


@slow
def test_the_configuration_chooses_the_backend(folder):
    """A GPU's fused kernels and a TPU are JAX's; nothing else in the configuration differs."""
    config = configure(folder, "chosen", backend="jax", steps=4, validate_every=4)
    code, errors = run("tensorflow", "distill", config)
    assert code == 0, errors
    assert run("jax", "distill", configure(folder, "set", steps=4, validate_every=4))[0] == 0
    assert_same(folder / "chosen", folder / "set", rtol=0, atol=0)
