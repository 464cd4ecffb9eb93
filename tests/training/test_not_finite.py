"""An update that is not finite is skipped and counted, and a row of them ends the run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from support import tiny
from support.devices import strategy_of
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.data.pipeline import masked_lm_dataset
from tf_distilbert.data.records import Records
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.pretrainer import MaskedLMPretrainer
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.runs.logs import read_log
from tf_distilbert.runs.train import distill
from tf_distilbert.training.optimizer import AdamW

BAD_POSITION = 20


def trainer_of(strategy=None, optimizer=None, **options):
    """A trainer whose model makes no finite number at one position."""
    with (strategy or tf.distribute.get_strategy()).scope():
        model = tiny.model(num_layers=1)
        table = model.encoder.position_table.numpy()
        table[BAD_POSITION] = np.nan
        model.encoder.position_table.assign(table)
        trainer = MaskedLMPretrainer(model, seed=1, **options)
        trainer.compile(optimizer() if optimizer else AdamW(1e-2, weight_decay=0.1, clip_norm=0.5))
    return trainer


def batch(seed, bad):
    inputs, mask_ids, mask_weights = tiny.batch(seed)
    positions = np.tile(np.arange(16, dtype="int32"), (8, 1))
    if bad:
        positions[-1, 0] = BAD_POSITION
    return {**inputs, "position_ids": positions}, mask_ids, mask_weights


def fit(trainer, kinds):
    """Give the logs after each batch; `kinds` has a letter a batch, b for a bad one."""
    logs = []
    for seed, kind in enumerate(kinds):
        stream = tf.data.Dataset.from_tensors(batch(seed, kind == "b"))
        history = trainer.fit(stream, verbose=0).history
        logs.append(history | {"in_a_row": [float(trainer.signals["skipped_in_a_row"])]})
    return logs


def state(trainer):
    moments = [*trainer.optimizer._momentums, *trainer.optimizer._velocities]
    return [np.array(v.numpy()) for v in (*trainer.trainable_variables, *moments)]


@pytest.mark.parametrize(("devices", "micro_batches"), [(1, 1), (1, 2), (2, 1)])
def test_a_bad_batch_changes_nothing_and_is_counted(devices, micro_batches):
    """The bad token is in the last row: one replica, one micro-batch alone has it."""
    trainer = trainer_of(strategy_of(devices), micro_batches=micro_batches)
    fit(trainer, "g")
    before = state(trainer)
    [[logs], [more]] = [fit(trainer, "b") for _ in range(2)]
    for old, new in zip(before, state(trainer), strict=True):
        np.testing.assert_array_equal(new, old)
    assert logs["skipped_updates"] == more["skipped_updates"] == [1.0]
    assert (logs["in_a_row"], more["in_a_row"]) == ([1.0], [2.0])
    assert int(trainer.optimizer.iterations.numpy()) == 3  # the schedule follows the steps
    [good] = fit(trainer, "g")
    assert (good["skipped_updates"], good["in_a_row"]) == ([0.0], [0.0])
    assert any((a != b).any() for a, b in zip(before, state(trainer), strict=True))


def test_the_means_leave_it_out():
    both = tf.data.Dataset.from_tensors(batch(0, False))
    both = both.concatenate(tf.data.Dataset.from_tensors(batch(1, True)))
    mixed = trainer_of().fit(both, verbose=0).history
    [alone] = fit(trainer_of(), "g")
    assert mixed["skipped_updates"] == [1.0]
    for name in ("loss", "mlm_loss", "mlm_accuracy", "gradient_norm"):
        assert np.isfinite(mixed[name]).all()
        np.testing.assert_allclose(mixed[name], alone[name], rtol=1e-6)


def test_other_optimizers_see_a_gradient_of_0():
    trainer = trainer_of(optimizer=lambda: keras.optimizers.SGD(0.1))
    before = [np.array(v.numpy()) for v in trainer.trainable_variables]
    [logs] = fit(trainer, "b")
    assert logs["skipped_updates"] == [1.0]
    for old, variable in zip(before, trainer.trainable_variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)


@pytest.mark.parametrize(
    ("at_once", "suspects"), [pytest.param(1, [3], marks=pytest.mark.slow), (2, [3, 4])]
)
def test_a_run_goes_on_past_a_bad_batch_and_writes_it_down(
    tmp_path, monkeypatch, at_once, suspects
):
    """Step 3 of 6 gets a loss that is not finite; its file makes the same batch again."""
    save_model(tiny.model(), tmp_path / "teacher")
    text = tiny.write_text(tmp_path / "text.txt")
    is_finite = keras.ops.isfinite
    step = {}

    def finite_but_for_one(value):
        return is_finite(value) & (tf.convert_to_tensor(step["optimizer"].iterations) != 2)

    train_step = Distiller.train_step

    def noting(self, batch):
        step["optimizer"] = self.optimizer
        monkeypatch.setattr(keras.ops, "isfinite", finite_but_for_one)
        try:
            return train_step(self, batch)
        finally:
            monkeypatch.setattr(keras.ops, "isfinite", is_finite)

    monkeypatch.setattr(Distiller, "train_step", noting)
    values = {
        "teacher": str(tmp_path / "teacher"),
        "output": str(tmp_path / "run"),
        "data": {"text": str(text), "sequence_length": 32},
        "train": {
            "steps": 6,
            "global_batch_size": 8,
            "precision": "float32",
            "log_every": 2,
            "steps_per_execution": at_once,
        },
    }
    distill(parse_config(DistillConfig, values))
    reports = read_log(tmp_path / "run", "train")
    assert [report["skipped_updates"] for report in reports] == [0, 1, 0]
    paths = sorted((tmp_path / "run" / "not_finite").iterdir())
    assert [path.name for path in paths] == [f"step-{step:08d}.json" for step in suspects]
    written = json.loads(paths[0].read_text())
    assert written["step"] == 3
    [folder] = (tmp_path / "run-data").iterdir()
    records = Records.open(folder)
    masker = TokenMasker.for_records(records, seed=56)
    [replayed] = masked_lm_dataset(records, masker, 8, seed=56, first_step=2, num_steps=1)
    lengths = records.lengths(np.array(written["indices"]))
    np.testing.assert_array_equal(replayed[0]["padding_mask"].numpy().sum(1), lengths)
    unmasked = replayed[0]["token_ids"].numpy()
    np.put_along_axis(
        unmasked,
        replayed[0]["mask_positions"].numpy(),
        np.where(
            replayed[2].numpy() > 0,
            replayed[1].numpy(),
            np.take_along_axis(unmasked, replayed[0]["mask_positions"].numpy(), 1),
        ),
        1,
    )
    np.testing.assert_array_equal(unmasked, records.gather(np.array(written["indices"])))


@pytest.mark.slow
def test_tensorflows_check_of_all_numbers_finds_none():
    """Of padding and of slots that are not in use, too; in another process, as it stays on."""
    program = """
import tensorflow as tf
from support import tiny
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.student import build_student
from tf_distilbert.training.optimizer import AdamW

tf.debugging.enable_check_numerics()
teacher = tiny.model(num_layers=2)
distiller = Distiller(teacher, build_student(teacher, num_layers=1), mse_weight=1e-3)
distiller.compile(AdamW(1e-3, clip_norm=1.0, use_ema=True), jit_compile=False)
batches = tf.data.Dataset.from_tensors(tiny.batch()).repeat(2)
history = distiller.fit(batches, validation_data=batches, verbose=0).history
assert history["skipped_updates"] == [0.0]
inputs, mask_ids, weights = tiny.batch()
spoilt = tf.data.Dataset.from_tensors((inputs, mask_ids, weights * float("nan")))
try:
    distiller.fit(spoilt, verbose=0)
except tf.errors.InvalidArgumentError:
    raise SystemExit(7)
"""
    folder = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(folder.parent)])}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, timeout=600)
    assert ended.returncode == 7  # it was on
