"""One update is a function of the whole batch, however it is split and compiled."""

import numpy as np
import pytest
import tensorflow as tf

from support import tiny
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.pretrainer import MaskedLMPretrainer
from tf_distilbert.distillation.student import build_student
from tf_distilbert.errors import UserError
from tf_distilbert.training.optimizer import AdamW

UPDATES = 6


def train(micro_batches=1, clip_norm=0.5, **compile_options):
    """Six updates on rows of very different lengths; the figures of each, and the weights."""
    teacher = tiny.model(seed=1)
    student = build_student(teacher, num_layers=2)
    distiller = Distiller(teacher, student, micro_batches=micro_batches)
    # The bias of the keys cancels in the softmax. Its gradient is nothing but rounding, which Adam
    # would blow up to the size of a real one; a larger epsilon keeps it small. What XLA rounds
    # otherwise grows with the rate: at 1e-2 it comes to 1e-6, at 2e-3 to a fifth of that.
    optimizer = AdamW(2e-3, epsilon=1e-4, weight_decay=0.1, clip_norm=clip_norm)
    distiller.compile(optimizer, **compile_options)
    batches = tf.data.Dataset.from_tensors(tiny.batch(0))
    for seed in range(1, UPDATES):
        batches = batches.concatenate(tf.data.Dataset.from_tensors(tiny.batch(seed)))
    history = distiller.fit(batches, steps_per_epoch=1, epochs=UPDATES, verbose=0).history
    del history["tokens_per_second"]
    return history, tiny.weights(student)


@pytest.mark.parametrize(
    ("micro_batches", "jit_compile"),
    [
        (2, True),
        pytest.param(4, False, marks=pytest.mark.slow),
        *(
            pytest.param(*options, marks=pytest.mark.long)
            for options in ((1, True), (2, False), (4, True), (8, False), (8, True))
        ),
    ],
)
def test_micro_batches_and_xla_give_the_same_update(micro_batches, jit_compile):
    plain, plain_weights = train()
    history, weights = train(micro_batches, jit_compile=jit_compile)
    np.testing.assert_allclose(weights, plain_weights, rtol=0, atol=1e-6)
    for name, values in plain.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_mean_of_means_would_differ():
    """The test above would pass for nothing if all rows had the same number of tokens."""
    inputs, _, mask_weights = tiny.batch(0)
    halves = inputs["padding_mask"].reshape(2, -1).sum(1), mask_weights.reshape(2, -1).sum(1)
    assert halves[0][0] != halves[0][1] and halves[1][0] != halves[1][1]


def test_the_share_of_padding_is_that_of_all_places():
    batches = [tiny.batch(0, length=16), tiny.batch(1, length=8)]  # a fine-tuning's differ, too
    masks = [inputs["padding_mask"] for inputs, _, _ in batches]
    assert masks[0].mean() != masks[1].mean()
    trainer = MaskedLMPretrainer(tiny.model())
    trainer.compile(AdamW(1e-3))
    for batch in batches:
        shown = trainer.train_step(tf.nest.map_structure(tf.constant, batch))
    share = 1 - sum(mask.sum() for mask in masks) / sum(mask.size for mask in masks)
    assert float(shown["padding_share"]) == pytest.approx(share, rel=1e-6)


def test_clipping_scales_the_whole_gradient():
    model = tiny.model()
    trainer = MaskedLMPretrainer(model)
    batch = tf.data.Dataset.from_tensors(tiny.batch())
    trainer.compile(AdamW(1.0, clip_norm=None))
    norm = trainer.fit(batch, verbose=0).history["gradient_norm"][0]
    velocities = {}
    for clip_norm in (None, norm / 2, norm * 2):
        trainer = MaskedLMPretrainer(tiny.model())
        trainer.compile(AdamW(1.0, clip_norm=clip_norm))
        trainer.fit(batch, verbose=0)
        moments = trainer.optimizer._momentums
        velocities[clip_norm] = np.concatenate([np.ravel(m.value) for m in moments])
    np.testing.assert_allclose(velocities[norm / 2], velocities[None] / 2, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(velocities[norm * 2], velocities[None], rtol=1e-4, atol=1e-9)


def test_pretraining_learns_a_fixed_batch():
    trainer = MaskedLMPretrainer(tiny.model())
    trainer.compile(AdamW(1e-2))
    batch = tf.data.Dataset.from_tensors(tiny.batch()).repeat(60)
    history = trainer.fit(batch, steps_per_epoch=30, epochs=2, verbose=0).history
    assert history["mlm_loss"][1] < 0.5 * history["mlm_loss"][0]


def test_mixed_bfloat16_keeps_float32_weights_and_comes_close():
    import keras

    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        history, weights = train()
    finally:
        keras.config.set_dtype_policy("float32")
    plain, plain_weights = train()
    assert weights.dtype == np.float32
    np.testing.assert_allclose(history["loss"], plain["loss"], rtol=2e-2)
    assert np.corrcoef(weights, plain_weights)[0, 1] > 0.999


def test_a_batch_that_cannot_be_split_is_refused():
    trainer = MaskedLMPretrainer(tiny.model(), micro_batches=3)
    trainer.compile(AdamW(1e-3))
    with pytest.raises(UserError, match="8 sequences cannot be split into 3 micro-batches"):
        trainer.fit(tf.data.Dataset.from_tensors(tiny.batch()), verbose=0)


def test_steps_that_are_no_whole_number_of_executions_are_refused():
    trainer = MaskedLMPretrainer(tiny.model())
    trainer.compile(AdamW(1e-3), steps_per_execution=2)
    batches = tf.data.Dataset.from_tensors(tiny.batch()).repeat()
    with pytest.raises(UserError, match="steps_per_execution is 2, but steps_per_epoch is 3"):
        trainer.fit(batches, steps_per_epoch=3, verbose=0)
