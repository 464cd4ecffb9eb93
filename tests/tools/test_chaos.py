"""The kill test, whole; and that its comparison sees what it should."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

TOOLS = Path(__file__).parents[2] / "tools"

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", autouse=True)
def tools():
    sys.path.insert(0, str(TOOLS))
    yield
    sys.path.remove(str(TOOLS))


def test_twenty_kills_in_one_training_lose_nothing():
    command = [sys.executable, TOOLS / "chaos.py", "--only", "kills", "--kills", "20"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=3000)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"\| SIGKILL in one training, one \| 20 \| 0 \|", result.stdout)


@pytest.fixture(scope="module")
def training(tmp_path_factory, tools):
    from chaos_training import Training, prepare_training

    folder = tmp_path_factory.mktemp("chaos")
    prepare_training(folder)
    training = Training(folder, steps=6, in_process=True)
    assert training.run("whole").code == 0
    return training


def harm_log(run):
    lines = (run / "log.jsonl").read_text().splitlines(keepends=True)
    (run / "log.jsonl").write_text("".join([*lines, lines[-1]]))


def harm_events(run):
    (path,) = (run / "tensorboard" / "validation").iterdir()
    shutil.copy(path, path.with_name(path.name + ".again"))


def harm_model(run):
    path = run / "model" / "model.safetensors"
    tensors = load_file(path)
    name = next(iter(tensors))
    tensors[name] = np.nextafter(tensors[name], np.float32(9))
    save_file(tensors, path)


def harm_state(run):
    path = run / "checkpoints" / "step-00000006" / "state.json"
    path.write_text(path.read_text().replace('"best_step"', '"other"'))


@pytest.mark.parametrize(
    "harm, found",
    [
        (harm_log, "log.jsonl: missing"),
        (harm_events, "tensorboard: 0 missing"),
        (harm_model, "model.safetensors: 1 of"),
        (harm_state, "state.json: best_step"),
        (lambda run: shutil.rmtree(run / "model"), "model.safetensors is missing"),
        (lambda run: shutil.rmtree(run / "checkpoints"), "the last checkpoint is missing"),
    ],
)
def test_a_loss_is_seen(training, tmp_path, harm, found):
    from chaos_training import differences

    whole, run = training.run_folder("whole"), tmp_path / "run"
    shutil.copytree(whole, run)
    assert differences(run, whole) == []
    harm(run)
    assert any(each.startswith(found) for each in differences(run, whole))
