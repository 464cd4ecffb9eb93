"""What a batch must be: everything else is refused in one line, before the first step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from support import reference, tiny
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.pretrainer import MaskedLMPretrainer
from tf_distilbert.distillation.student import build_student
from tf_distilbert.errors import UserError
from tf_distilbert.training.optimizer import AdamW


def trainer(**options):
    made = MaskedLMPretrainer(tiny.model(num_layers=1), **options)
    made.compile(AdamW(1e-3), jit_compile=False)
    return made


def without(name):
    inputs, mask_ids, weights = tiny.batch()
    return {key: value for key, value in inputs.items() if key != name}, mask_ids, weights


def changed(**inputs):
    before, mask_ids, weights = tiny.batch()
    return before | inputs, mask_ids, weights


BROKEN = {
    "no weights": (tiny.batch()[:2], r"a batch has 2 parts; it must be \(inputs, targets, weights"),
    "inputs alone": ((tiny.batch()[0],), "a batch has 1 part; it must be"),
    "no dictionary": ((tiny.batch()[0]["token_ids"], *tiny.batch()[1:]), "give a dictionary$"),
    "no mask": (without("padding_mask"), "inputs have no padding_mask; they must have token_ids, "),
    "no positions": (without("mask_positions"), "inputs have no mask_positions; they must have "),
    "too long": (tiny.batch(length=64), "sequences of 64 tokens, the model has 32 positions; cut"),
    "fractions": (
        changed(token_ids=tiny.batch()[0]["token_ids"].astype("float32")),
        "token_ids are float32; they must be whole numbers$",
    ),
    "another mask": (
        changed(padding_mask=np.ones((8, 7), bool)),
        r"padding_mask have shape \[8, 7\], its token_ids \[8, 16\]; there must be one for each$",
    ),
    "other slots": (
        changed(mask_positions=np.ones((8, 2), "int32")),
        r"mask_positions have shape \[8, 2\], its targets \[8, 3\]; there must be one for each$",
    ),
    "a weight a row": (
        (*tiny.batch()[:2], np.ones(8, "float32")),
        r"weights have shape \[8\], its targets \[8, 3\]; there must be one for each$",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_it_is_refused_in_one_line(name):
    batch, message = BROKEN[name]
    data = tf.data.Dataset.from_tensors(batch)
    for method in (trainer().fit, trainer().evaluate):
        with pytest.raises(UserError, match=message) as caught:
            method(data, verbose=0)
        assert "\n" not in str(caught.value)


def of_any_length(batch):
    """The same, of which the graph does not know the lengths."""
    rows = tf.data.Dataset.from_tensor_slices(batch)
    shapes = {"token_ids": [None], "padding_mask": [None], "mask_positions": [None]}
    return rows.padded_batch(8, padded_shapes=(shapes, [None], [None]))


def test_a_length_that_is_known_only_as_it_runs_is_refused_then():
    message = (
        "^a batch has longer sequences than the model; the model has 32 positions; cut them to"
    )
    with pytest.raises(UserError, match=message) as caught:
        trainer().fit(of_any_length(tiny.batch(length=40)), verbose=0)
    assert str(caught.value).endswith("32 tokens at most")


@pytest.mark.parametrize("place", [4, -1, 16])
@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_token_in_two_slots_or_in_none_is_refused(place, jit_compile):
    """Compiled code cannot raise: there the update is skipped."""
    inputs, mask_ids, weights = tiny.batch()
    inputs["mask_positions"][3] = [4, 5, place]
    weights[3] = 1.0
    teacher = tiny.model(num_layers=2)
    distiller = Distiller(teacher, build_student(teacher, num_layers=1))
    distiller.compile(AdamW(1e-3), jit_compile=jit_compile)
    if jit_compile:
        data = tf.data.Dataset.from_tensors((inputs, mask_ids, weights))
        assert distiller.fit(data, verbose=0).history["skipped_updates"] == [1.0]
        return
    with pytest.raises(
        UserError, match=r"^a batch has mask_positions outside of the sequence, or one twice"
    ):
        distiller.fit(tf.data.Dataset.from_tensors((inputs, mask_ids, weights)), verbose=0)


@pytest.mark.parametrize(
    "option", ["loss", "metrics", "loss_weights", "weighted_metrics", "anything"]
)
def test_what_compile_would_ignore_is_refused(option):
    message = f"^MaskedLMPretrainer.compile does not take {option}: losses and metrics are its own"
    with pytest.raises(UserError, match=message):
        trainer().compile(AdamW(1e-3), **{option: "mse"})


def test_micro_batches_take_batches_of_variable_length():
    """As `padded_batch` makes them; with the same figures and weights as in one."""
    batches = [tiny.batch(0, length=16), tiny.batch(1, length=12)]
    stream = of_any_length(batches[0]).concatenate(of_any_length(batches[1]))
    results = []
    for micro_batches in (1, 4):
        made = trainer(micro_batches=micro_batches)
        history = made.fit(stream, verbose=0).history
        results.append((history["loss"], history["gradient_norm"], tiny.weights(made.model)))
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_micro_batches_of_a_number_of_rows_known_only_as_it_runs():
    data = tf.data.Dataset.from_tensor_slices(tiny.batch(rows=7)).batch(7)
    with pytest.raises(UserError, match=r"^a batch cannot be split into 2 micro-batches; use a m"):
        trainer(micro_batches=2).fit(data, verbose=0)


def fractional(seed=0):
    inputs, mask_ids, _ = tiny.batch(seed)
    weights = np.random.default_rng(seed).choice([0.0, 0.25, 0.5, 1.0, 2.0], mask_ids.shape)
    return inputs, mask_ids, weights.astype("float32")


def logits_at_slots(model, batch):
    return np.array(model(batch[0]), np.float64)


def test_fractional_weights_are_a_weighted_mean():
    """Against float64: sum of weight times value, over the sum of the weights."""
    batch = fractional()
    made = trainer()
    found = made.evaluate(tf.data.Dataset.from_tensors(batch), verbose=0, return_dict=True)
    logits = logits_at_slots(made.model, batch)
    losses = reference.masked_lm_loss(logits, batch[1])
    right = logits.argmax(-1) == batch[1]
    assert found["mlm_loss"] == pytest.approx(np.average(losses, weights=batch[2]), rel=1e-5)
    assert found["mlm_accuracy"] == pytest.approx(np.average(right, weights=batch[2]), rel=1e-5)


@pytest.mark.parametrize("positions", ["all", "masked"])
def test_so_they_are_in_every_term_of_a_distillation(positions):
    """A weight of 2 is two tokens of weight 1: what is common to both cancels in the mean."""
    inputs, mask_ids, _ = tiny.batch()
    weights = np.array([[1, 0.5, 0]] * 8, "float32")
    teacher = tiny.model(seed=1, num_layers=2)
    figures = []
    for scale in (1.0, 0.125):
        student = build_student(tiny.model(seed=2, num_layers=2), num_layers=1)
        made = Distiller(teacher, student, mse_weight=1e-3, distillation_positions=positions)
        made.compile(keras.optimizers.SGD(0.1), jit_compile=False)
        data = tf.data.Dataset.from_tensors((inputs, mask_ids, weights * np.float32(scale)))
        history = made.fit(data, verbose=0).history
        figures.append(
            [history[name][0] for name in sorted(history.keys() - {"tokens_per_second"})]
        )
        figures[-1] += tiny.weights(student).tolist()
    np.testing.assert_allclose(figures[0], figures[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "precisions", [("mixed_bfloat16", "float32"), ("float32", "mixed_float16")]
)
def test_teacher_and_student_may_compute_in_different_precisions(precisions):
    """Each term comes close to what it is in float32."""
    found = []
    for policies in (precisions, ("float32", "float32")):
        models = []
        for policy, seed in zip(policies, (1, 2), strict=True):
            model = tiny.model(seed=seed, num_layers=2)
            copy = type(model)(model.architecture, model.tokenizer, dtype=policy)
            copy.set_weights(model.get_weights())
            models.append(copy)
        made = Distiller(*models, mse_weight=1e-3)
        made.compile(AdamW(1e-3), jit_compile=False)
        found.append(made.fit(tf.data.Dataset.from_tensors(tiny.batch()), verbose=0).history)
    for name in ("distillation_loss", "mlm_loss", "cosine_loss", "mse_loss", "gradient_norm"):
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=0.03, err_msg=name)
    assert found[0]["distillation_loss"] != found[1]["distillation_loss"]


def test_slots_that_are_not_in_use_may_point_anywhere():
    inputs, mask_ids, weights = tiny.batch()
    weights[:, 2] = 0.0
    losses = []
    for place in (1, -1, 99):
        inputs["mask_positions"][:, 2] = place
        data = tf.data.Dataset.from_tensors((inputs, mask_ids, weights))
        losses.append(trainer().fit(data, verbose=0).history["loss"])
    assert losses[0] == losses[1] == losses[2]


def test_a_student_that_is_its_teacher_is_refused():
    model = tiny.model(num_layers=1)
    distiller = Distiller(model, model)
    distiller.compile(AdamW(1e-3), jit_compile=False)
    with pytest.raises(UserError, match="shares weights with its teacher; use build_student"):
        distiller.fit(tf.data.Dataset.from_tensors(tiny.batch()), verbose=0)


def test_what_is_trained_must_be_what_was_compiled():
    data = tf.data.Dataset.from_tensors(tiny.batch())
    made = trainer()
    made.model.encoder.trainable = False
    with pytest.raises(UserError, match="not those that the optimizer was made for; call compile"):
        made.fit(data, verbose=0)
    with pytest.raises(UserError, match="not those that the optimizer was made for; call compile"):
        trainer().compile(made.optimizer)
    made.compile(AdamW(1e-3), jit_compile=False)
    before = made.model.encoder.token_table.numpy()
    made.fit(data, verbose=0)
    np.testing.assert_array_equal(made.model.encoder.token_table.numpy(), before)
    made.model.trainable = False
    made.compile(AdamW(1e-3), jit_compile=False)
    with pytest.raises(UserError, match="has no trainable weights; set trainable, and compile"):
        made.fit(data, verbose=0)


def test_arguments_may_be_given_by_place_as_in_keras():
    made, seen = trainer(), []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    data = tf.data.Dataset.from_tensors(tiny.batch())
    made.fit(data, None, None, 2, 0, [note])
    assert seen == [0, 1]
    assert made.evaluate(data, None, None, 0, None, 1)[0] > 0
    assert made.test_on_batch(*tiny.batch())[0] > 0  # after an evaluation of some steps
