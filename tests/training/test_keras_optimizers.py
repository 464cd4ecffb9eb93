"""Every optimizer that Keras ships trains a `Distiller` as Keras's own `train_step` does."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import optimizers

from support import tiny
from support.keras_reference import PlainDistiller
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.student import build_student
from tf_distilbert.errors import UserError
from tf_distilbert.training.optimizer import AdamW

# The keys' bias cancels in the softmax: its gradient is nothing but rounding, which optimizers that
# divide by its size make as large as a real one. Here what they divide by is at least this.
EPSILON = 1e-3
STEPS = 4


def decay():
    return optimizers.schedules.ExponentialDecay(0.01, 2, 0.5)


OPTIMIZERS = {
    "Adadelta": lambda: optimizers.Adadelta(0.1, epsilon=EPSILON),
    "Adafactor": lambda: optimizers.Adafactor(0.01),
    "Adagrad": lambda: optimizers.Adagrad(0.01, epsilon=EPSILON),
    "Adam": lambda: optimizers.Adam(0.01, epsilon=EPSILON),
    "Adam, amsgrad": lambda: optimizers.Adam(0.01, epsilon=EPSILON, amsgrad=True),
    "Adamax": lambda: optimizers.Adamax(0.01, epsilon=EPSILON),
    "AdamW": lambda: optimizers.AdamW(0.01, epsilon=EPSILON, weight_decay=0.1),
    "Ftrl": lambda: optimizers.Ftrl(0.01),
    "Lamb": lambda: optimizers.Lamb(0.01, epsilon=EPSILON),
    "Lion": lambda: optimizers.Lion(0.01),
    "Muon": lambda: optimizers.Muon(0.01, epsilon=EPSILON),
    "Nadam": lambda: optimizers.Nadam(0.01, epsilon=EPSILON),
    "RMSprop": lambda: optimizers.RMSprop(0.01, epsilon=EPSILON, momentum=0.5),
    "ScheduleFreeAdamW": lambda: optimizers.ScheduleFreeAdamW(0.01, epsilon=EPSILON),
    "SGD": lambda: optimizers.SGD(0.01),
    "SGD, momentum": lambda: optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    "by name": lambda: "sgd",
    "schedule": lambda: optimizers.SGD(decay(), momentum=0.9),
    "clipnorm": lambda: optimizers.SGD(0.1, clipnorm=0.1),
    "clipvalue": lambda: optimizers.SGD(0.1, clipvalue=0.01),
    "global_clipnorm": lambda: optimizers.Adam(0.01, epsilon=EPSILON, global_clipnorm=0.1),
    "use_ema": lambda: optimizers.Adam(0.01, epsilon=EPSILON, use_ema=True, ema_momentum=0.5),
    "ema_overwrite_frequency": lambda: optimizers.SGD(
        0.01, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2
    ),
    "gradient_accumulation_steps": lambda: optimizers.Adam(
        0.01, epsilon=EPSILON, gradient_accumulation_steps=2
    ),
    "loss_scale_factor": lambda: optimizers.SGD(0.01, loss_scale_factor=128.0),
    "LossScaleOptimizer": lambda: optimizers.LossScaleOptimizer(
        optimizers.Adam(0.01, epsilon=EPSILON, global_clipnorm=0.1), dynamic_growth_steps=2
    ),
    "LossScaleOptimizer, EMA": lambda: optimizers.LossScaleOptimizer(
        optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    ),
}
EVERYDAY = ("Muon", "gradient_accumulation_steps", "LossScaleOptimizer")
RARE = ("Adadelta", "Adagrad", "Adam, amsgrad", "Adamax", "Ftrl", "Nadam", "RMSprop", "by name")


def marks(name):
    if name in EVERYDAY:
        return ()
    return pytest.mark.long if name in RARE else pytest.mark.slow


# They take the sign of a gradient, or divide by its size, however small.
MAGNIFY_ROUNDING = ("Adafactor", "Lion")


def batches(number=STEPS, first=0):
    stream = tf.data.Dataset.from_tensors(tiny.batch(first))
    for seed in range(first + 1, first + number):
        stream = stream.concatenate(tf.data.Dataset.from_tensors(tiny.batch(seed)))
    return stream


def trained(make, optimizer):
    """Train a student of one layer for some steps; give it, and its weights by name."""
    teacher = tiny.model(seed=1, num_layers=2)
    student = build_student(tiny.model(seed=2, num_layers=2), num_layers=1)
    start = tiny.weights(student)
    trainer = make(teacher, student)
    trainer.compile(optimizer, jit_compile=False)
    trainer.fit(batches(), verbose=0, shuffle=False)
    return trainer, start, {v.path: v.numpy() for v in student.trainable_variables}


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in OPTIMIZERS])
def test_it_trains_as_in_keras(name):
    theirs, start, expected = trained(PlainDistiller, OPTIMIZERS[name]())
    ours, _, found = trained(Distiller, OPTIMIZERS[name]())
    moved = np.abs(tiny.weights(ours.student) - start).max()
    assert moved > 1e-3
    for path, weights in expected.items():
        if name not in MAGNIFY_ROUNDING or not path.endswith("query_key_value/bias"):
            np.testing.assert_allclose(found[path], weights, rtol=0, atol=1e-5 * moved + 3e-7)
    for ours_own, theirs_own in zip(
        ours.optimizer.variables, theirs.optimizer.variables, strict=True
    ):
        if ours_own.shape == ():  # rate, iterations, loss scale and how long it has been good
            assert float(ours_own.numpy()) == float(theirs_own.numpy()), ours_own.name


def test_several_optimizers_in_one_are_refused():
    each = optimizers.OptimizerMap(optimizers.SGD(0.1))
    with pytest.raises(UserError, match=r"MultiOptimizer is not supported.*use one optimizer$"):
        trained(Distiller, optimizers.MultiOptimizer(each))


@pytest.mark.parametrize(
    "option",
    [
        *("clipnorm", "global_clipnorm", "clipvalue", "amsgrad", "loss_scale_factor"),
        *("gradient_accumulation_steps", "ema_overwrite_frequency", "anything"),
    ],
)
def test_ours_refuses_by_name_what_it_does_not_do(option):
    with pytest.raises(UserError, match=rf"^tf_distilbert\.AdamW does not take {option}; \S+.*$"):
        AdamW(1e-3, **{option: 2})


def test_ours_comes_back_from_its_config():
    optimizer = AdamW(decay(), weight_decay=0.1, clip_norm=2.0, use_ema=True, ema_momentum=0.7)
    config = optimizer.get_config()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(again, AdamW)
    assert again.get_config() == config
    assert (again.clip_norm, again.ema_momentum, again.weight_decay) == (2.0, 0.7, 0.1)


def test_ours_clips_in_a_model_of_ones_own_and_takes_none_for_nothing():
    """By Keras's training step, as `global_clipnorm` does."""
    moments = []
    for optimizer in (
        AdamW(0.1, beta_2=0.999, clip_norm=1e-3, clipnorm=None),
        optimizers.AdamW(0.1, weight_decay=0.0, global_clipnorm=1e-3),
    ):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "linear", True, "ones")])
        model.compile(optimizer, "mse")
        model.fit(np.ones((4, 4), "float32"), np.zeros((4, 1), "float32"), verbose=0)
        moments.append(np.concatenate([m.numpy().ravel() for m in optimizer._momentums]))
    np.testing.assert_allclose(moments[0], moments[1], rtol=1e-4)
    assert np.linalg.norm(moments[0]) == pytest.approx(1e-4, rel=1e-3)


def test_a_skipped_update_is_none_of_those_that_the_moments_are_corrected_by():
    """The first update made moves as the first does, however many were skipped before."""
    moved = []
    for bad in (0, 5):
        student = tiny.model(seed=2, num_layers=1)
        trainer = Distiller(tiny.model(seed=1, num_layers=1), student)
        trainer.compile(AdamW(1e-2, epsilon=1e-6), jit_compile=False)
        inputs, mask_ids, weights = tiny.batch(0)
        for _ in range(bad):
            trainer.train_on_batch(inputs, mask_ids, weights * np.float32("nan"))
        before = tiny.weights(student)
        trainer.train_on_batch(inputs, mask_ids, weights)
        moved.append(tiny.weights(student) - before)
        assert int(trainer.optimizer.iterations.numpy()) == bad + 1
    np.testing.assert_array_equal(moved[0], moved[1])


def moving_average(values, momentum):
    average = values[0]
    for value in values[1:]:
        average = momentum * average + (1 - momentum) * value
    return average


@pytest.mark.parametrize("skipped_first", [False, True])
def test_the_average_of_ours_is_the_weights_own(skipped_first):
    """By hand from the weights after each update; one that is skipped counts nothing."""
    teacher = tiny.model(seed=1, num_layers=2)
    student = build_student(tiny.model(seed=2, num_layers=2), num_layers=1)
    trainer = Distiller(teacher, student)
    trainer.compile(AdamW(1e-2, use_ema=True, ema_momentum=0.6), jit_compile=False)
    optimizer, after = trainer.optimizer, []
    trainer.make_train_function()
    if skipped_first:
        inputs, mask_ids, weights = tiny.batch(9)
        spoilt = tf.data.Dataset.from_tensors((inputs, mask_ids, weights * np.nan))
        before = tiny.weights(student)
        logs = trainer.train_function(iter(spoilt))
        assert float(logs["skipped_updates"]) == 1.0
        np.testing.assert_array_equal(tiny.weights(student), before)
    for batch in batches():
        trainer.train_function(iter(tf.data.Dataset.from_tensors(batch)))
        after.append(tiny.weights(student))
    expected = moving_average(after, 0.6)
    with optimizer.averages_in_place():
        np.testing.assert_allclose(tiny.weights(student), expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(tiny.weights(student), after[-1])
    optimizer.finalize_variable_values(trainer.trainable_variables)
    np.testing.assert_allclose(tiny.weights(student), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "make", [lambda: optimizers.SGD(0.1, momentum=0.9), lambda: optimizers.Adam(0.1)]
)
def test_a_skipped_update_moves_nothing_whatever_the_momentum(make):
    teacher = tiny.model(seed=1, num_layers=2)
    student = build_student(tiny.model(seed=2, num_layers=2), num_layers=1)
    trainer = Distiller(teacher, student)
    trainer.compile(make(), jit_compile=False)
    trainer.fit(batches(2), verbose=0)
    variables = [*student.trainable_variables, *trainer.optimizer.variables]
    before = [variable.numpy() for variable in variables]
    inputs, mask_ids, weights = tiny.batch(9)
    spoilt = tf.data.Dataset.from_tensors((inputs, mask_ids, weights * np.nan))
    logs = trainer.fit(spoilt, verbose=0).history
    assert logs["skipped_updates"] == [1.0]
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.name)
