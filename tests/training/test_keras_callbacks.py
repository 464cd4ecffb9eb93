"""Every callback that Keras ships works with `fit` of a `Distiller`."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import callbacks, optimizers
from tensorflow.python.summary.summary_iterator import summary_iterator

from support import tiny
from support.keras_reference import PlainDistiller
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.student import build_student
from tf_distilbert.errors import UserError
from tf_distilbert.training.callbacks import prepare_callbacks
from tf_distilbert.training.optimizer import AdamW

HIDDEN = {"stop_requested", "skipped_in_a_row", "losses_not_finite"}


def batches(*seeds, spoilt=()):
    """A batch a seed; the weights of some are not a number."""
    parts = []
    for seed in seeds:
        inputs, mask_ids, weights = tiny.batch(seed)
        weights = weights * (np.float32("nan") if seed in spoilt else 1)
        parts.append(tf.data.Dataset.from_tensors((inputs, mask_ids, weights)))
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.concatenate(part)
    return whole


def trainer_of(optimizer, make=Distiller, **options):
    teacher = tiny.model(seed=1, num_layers=2)
    trainer = make(teacher, build_student(tiny.model(seed=2, num_layers=2), num_layers=1))
    trainer.compile(optimizer, jit_compile=False, **options)
    return trainer


def fit(trainer, *some, epochs=3, data=None, **options):
    options = {"validation_data": batches(7), "verbose": 0, **options}
    data = data or batches(0, 1)
    return trainer.fit(data, epochs=epochs, shuffle=False, callbacks=list(some), **options).history


def test_those_that_look_on(tmp_path, capsys):
    """CSVLogger, History, LambdaCallback, ModelCheckpoint, ProgbarLogger, TensorBoard."""
    trainer = trainer_of(AdamW(1e-2))
    seen = []
    history = fit(
        trainer,
        callbacks.CSVLogger(tmp_path / "log.csv"),
        callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(dict(logs))),
        callbacks.ModelCheckpoint(tmp_path / "whole.keras"),
        callbacks.ModelCheckpoint(tmp_path / "best.keras", "val_mlm_accuracy", save_best_only=True),
        callbacks.ModelCheckpoint(tmp_path / "{epoch}-{val_loss:.3f}.keras"),
        callbacks.ModelCheckpoint(tmp_path / "each-{batch}.keras", save_freq=1),
        callbacks.ModelCheckpoint(tmp_path / "only.weights.h5", save_weights_only=True),
        callbacks.TensorBoard(tmp_path / "board", histogram_freq=1, update_freq="epoch"),
        verbose=2,
    )
    shown = capsys.readouterr().out
    for names in (history, seen[0]):
        assert not HIDDEN & set(names) and {"loss", "mlm_loss", "tokens_per_second"} <= set(names)
    assert not any(name in shown for name in HIDDEN) and f"{history['loss'][0]:.4f}" in shown
    for name in ("gradient_norm", "padding_share", "skipped_updates"):  # not on the bar alone
        assert name in history and name not in shown
    for name in ("mlm_loss", "val_mlm_accuracy", "teacher_agreement", "tokens_per_second"):
        assert f" {name}: " in shown
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows] == history["val_loss"]
    assert not HIDDEN & set(rows[0])
    values = {}
    for path in (tmp_path / "board" / "validation").iterdir():
        for event in summary_iterator(str(path)):
            for value in event.summary.value:
                values.setdefault(value.tag, []).append(tf.make_ndarray(value.tensor))
    np.testing.assert_allclose(values["epoch_loss"], history["val_loss"], rtol=1e-6)

    inputs = tiny.batch(5)[0]
    logits = np.array(trainer.student(inputs))
    named = f"3-{history['val_loss'][-1]:.3f}.keras"
    for name in ("whole.keras", named, "each-2.keras"):
        loaded = keras.models.load_model(tmp_path / name)
        np.testing.assert_array_equal(np.array(loaded(inputs)), logits, err_msg=name)
    again = trainer_of(AdamW(1e-2))
    again.load_weights(tmp_path / "only.weights.h5")
    np.testing.assert_array_equal(tiny.weights(again.student), tiny.weights(trainer.student))
    assert int(again.optimizer.iterations.numpy()) == 6
    best = keras.models.load_model(tmp_path / "best.keras")
    accuracy = trainer_of(AdamW(1e-2))
    accuracy.student.set_weights(best.get_weights())
    found = accuracy.evaluate(batches(7), verbose=0, return_dict=True)["mlm_accuracy"]
    assert found == pytest.approx(max(history["val_mlm_accuracy"]))


def test_the_list_of_an_evaluation_begins_with_the_loss():
    trainer = trainer_of(AdamW(1e-2))
    named = trainer.evaluate(batches(7), verbose=0, return_dict=True)
    listed = trainer.evaluate(batches(7), verbose=0)
    assert listed[0] == named["loss"] and sorted(listed) == sorted(named.values())
    terms = (5, "distillation_loss"), (2, "mlm_loss"), (1, "cosine_loss")
    assert listed[0] == pytest.approx(sum(weight * named[name] for weight, name in terms))


@pytest.mark.parametrize(
    ("name", "better"),
    [
        *(("loss", "down"), ("mlm_loss", "down"), ("distillation_loss", "down")),
        *(("mlm_accuracy", "up"), ("teacher_agreement", "up")),
    ],
)
def test_the_mode_auto_knows_which_way_is_better(name, better):
    callback = callbacks.EarlyStopping(f"val_{name}")
    trainer = trainer_of("sgd")
    prepare_callbacks([callback], trainer.metrics, trainer._throughput)
    callback.set_model(trainer)
    callback._set_monitor_op()
    assert bool(callback._is_improvement(2.0, 1.0)) is (better == "up")


def test_early_stopping_stops_and_brings_the_best_weights_back():
    after = []
    trainer = trainer_of(optimizers.SGD(3.0))  # so high a rate that it only gets worse
    keep = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: after.append(tiny.weights(trainer.student))
    )
    stop = callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True)
    losses = fit(trainer, keep, stop, epochs=9)["val_loss"]
    best = int(np.argmin(losses))
    assert len(losses) == best + 2 < 9
    np.testing.assert_array_equal(tiny.weights(trainer.student), after[best])


@pytest.mark.slow
def test_backup_and_restore_goes_on_as_if_nothing_had_been(tmp_path):
    def stop(epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt

    whole = trainer_of(AdamW(1e-2, clip_norm=1.0))
    expected = fit(whole, epochs=4)
    restore = callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        fit(
            trainer_of(AdamW(1e-2, clip_norm=1.0)),
            restore,
            callbacks.LambdaCallback(on_epoch_begin=stop),
            epochs=4,
        )
    again = trainer_of(AdamW(1e-2, clip_norm=1.0))
    found = fit(again, callbacks.BackupAndRestore(tmp_path / "backup"), epochs=4)
    assert found["val_loss"] == expected["val_loss"][2:]
    np.testing.assert_array_equal(tiny.weights(again.student), tiny.weights(whole.student))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(
            lambda: callbacks.LearningRateScheduler(lambda epoch: 0.02 / (1 + epoch)),
            id="LearningRateScheduler",
        ),
        pytest.param(
            lambda: callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=0, min_delta=99.0),
            id="ReduceLROnPlateau",
            marks=pytest.mark.slow,
        ),
        pytest.param(callbacks.SwapEMAWeights, id="SwapEMAWeights"),
        pytest.param(
            lambda: callbacks.SwapEMAWeights(swap_on_epoch=True),
            id="on epoch",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_those_that_take_part(make):
    def optimizer():
        return optimizers.SGD(0.02, momentum=0.5, use_ema=True, ema_momentum=0.5)

    theirs, ours = trainer_of(optimizer(), PlainDistiller), trainer_of(optimizer())
    expected, found = fit(theirs, make()), fit(ours, make())
    np.testing.assert_allclose(found["val_loss"], expected["val_loss"], rtol=1e-5)
    assert float(ours.optimizer.learning_rate) == float(theirs.optimizer.learning_rate)
    np.testing.assert_allclose(
        tiny.weights(ours.student), tiny.weights(theirs.student), rtol=0, atol=1e-6
    )


def test_the_average_of_our_optimizer_is_what_swapping_evaluates():
    trainer = trainer_of(AdamW(1e-2, use_ema=True, ema_momentum=0.9))
    swapped = fit(trainer, callbacks.SwapEMAWeights(), epochs=1)["val_loss"]
    after = trainer.evaluate(batches(7), verbose=0)[0]  # `fit` has put the average into the model
    plain = trainer_of(AdamW(1e-2))
    assert swapped == [pytest.approx(after, rel=1e-6)]
    assert swapped != [pytest.approx(fit(plain, epochs=1)["val_loss"][0], rel=1e-3)]


@pytest.mark.parametrize(("steps", "at_once"), [(8, None), (2, 1), (4, 4)])
def test_terminate_on_nan_sees_an_update_that_was_skipped(steps, at_once):
    some = [callbacks.TerminateOnNaN()] if at_once else []
    trainer = trainer_of(AdamW(1e-2), steps_per_execution=at_once or 1)
    data = batches(0, 1, 2, 3, spoilt=[1])
    history = fit(trainer, *some, epochs=2, data=data)
    assert int(trainer.optimizer.iterations.numpy()) == steps
    assert np.isfinite(history["loss"]).all()


def test_a_distiller_is_not_saved_by_the_function(tmp_path):
    with pytest.raises(UserError, match=r"a Distiller cannot be saved .*use Distiller\.save, or "):
        keras.saving.save_model(trainer_of("sgd"), tmp_path / "x.keras")


def test_the_bar_shows_skipped_updates_once_there_are_some(capsys):
    trainer = trainer_of(AdamW(1e-2))
    fit(trainer, epochs=1, data=batches(0, 1, spoilt=(1,)), verbose=2, validation_data=None)
    assert " skipped_updates: 1.0" in capsys.readouterr().out


def test_a_bar_of_ones_own_shows_all_and_none_shows_nothing(capsys):
    trainer = trainer_of(AdamW(1e-2))
    fit(trainer, callbacks.ProgbarLogger(), epochs=1, verbose=2)
    assert capsys.readouterr().out.count(" gradient_norm: ") == 1
    fit(trainer, epochs=1, verbose=0)
    assert not capsys.readouterr().out
