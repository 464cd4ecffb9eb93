"""One result on any number of devices: losses, clipping, metrics, weights."""

import numpy as np
import pytest
import tensorflow as tf

from support import tiny
from support.devices import strategy_of
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.student import build_student
from tf_distilbert.training.optimizer import AdamW, WarmupThenDecay

UPDATES = 20
ROWS = 8


def batches():
    """Rows of very different lengths: no two parts of a batch have as many tokens."""
    parts = [tf.data.Dataset.from_tensors(tiny.batch(seed, rows=ROWS)) for seed in range(UPDATES)]
    stream = parts[0]
    for part in parts[1:]:
        stream = stream.concatenate(part)
    return stream


def distiller_of(strategy, micro_batches=1, dropout=0.0, optimizer=None, **compile_options):
    with strategy.scope():
        teacher = tiny.model(seed=1)
        student = build_student(tiny.model(seed=1, dropout=dropout), num_layers=2)
        distiller = Distiller(
            teacher, student, micro_batches=micro_batches, mse_weight=1e-3, seed=5
        )
        # A larger epsilon, as in test_trainer: the keys' biases have no gradient but rounding.
        schedule = WarmupThenDecay(1e-2, 3, UPDATES + 1)
        optimizer = optimizer or AdamW(schedule, epsilon=1e-4, weight_decay=0.1, clip_norm=0.5)
        distiller.compile(optimizer, **compile_options)
    return distiller


def train(devices=1, micro_batches=1, **options):
    """The figures of each of 20 updates, of a validation, and the weights."""
    distiller = distiller_of(strategy_of(devices), micro_batches, **options)
    history = distiller.fit(batches(), steps_per_epoch=1, epochs=UPDATES, verbose=0).history
    del history["tokens_per_second"]
    held_out = tf.data.Dataset.from_tensors(tiny.batch(100, rows=ROWS))
    figures = distiller.evaluate(held_out, verbose=0, return_dict=True)
    return history | {f"val_{n}": [v] for n, v in figures.items()}, tiny.weights(distiller.student)


@pytest.fixture(scope="module")
def plain():
    return train()


def assert_equal(found, expected, atol=1e-6):
    (history, weights), (plain_history, plain_weights) = found, expected
    np.testing.assert_allclose(weights, plain_weights, rtol=0, atol=atol)
    assert history.keys() == plain_history.keys()
    for name, values in plain_history.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-6, atol=1e-6, err_msg=name)


long = pytest.mark.long


@pytest.mark.parametrize(
    ("devices", "micro_batches"),
    [
        (2, 2),
        *(pytest.param(*p, marks=long) for p in ((2, 1), (4, 1), (2, 4), (4, 2))),
    ],
)
def test_devices_and_micro_batches_give_the_same_updates(plain, devices, micro_batches):
    assert_equal(train(devices, micro_batches), plain)


def test_the_clipping_had_something_to_clip(plain):
    norms = np.array(plain[0]["gradient_norm"])
    assert (norms > 0.5).any()
