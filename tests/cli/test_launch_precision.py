"""Workers in the precision that a command has by default, where the device has bfloat16."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support import tiny
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.models.task_models import SequenceClassifier

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A teacher and a corpus."""
    folder = tmp_path_factory.mktemp("launch")
    save_model(tiny.model(), folder / "teacher")
    tiny.write_text(folder / "text.txt")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["distill", "finetune"])
def test_workers_train_in_bfloat16_with_a_teacher(folder, verb):
    """As `precision: auto` has it where there are instructions for it; here they are made up."""
    program = (
        "import sys; from tf_distilbert.backend import devices; "
        "from tf_distilbert.cli.main import main; "
        "devices.has_bfloat16 = lambda: True; sys.exit(main(sys.argv[1:]))"
    )
    settings = tiny.run_settings(folder, "bfloat16", precision="auto", steps=2)
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(settings))
    arguments = ["distill", path]
    if verb == "finetune":
        task = write_task(folder)
        classifier = folder / "classifier"
        arguments = ["finetune", "--task", "sst2", "--data", task, "--teacher", classifier]
        arguments += ["--model", folder / "teacher", "--output", folder / "tuned"]
        arguments += ["train.epochs=null", "train.steps=2", "train.global_batch_size=8"]
    code, errors = as_workers(program, arguments)
    assert code == 0, errors
    config = folder / ("bfloat16" if verb == "distill" else "tuned") / "config.yaml"
    assert yaml.safe_load(config.read_text())["train"]["precision"] == "mixed_bfloat16"


def as_workers(program, arguments):
    """Run a program as two workers; give the worst exit code, and what the first one says."""
    ports = [f"localhost:{free_port()}" for _ in range(2)]
    workers = []
    for index in range(2):
        task = {"cluster": {"worker": ports}, "task": {"type": "worker", "index": index}}
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        added = {"PYTHONPATH": os.pathsep.join(paths), "TF_CONFIG": json.dumps(task)}
        command = [sys.executable, "-c", program, *map(str, arguments)]
        workers.append(
            subprocess.Popen(
                command, env={**os.environ, **added}, stderr=subprocess.PIPE, text=True
            )
        )
    errors = [worker.communicate(timeout=600)[1] for worker in workers]
    return max(worker.returncode for worker in workers), errors[0]


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def write_task(folder):
    """A task of two classes, and a classifier to learn it from."""
    labels = ("negative", "positive")
    model = tiny_classifier(labels)
    save_model(model, folder / "classifier", overwrite=True)
    data = folder / "sst"
    data.mkdir(exist_ok=True)
    rows = "".join(f"paris is {word}\t{i % 2}\n" for i, word in enumerate(["old", "new"] * 8))
    for name in ("train.tsv", "dev.tsv"):
        (data / name).write_text("sentence\tlabel\n" + rows)
    return data


def tiny_classifier(labels):
    return SequenceClassifier(tiny.architecture(), labels, tiny.tokenizer())
