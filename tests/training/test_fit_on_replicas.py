"""What `fit` promises on one device and on two: steps at a time, dropout, optimizers, any data."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from support import tiny
from support.devices import strategy_of
from support.static_step import all_nodes, while_body_operations
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.student import build_student
from tf_distilbert.errors import UserError
from tf_distilbert.losses.vocabulary import Projection, TokenWeights, vocabulary_loss
from tf_distilbert.training.optimizer import AdamW

STEPS = 6
slow, long = pytest.mark.slow, pytest.mark.long


def adamw():
    # A larger epsilon, as in test_trainer: the keys' biases have no gradient but rounding.
    return AdamW(1e-2, epsilon=1e-4, weight_decay=0.1, clip_norm=0.5)


def sgd():
    return keras.optimizers.SGD(1e-2, momentum=0.9)


def distiller_of(devices, make_optimizer=adamw, dropout=0.0, compile_options=None, **options):
    with strategy_of(devices).scope():
        teacher = tiny.model(seed=1, num_layers=1)
        rates = {"dropout": dropout, "attention_dropout": dropout}
        student = build_student(tiny.model(seed=1, num_layers=1, **rates), num_layers=1)
        distiller = Distiller(teacher, student, mse_weight=1e-3, seed=5, **options)
        distiller.compile(make_optimizer(), **(compile_options or {}))
    return distiller


def rows(number, batch_size=8):
    """Batches of rows of very different lengths; the last one may be smaller."""
    whole = tf.data.Dataset.from_tensor_slices(tiny.batch(0, rows=number))
    return whole.batch(batch_size)


def fit(distiller, data=None, **options):
    """The figures of an epoch, and the weights."""
    history = distiller.fit(data or rows(8 * STEPS), verbose=0, **options).history
    del history["tokens_per_second"]
    return history, tiny.weights(distiller.student)


def updates(distiller):
    return int(tf.convert_to_tensor(distiller.optimizer.iterations.value))


def assert_equal(found, expected):
    (history, weights), (expected_history, expected_weights) = found, expected
    np.testing.assert_allclose(weights, expected_weights, rtol=0, atol=1e-6)
    assert history.keys() == expected_history.keys()
    for name, values in expected_history.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, atol=1e-6, err_msg=name)


class Calls(keras.callbacks.Callback):
    """Notes the number of each batch that a callback is told of."""

    def __init__(self):
        super().__init__()
        self.begun, self.ended = [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.begun.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        self.ended.append(batch)


@pytest.mark.parametrize("devices", [pytest.param(1, marks=long), pytest.param(2, marks=slow)])
def test_several_steps_at_a_time_give_the_same_bits(devices):
    found, calls = {}, {}
    for at_once in (1, 2, 3):
        options = {"steps_per_execution": at_once}
        distiller = distiller_of(devices, dropout=0.1, compile_options=options)
        calls[at_once] = Calls()
        found[at_once] = fit(distiller, callbacks=[calls[at_once]], steps_per_epoch=STEPS)
        assert updates(distiller) == STEPS
    for at_once in (2, 3):
        np.testing.assert_array_equal(found[at_once][1], found[1][1])
        assert found[at_once][0] == found[1][0]
    begun = {at_once: noted.begun for at_once, noted in calls.items()}
    ended = {at_once: noted.ended for at_once, noted in calls.items()}
    assert begun == {1: [0, 1, 2, 3, 4, 5], 2: [0, 2, 4], 3: [0, 3]}
    assert ended == {1: [0, 1, 2, 3, 4, 5], 2: [1, 3, 5], 3: [2, 5]}


def gradients_by_replica(distiller, batch):
    """Each replica's own part of the gradient."""
    strategy = distiller.distribute_strategy
    counts = {"tokens": tf.constant(100.0), "predictions": tf.constant(20.0)}

    @tf.function(autograph=False)
    def run():
        return strategy.run(lambda: distiller._sum_over_micro_batches(batch, counts)[1])

    by_variable = [strategy.experimental_local_results(gradient) for gradient in run()]
    replicas = zip(*by_variable, strict=True)
    return [np.concatenate([np.ravel(gradient) for gradient in replica]) for replica in replicas]


@pytest.mark.parametrize(("dropout", "least", "most"), [(0.0, 0.0, 0.0), (0.1, 0.9, 1.0)])
def test_replicas_draw_different_masks(dropout, least, most):
    """Of the same rows, both have the same gradient unless they drop different numbers."""
    distiller = distiller_of(2, dropout=dropout)
    first, second = gradients_by_replica(distiller, tiny.batch(0, rows=4))
    matters = (first != 0) | (second != 0)
    assert matters.mean() > 0.5
    assert least <= (first != second)[matters].mean() <= most


@pytest.mark.parametrize("devices", [pytest.param(1, marks=long), pytest.param(2, marks=slow)])
def test_a_rerun_with_dropout_is_identical(devices):
    runs = [fit(distiller_of(devices, dropout=0.1)) for _ in range(2)]
    assert runs[0][0] == runs[1][0]
    np.testing.assert_array_equal(runs[0][1], runs[1][1])


@slow
def test_dropout_was_on():
    _, without = fit(distiller_of(1))
    _, with_dropout = fit(distiller_of(1, dropout=0.1))
    assert np.abs(with_dropout - without).max() > 1e-3


def traced_step(micro_batches, monkeypatch):
    """The graph of a training step on two devices, and what its all-reduces carry, by replica."""
    distiller = distiller_of(2, micro_batches=micro_batches)
    strategy = distiller.distribute_strategy
    carried = []
    all_reduce = tf.distribute.ReplicaContext.all_reduce

    def noted(context, op, value, options=None):
        carried.append(len(tf.nest.flatten(value)))
        return all_reduce(context, op, value, options)

    monkeypatch.setattr(tf.distribute.ReplicaContext, "all_reduce", noted)
    step = tf.function(
        lambda batch: strategy.run(distiller.train_step, args=(batch,)), autograph=False
    )
    batch = tf.nest.map_structure(tf.constant, tiny.batch(0))
    function = step.get_concrete_function(batch)
    return function, carried, len(distiller.trainable_variables)


def collectives(kinds):
    return [kind for kind in kinds if "Collective" in kind or "AllReduce" in kind]


@pytest.mark.parametrize("micro_batches", [1, 4, pytest.param(2, marks=long)])
def test_gradients_are_summed_once_an_update(micro_batches, monkeypatch):
    function, carried, num_variables = traced_step(micro_batches, monkeypatch)
    # The counts of tokens first; then figures and gradients together. Each replica calls.
    assert len(carried) == 4
    assert sum(number >= num_variables for number in carried) == 2
    # All that is exchanged is outside of the loop over micro-batches.
    assert while_body_operations(function) or micro_batches == 1
    assert collectives(while_body_operations(function)) == []
    exchanged = len(collectives([node.op for node in all_nodes(function)]))
    assert exchanged == 2 * 2


@pytest.fixture(scope="module")
def plain():
    return fit(distiller_of(1))


@pytest.fixture(scope="module")
def plain_of_keras():
    return fit(distiller_of(1, sgd))


def test_an_optimizer_of_keras_gives_the_same_on_two_devices(plain_of_keras):
    assert_equal(fit(distiller_of(2, sgd)), plain_of_keras)
    # It is the one that was asked for: the momentum makes itself felt.
    start = tiny.weights(distiller_of(1, sgd).student)
    assert np.abs(plain_of_keras[1] - start).max() > 1e-2


OPTIMIZERS = {
    "clipped": lambda: keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=0.1),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(sgd(), dynamic_growth_steps=2),
    "scaled ours": lambda: keras.optimizers.LossScaleOptimizer(adamw(), dynamic_growth_steps=2),
    "averaged ours": lambda: AdamW(1e-2, epsilon=1e-3, use_ema=True, ema_momentum=0.5),
    "averaged": lambda: keras.optimizers.Adam(1e-2, epsilon=1e-3, use_ema=True, ema_momentum=0.5),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=slow) for n in OPTIMIZERS])
def test_options_of_optimizers_mean_the_same_on_two_devices(name):
    """The global batch's gradient is clipped, as if it had been made on one."""
    assert_equal(*(fit(distiller_of(devices, OPTIMIZERS[name])) for devices in (2, 1)))


@slow
@pytest.mark.parametrize("make_optimizer", [adamw, sgd, OPTIMIZERS["scaled"]])
def test_two_devices_skip_an_update_as_a_whole(make_optimizer):
    distiller = distiller_of(2, make_optimizer)
    fit(distiller, rows(16))
    inner = getattr(distiller.optimizer, "inner_optimizer", distiller.optimizer)
    moments = [v for v in inner.variables if len(v.shape)]
    before = [v.numpy() for v in (*distiller.trainable_variables, *moments)]
    inputs, mask_ids, weights = tiny.batch(3)
    weights[-1] = np.nan  # on the second device alone
    history, _ = fit(distiller, tf.data.Dataset.from_tensors((inputs, mask_ids, weights)))
    assert history["skipped_updates"] == [1.0]
    for variable, value in zip((*distiller.trainable_variables, *moments), before, strict=True):
        for replica in distiller.strategy.experimental_local_results(variable.value):
            np.testing.assert_array_equal(replica.numpy(), value)
    if make_optimizer is OPTIMIZERS["scaled"]:
        assert float(distiller.optimizer.dynamic_scale.numpy()) == 2.0**15  # doubled, then halved


def test_accumulating_on_two_devices_is_refused():
    def make():
        return keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)

    with pytest.raises(UserError, match=r"^SGD accumulates gradients, which Keras cannot do un"):
        fit(distiller_of(2, make))


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Keras, where no end is known
@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=slow)])
def test_any_number_of_steps_at_a_time_sees_every_batch(devices):
    """Seven batches and a smaller one, then three and a part to validate on; also without end."""

    def endless(stream):
        """Hide how many there are."""
        return stream.filter(lambda *_: True)

    found = {}
    for at_once in (1, 3, 10):
        distiller = distiller_of(devices, compile_options={"steps_per_execution": at_once})
        data, held_out = rows(59), rows(29)
        history, weights = fit(distiller, data, validation_data=held_out, epochs=2)
        measured = [
            distiller.evaluate(held_out, verbose=0),
            distiller.evaluate(endless(held_out), verbose=0),
            distiller.evaluate(rows(64).repeat(), steps=4, verbose=0),
            distiller.evaluate(held_out, steps=9, verbose=0),  # of which there are four
        ]
        more, _ = fit(distiller, endless(data))
        assert updates(distiller) == 3 * 8
        found[at_once] = history | {"measured": np.ravel(measured)} | more, weights
    assert_equal(found[3], found[1])
    assert_equal(found[10], found[1])


def test_fit_in_the_users_own_scope_with_validation():
    found = []
    for devices in (1, 2):
        with strategy_of(devices).scope():
            teacher = tiny.model(seed=1, num_layers=1)
            distiller = Distiller(teacher, build_student(teacher, num_layers=1))
            distiller.compile(adamw())
            found.append(fit(distiller, rows(16), validation_data=rows(12), epochs=2))
    assert_equal(*found)
    assert len(found[0][0]["val_distillation_loss"]) == 2


@pytest.mark.parametrize("number", [pytest.param(19, marks=long), 9])
@pytest.mark.parametrize("make_optimizer", [adamw, pytest.param(sgd, marks=long)])
def test_a_smaller_last_batch_gives_the_same_on_two_devices(number, make_optimizer):
    """With 9 rows, one of the devices has none of the last batch."""
    found = []
    for devices in (1, 2):
        distiller = distiller_of(devices, make_optimizer)
        found.append(fit(distiller, rows(number), validation_data=rows(number)))
        assert updates(distiller) == -(-number // 8)
    assert_equal(*found)


@pytest.mark.parametrize("length", [0, None])
def test_no_tokens_add_nothing(length):
    """The shape may be known, or not; a replica without rows has the latter."""

    def differentiate(hidden, weights):
        table, bias = tf.ones((7, 4)), tf.zeros((7,))
        student, teacher = (Projection(hidden, table, bias) for _ in range(2))
        with tf.GradientTape() as tape:
            tape.watch([hidden, table])
            ids = tf.cast(weights, "int32")
            total, values = vocabulary_loss(student, teacher, ids, TokenWeights(mlm=weights))
        return total, values, tape.gradient(total, [hidden, table])

    shapes = [tf.TensorSpec((length, 4)), tf.TensorSpec((length,))]
    function = tf.function(differentiate, input_signature=shapes, autograph=False)
    total, values, gradients = function(tf.zeros((0, 4)), tf.zeros((0,)))
    assert float(total) == 0 and values["mlm_loss"].shape == (0,)
    assert gradients[0].shape == (0, 4)
    np.testing.assert_array_equal(gradients[1], np.zeros((7, 4)))
