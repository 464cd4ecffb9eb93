"""float16 learns what float32 learns: the loss is scaled, and the scale follows overflows."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import optimizers

from support import tiny
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.student import build_student
from tf_distilbert.models.encoder import MASKED_SCORE
from tf_distilbert.training.optimizer import AdamW


@pytest.fixture(autouse=True)
def float32_again():
    yield
    keras.config.set_dtype_policy("float32")


def distiller_of(policy, optimizer, **options):
    keras.config.set_dtype_policy(policy)
    teacher = tiny.model(seed=1, num_layers=2)
    student = build_student(tiny.model(seed=2, num_layers=2), num_layers=1)
    distiller = Distiller(teacher, student, seed=1, **options)
    distiller.compile(optimizer, jit_compile=False)
    return distiller


def fit(distiller, number=1, make=tiny.batch):
    """Give the logs of each step."""
    logs = []
    for seed in range(number):
        history = distiller.fit(tf.data.Dataset.from_tensors(make(seed)), verbose=0).history
        logs.append({name: values[0] for name, values in history.items()})
    return logs


@pytest.mark.parametrize(
    ("length", "micro_batches"),
    [
        (0.05, 1),
        *(pytest.param(*p, marks=pytest.mark.slow) for p in ((None, 1), (None, 4), (0.05, 4))),
    ],
)
def test_a_step_of_sgd_moves_the_weights_as_in_float32(length, micro_batches):
    """The gradient is clipped without its scale."""
    moved = {}
    for policy in ("float32", "mixed_float16"):
        optimizer = optimizers.SGD(0.5, global_clipnorm=length)
        distiller = distiller_of(policy, optimizer, micro_batches=micro_batches)
        before = tiny.weights(distiller.student)
        [logs] = fit(distiller)
        assert logs["skipped_updates"] == 0
        moved[policy] = tiny.weights(distiller.student) - before
        gradient_norm = min(logs["gradient_norm"], length or np.inf)
        assert np.linalg.norm(moved[policy]) == pytest.approx(0.5 * gradient_norm, rel=1e-3)
    error = np.linalg.norm(moved["mixed_float16"] - moved["float32"])
    assert 0 < error < 0.01 * np.linalg.norm(moved["float32"])


def test_fifty_updates_have_the_losses_of_float32():
    losses = {}
    for policy in ("float32", "mixed_float16"):
        distiller = distiller_of(policy, AdamW(5e-3, clip_norm=1.0))
        stream = tf.data.Dataset.from_tensor_slices(
            tf.nest.map_structure(lambda *p: np.stack(p), *(tiny.batch(i % 5) for i in range(50)))
        )
        history = distiller.fit(stream, steps_per_epoch=1, epochs=50, verbose=0).history
        assert sum(history["skipped_updates"]) == 0
        losses[policy] = np.array(history["loss"])
    assert losses["float32"][-1] < 0.7 * losses["float32"][0]
    np.testing.assert_allclose(losses["mixed_float16"], losses["float32"], rtol=0.01)


def test_an_overflow_is_skipped_counted_and_halves_the_scale():
    """By hand: three good steps double the scale, one that overflows halves it."""
    inner = AdamW(1e-3)
    optimizer = optimizers.LossScaleOptimizer(inner, initial_scale=2.0**24, dynamic_growth_steps=3)
    distiller = distiller_of("mixed_float16", optimizer)
    scale, weights, skipped, good = 2.0**24, tiny.weights(distiller.student), [], 0
    for _ in range(24):
        [logs] = fit(distiller)
        now = tiny.weights(distiller.student)
        if logs["skipped_updates"]:
            np.testing.assert_array_equal(now, weights)
            scale, good = scale / 2, 0
        else:
            assert np.abs(now - weights).max() > 0
            good += 1
            if good == 3:
                scale, good = scale * 2, 0
        weights = now
        skipped.append(logs["skipped_updates"])
        assert float(optimizer.dynamic_scale.numpy()) == scale
        assert int(optimizer.step_counter.numpy()) == good
    # It overflows until the scale is low enough, and again each time it has grown.
    assert skipped[0] == 1 and 0 in skipped and 1 in skipped[skipped.index(0) :]
    assert int(inner.iterations.numpy()) == 24


def packed_or_padded(seed, kind):
    inputs, mask_ids, weights = tiny.batch(seed)
    if kind == "padded":  # a row of padding alone
        inputs["padding_mask"][2] = False
        weights[2] = 0
    if kind == "packed":
        halves = np.repeat([[0, 1]], 8, 0).repeat(8, 1).astype("int32")
        positions = np.tile(np.arange(8), (8, 2)).astype("int32")
        inputs |= {"sequence_ids": halves, "position_ids": positions}
    return inputs, mask_ids, weights


@pytest.mark.parametrize("kind", ["padded", pytest.param("packed", marks=pytest.mark.slow)])
def test_rows_of_padding_and_packed_rows_stay_finite(kind):
    assert abs(MASKED_SCORE) > float(np.finfo("float16").max)  # as a float16 it would make NaNs
    found = {}
    for policy in ("float32", "mixed_float16"):
        distiller = distiller_of(policy, AdamW(1e-3))
        found[policy] = fit(distiller, make=lambda seed: packed_or_padded(seed, kind))[0]
        assert found[policy]["skipped_updates"] == 0
    for name in ("loss", "gradient_norm"):
        assert found["mixed_float16"][name] == pytest.approx(found["float32"][name], rel=0.01)


def test_the_loss_is_scaled_where_the_student_computes_in_float16_whatever_the_policy():
    distiller = distiller_of("mixed_float16", AdamW(1e-3))
    keras.config.set_dtype_policy("float32")
    again = Distiller(distiller._teacher(), distiller.student)
    again.compile(AdamW(1e-3), jit_compile=False)
    assert isinstance(again.optimizer, optimizers.LossScaleOptimizer)
    plain = distiller_of("float32", AdamW(1e-3))
    assert isinstance(plain.optimizer, AdamW)


def test_a_scale_that_is_switched_off_stays_off():
    distiller = distiller_of("mixed_float16", AdamW(1e-3))
    distiller.compile(AdamW(1e-3), auto_scale_loss=False)
    assert isinstance(distiller.optimizer, AdamW)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_of_16_bits_are_not_trained(dtype):
    with pytest.raises(ValueError, match=f"student are {dtype}, .*make it under .*mixed_{dtype}"):
        fit(distiller_of(dtype, AdamW(1e-3)))
