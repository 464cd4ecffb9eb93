"""Checkpoints: what is in them, which are kept, and which are believed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from support import tiny
from tf_distilbert.distillation.pretrainer import MaskedLMPretrainer
from tf_distilbert.errors import UserError
from tf_distilbert.runs.checkpoints import Checkpoints, Progress
from tf_distilbert.training.optimizer import AdamW


def make(folder, seed=0, keep=2, data="text"):
    trainer = MaskedLMPretrainer(tiny.model(seed, hidden_size=8, num_layers=1), seed=7)
    trainer.compile(AdamW(1e-2))
    return Checkpoints(folder, trainer, data=data, batch_size=8, keep=keep)


def make_scaled(folder, seed=0):
    """As `make`, with the optimizer that float16 needs."""
    checkpoints = make(folder, seed)
    trainer = checkpoints.trainer
    trainer.optimizer = keras.optimizers.LossScaleOptimizer(AdamW(1e-2), initial_scale=2.0**10)
    trainer.optimizer.build(trainer.trainable_variables)
    return checkpoints


def bits(checkpoints):
    variables = checkpoints._variables() | checkpoints._metric_variables()
    return {name: np.array(variable.numpy()) for name, variable in variables.items()}


def steps(checkpoints):
    return [int(path.name[5:]) for path in checkpoints.saved()]


@pytest.fixture
def trained(tmp_path):
    """Three checkpoints, each after another update."""
    checkpoints = make(tmp_path, keep=3)
    kept = {}
    for step in (1, 2, 3):
        checkpoints.trainer.train_step(tf.nest.map_structure(tf.constant, tiny.batch(step)))
        checkpoints.save(Progress(step))
        kept[step] = bits(checkpoints)
    return kept


def test_all_of_it_comes_back_bit_for_bit(tmp_path, trained):
    other = make(tmp_path, seed=1)
    other.trainer.seed = 1
    assert other.restore(pytest.fail) == Progress(3)
    other.restore_metrics()
    for name, value in trained[3].items():
        if name.startswith("figures/stop"):
            continue
        np.testing.assert_array_equal(bits(other)[name], value, err_msg=name)
    assert other.trainer.seed == 7
    assert trained[3]["figures/gradient_norm/weight"] == 3
    assert int(other.trainer.optimizer.iterations.numpy()) == 3


def test_a_figure_that_the_program_got_later_starts_anew(tmp_path, trained):
    other = make(tmp_path, seed=1)
    del other.trainer._means["mlm_accuracy"]  # as a program without it would have written
    other.restore(pytest.fail)
    other.restore_metrics()
    other.save(Progress(3))
    again = make(tmp_path, seed=2)
    assert again.restore(pytest.fail).step == 3
    again.restore_metrics()
    assert bits(again)["figures/mlm_accuracy/weight"] == 0
    assert bits(again)["figures/padding_share/weight"] == 3 * 8 * 16  # places of three updates


def test_the_state_says_where_the_data_goes_on(tmp_path, trained):
    state = json.loads((tmp_path / "step-00000003" / "state.json").read_text())
    assert (state["step"], state["next_sequence"], state["seed"]) == (3, 24, 7)


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def empty(path):
    shutil.rmtree(path.parent)
    path.parent.mkdir()


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink, empty])
@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
def test_a_damaged_one_is_named_and_the_one_before_is_taken(tmp_path, trained, damage, name):
    damage(tmp_path / "step-00000003" / name)
    other, said = make(tmp_path, seed=1), []
    assert other.restore(said.append).step == 2
    assert len(said) == 1 and "step-00000003: damaged (" in said[0]
    for name, value in trained[2].items():
        if not name.startswith("figures/"):
            np.testing.assert_array_equal(bits(other)[name], value, err_msg=name)


def test_every_bit_of_the_state_counts(tmp_path, trained):
    path = tmp_path / "step-00000003" / "state.json"
    content = path.read_bytes()
    other = make(tmp_path)
    for i in range(0, len(content), 3):
        changed = bytearray(content)
        changed[i] ^= 1
        path.write_bytes(changed)
        said = []
        progress = other.restore(said.append)
        # White space between tokens says nothing.
        assert progress.step == 2 or (not said and content[i : i + 1].isspace()), content[i:]


def test_without_a_whole_one_nothing_is_begun_anew(tmp_path, trained):
    for path in tmp_path.glob("step-*/tensors.safetensors"):
        cut(path)
    with pytest.raises(UserError, match="no checkpoint is whole; bring one back, or start again"):
        make(tmp_path).restore(lambda _: None)


def test_another_model_or_text_is_refused(tmp_path, trained):
    with pytest.raises(UserError, match="step-00000003: was trained on other text"):
        make(tmp_path, data="other").restore(pytest.fail)
    other = MaskedLMPretrainer(tiny.model(hidden_size=16, num_layers=1))
    other.compile(AdamW(1e-2))
    with pytest.raises(UserError, match="step-00000003: belongs to another model"):
        Checkpoints(tmp_path, other, data="text", batch_size=8, keep=2).restore(pytest.fail)


def fill(checkpoints, seed):
    """Give every variable of the optimizer numbers of its own."""
    generator = np.random.default_rng(seed)
    for variable in checkpoints.trainer.optimizer.variables:
        values = generator.integers(1, 1000, variable.shape)
        variable.assign(values.astype(variable.numpy().dtype))


def test_the_loss_scale_of_float16_comes_back(tmp_path):
    saved = make_scaled(tmp_path)
    fill(saved, 5)
    saved.save(Progress(1))
    other = make_scaled(tmp_path, seed=1)
    assert other.restore(pytest.fail) == Progress(1)
    assert bits(other).keys() == bits(saved).keys()
    for name, value in bits(saved).items():
        np.testing.assert_array_equal(bits(other)[name], value, err_msg=name)
    scales = [bits(saved)[f"loss_scale/{name}"] for name in ("step_counter", "dynamic_scale")]
    own = saved.trainer.optimizer
    assert scales == [own.step_counter.numpy(), own.dynamic_scale.numpy()] and scales[0] > 0


@pytest.mark.parametrize(("before", "after"), [(make, make_scaled), (make_scaled, make)])
def test_a_run_may_change_between_float16_and_others(tmp_path, before, after):
    saved = before(tmp_path)
    fill(saved, 6)
    saved.save(Progress(1))
    other = after(tmp_path, seed=1)
    assert other.restore(pytest.fail) == Progress(1)
    both = bits(saved).keys() & bits(other).keys()
    assert {name for name in both if name.startswith("optimizer/")} == {
        f"optimizer/{i}/{v.name.rpartition('_')[2]}"
        for i, v in enumerate(make(tmp_path).trainer.optimizer.variables)
    }
    for name in both:
        np.testing.assert_array_equal(bits(other)[name], bits(saved)[name], err_msg=name)
    if after is make_scaled:  # nothing to go on with: it begins as in a new run
        assert bits(other)["loss_scale/dynamic_scale"] == 2.0**10
        assert bits(other)["loss_scale/step_counter"] == 0


def test_the_newest_and_the_best_are_kept(tmp_path):
    checkpoints = make(tmp_path, keep=2)
    for step in range(1, 7):
        best = min(step, 2)
        checkpoints.save(Progress(step, best_step=best, best_loss=1.0 / best))
    assert steps(checkpoints) == [2, 5, 6]
    assert make(tmp_path).restore(pytest.fail).best_step == 2


def test_whoever_may_not_write_does_not(tmp_path):
    checkpoints = make(tmp_path / "none")
    checkpoints.read_only = True
    checkpoints.save(Progress(1))
    assert not (tmp_path / "none").exists()


KILLED = """
import os, signal, sys
sys.path[:0] = {paths!r}
from pathlib import Path
import test_checkpoints
from tf_distilbert import atomic_writes
from tf_distilbert.runs import checkpoints
from tf_distilbert.runs.checkpoints import Progress

calls = 0
def killed(name, function):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == {call}:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

made = test_checkpoints.make(Path({folder!r}), keep=1)
made.save(Progress(1))
checkpoints.save_file = killed("save", checkpoints.save_file)
atomic_writes._sync = killed("sync", atomic_writes._sync)
for module in (os, checkpoints.shutil):
    for name in ("replace", "rmtree"):
        if hasattr(module, name):
            setattr(module, name, killed(name, getattr(module, name)))
made.save(Progress(2))
print("saved")
"""


@pytest.mark.parametrize(
    "call",
    [
        *(pytest.param(call, marks=pytest.mark.slow) for call in (5, 11)),
        *(pytest.param(call, marks=pytest.mark.long) for call in (1, 2, 3, 4, 6, 7, 8, 9, 10)),
    ],
)
def test_a_kill_at_any_point_of_a_save_leaves_a_whole_one(tmp_path, call):
    tests = [str(Path(__file__).parents[number]) for number in (0, 1)]
    folder = str(tmp_path / "checkpoints")
    code = KILLED.format(paths=[*tests, os.getcwd()], call=call, folder=folder)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode in (0, -signal.SIGKILL), result.stderr
    assert (result.returncode == 0) == ("saved" in result.stdout)
    other = make(Path(folder), seed=1)
    progress = other.restore(pytest.fail)
    assert progress.step == 2 if result.returncode == 0 else progress.step in (1, 2)
    # What a kill left over is in nobody's way.
    other.save(Progress(3))
    left = sorted(path.name for path in Path(folder).iterdir())
    assert left == [f"step-{step:08d}" for step in (progress.step, 3)]
