"""The losses of single tokens: by hand, against the float64 reference, in extreme cases."""

import numpy as np
import pytest
import tensorflow as tf

from support import reference
from support.loss_checks import (
    BERT_VOCABULARY_SIZE,
    LOSSES,
    TEMPERATURE,
    TOLERANCE,
    assert_close,
    assert_matches_reference,
    call,
    distillation,
    every_loss,
    every_teacher_loss,
    gradient_scale,
    make_inputs,
    value_and_gradient,
    value_scale,
)
from tf_distilbert.losses import per_token


@every_loss
def test_reference_gradient_is_the_slope_of_the_reference(name):
    loss = LOSSES[name]
    student, target = make_inputs(name, (3, 7))
    direction = np.random.default_rng(1).standard_normal(student.shape)
    step = 1e-5 * direction
    slope = (loss.expected(student + step, target) - loss.expected(student - step, target)) / 2e-5
    gradient = loss.expected_gradient(student, target)
    np.testing.assert_allclose((gradient * direction).sum(axis=-1), slope, rtol=1e-7, atol=1e-9)


def test_reference_top1():
    student = np.array([[9.0, 1, 2], [1, 2, 3], [5, 6, 0], [0, 0, 7]])
    teacher = np.array([[1.0, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]])
    mask = np.array([1, 1, 1, 0])
    assert reference.top1_accuracy(student, [0, 2, 0, 2], mask) == 2 / 3
    assert reference.top1_agreement(student, teacher, mask) == 2 / 3


# Numbers computed by hand.

LN2, LN3 = np.log(2), np.log(3)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 8.0])
def test_distillation_loss_by_hand(temperature, compiled):
    # Teacher (3/4, 1/4) at this temperature, student (1/2, 1/2): teacher first in the divergence.
    teacher = np.array([[temperature * LN3, 0.0]], np.float32)
    student = np.array([[5.0, 5.0]], np.float32)
    loss = distillation(temperature)
    value, gradient = value_and_gradient(loss.function, student, teacher, compiled=compiled)
    divergence = 0.75 * np.log(0.75 / 0.5) + 0.25 * np.log(0.25 / 0.5)
    np.testing.assert_allclose(value, [temperature**2 * divergence], rtol=2e-6)
    np.testing.assert_allclose(gradient, [[-temperature / 4, temperature / 4]], rtol=1e-6)


def test_masked_lm_loss_by_hand(compiled):
    logits = np.array([[[LN3, 0.0], [LN3, 0.0], [4.0, 4.0]]], np.float32)
    token_ids = np.array([[0, 1, 1]], np.int32)
    value, gradient = value_and_gradient(
        per_token.masked_lm_loss, logits, token_ids, compiled=compiled
    )
    np.testing.assert_allclose(value, [[2 * LN2 - LN3, 2 * LN2, LN2]], rtol=1e-6)
    expected = [[[-0.25, 0.25], [0.75, -0.75], [0.5, -0.5]]]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_cosine_loss_by_hand(compiled):
    student = np.array([[1, 0], [2, 0], [3, 4], [0, 5]], np.float32)
    teacher = np.array([[1, 1], [-7, 0], [3, 4], [2, 0]], np.float32)
    value, gradient = value_and_gradient(per_token.cosine_loss, student, teacher, compiled=compiled)
    np.testing.assert_allclose(value, [1 - np.sqrt(0.5), 2, 0, 1], atol=1e-6)
    expected = [[0, -np.sqrt(0.5)], [0, 0], [0, 0], [-0.2, 0]]
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_logits_mse_loss_by_hand(compiled):
    student = np.array([[1, 2], [3, 3]], np.float32)
    teacher = np.array([[0, 4], [3, 3]], np.float32)
    value, gradient = value_and_gradient(
        per_token.logits_mse_loss, student, teacher, compiled=compiled
    )
    np.testing.assert_array_equal(value, [5, 0])
    np.testing.assert_array_equal(gradient, [[2, -4], [0, 0]])


# Against the reference.


@pytest.mark.parametrize("vocabulary_size", [2, 101, BERT_VOCABULARY_SIZE])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 8.0])
def test_distillation_loss_matches_reference(vocabulary_size, temperature, compiled):
    student, teacher = make_inputs("distillation", (2, 3, vocabulary_size))
    assert_matches_reference("distillation", student, teacher, temperature, compiled=compiled)


@pytest.mark.parametrize("size", [2, 101, BERT_VOCABULARY_SIZE])
@pytest.mark.parametrize("name", ["masked_lm", "cosine", "logits_mse"])
def test_loss_matches_reference(name, size, compiled):
    student, target = make_inputs(name, (2, 3, size))
    assert_matches_reference(name, student, target, compiled=compiled)


@every_loss
@pytest.mark.parametrize("leading_shape", [(), (5,), (2, 3, 2)])
def test_any_leading_shape(name, leading_shape):
    student, target = make_inputs(name, (*leading_shape, 11))
    assert_matches_reference(name, student, target)


@pytest.mark.parametrize("token_id_type", [np.int32, np.int64])
def test_masked_lm_loss_takes_either_integer_type(token_id_type, compiled):
    student, token_ids = make_inputs("masked_lm", (2, 3, 11))
    assert_matches_reference(
        "masked_lm", student, token_ids.astype(token_id_type), compiled=compiled
    )


# Identities.


@every_teacher_loss
def test_zero_value_and_gradient_when_student_equals_teacher(name, compiled):
    student, _ = make_inputs(name, (2, 3, 1000))
    value, gradient = value_and_gradient(LOSSES[name].function, student, student, compiled=compiled)
    assert_close(value, np.zeros((2, 3)), value_scale(name, student, student))
    assert_close(gradient, np.zeros_like(student), gradient_scale(name, student, student))


@pytest.mark.parametrize("name", ["distillation", "masked_lm"])
def test_adding_a_constant_to_the_logits_changes_nothing(name, compiled):
    student, target = make_inputs(name, (2, 3, 101))
    student = np.round(student * 1024) / 1024  # so that adding 64 is exact in float32
    constants = np.array([[64], [-64], [0]], np.float32)
    value, gradient = value_and_gradient(LOSSES[name].function, student, target, compiled=compiled)
    shifted_value, shifted_gradient = value_and_gradient(
        LOSSES[name].function, student + constants, target, compiled=compiled
    )
    assert_close(shifted_value, value, value_scale(name, student, target))
    assert_close(shifted_gradient, gradient, gradient_scale(name, student, target))
    # The same fact as a derivative: the gradient over the vocabulary sums to zero.
    assert_close(gradient.sum(axis=-1), np.zeros((2, 3)), 2 * TEMPERATURE)


def test_adding_a_constant_to_the_teacher_logits_changes_nothing():
    student, teacher = make_inputs("distillation", (2, 3, 101))
    teacher = np.round(teacher * 1024) / 1024
    function = LOSSES["distillation"].function
    value, gradient = value_and_gradient(function, student, teacher)
    shifted_value, shifted_gradient = value_and_gradient(function, student, teacher + 64)
    assert_close(shifted_value, value, value_scale("distillation", student, teacher))
    assert_close(shifted_gradient, gradient, gradient_scale("distillation", student, teacher))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 8.0])
def test_distillation_gradient_is_temperature_times_probability_difference(temperature, compiled):
    student, teacher = make_inputs("distillation", (2, 3, 101))
    function = distillation(temperature).function
    _, gradient = value_and_gradient(function, student, teacher, compiled=compiled)
    probabilities = [tf.nn.softmax(logits / temperature).numpy() for logits in (student, teacher)]
    expected = temperature * (probabilities[0] - probabilities[1])
    assert_close(gradient, expected, gradient_scale("distillation", student, teacher, temperature))


@pytest.mark.parametrize("factors", [(1000.0, 1.0), (1.0, 0.001), (0.01, 300.0)])
def test_cosine_loss_ignores_the_length_of_the_vectors(factors):
    student, teacher = make_inputs("cosine", (2, 3, 768))
    value = call(per_token.cosine_loss, student, teacher)
    student, teacher = np.float32(factors[0]) * student, np.float32(factors[1]) * teacher
    assert_close(call(per_token.cosine_loss, student, teacher), value, 1.0)
    assert_matches_reference("cosine", student, teacher)


# Difficult numbers.


@pytest.mark.parametrize("name", ["distillation", "masked_lm", "logits_mse"])
@pytest.mark.parametrize("size", [1e3, 1e4])
def test_extreme_logits(name, size, compiled):
    student = size * np.array([[1, -1, 0], [1, -1, -1], [-1, -1, -1], [1, 1, 1], [1, -1, 0]])
    teacher = size * np.array([[-1, 1, 0], [1, -1, -1], [1, -1, -1], [-1, 1, 1], [0, 0, 0]])
    target = np.array([1, 0, 2, 1, 2]) if name == "masked_lm" else teacher.astype(np.float32)
    assert_matches_reference(name, student.astype(np.float32), target, compiled=compiled)


@every_loss
def test_bfloat16_inputs_are_computed_in_float32(name, compiled):
    student, target = make_inputs(name, (2, 3, 1000))
    student = tf.cast(student, tf.bfloat16)
    target = tf.constant(target) if name == "masked_lm" else tf.cast(target, tf.bfloat16)
    value, gradient = value_and_gradient(LOSSES[name].function, student, target, compiled=compiled)
    student = student.numpy().astype(np.float32)
    target = target.numpy() if name == "masked_lm" else target.numpy().astype(np.float32)
    expected = LOSSES[name].expected(student, target)
    assert_close(value, expected, value_scale(name, student, target))
    # The gradient is rounded once, to the type of the input: half a unit in bfloat16's last place.
    expected_gradient = LOSSES[name].expected_gradient(student, target)
    rounding = 2.0**-8 * np.abs(expected_gradient)  # 8 significant bits
    allowed = rounding + TOLERANCE * gradient_scale(name, student, target)
    assert (np.abs(gradient - expected_gradient) <= allowed).all()


@every_teacher_loss
def test_bfloat16_teacher_with_float32_student(name, compiled):
    student, teacher = make_inputs(name, (2, 3, 101))
    teacher = tf.cast(teacher, tf.bfloat16)
    value, _ = value_and_gradient(LOSSES[name].function, student, teacher, compiled=compiled)
    teacher = teacher.numpy().astype(np.float32)
    expected = LOSSES[name].expected(student, teacher)
    assert_close(value, expected, value_scale(name, student, teacher))


def test_cosine_loss_of_zero_vectors(compiled):
    student = np.array([[0, 0, 0], [1, 2, 2], [0, 0, 0]], np.float32)
    teacher = np.array([[1, 2, 2], [0, 0, 0], [0, 0, 0]], np.float32)
    value, gradient = value_and_gradient(per_token.cosine_loss, student, teacher, compiled=compiled)
    np.testing.assert_array_equal(value, [1, 1, 1])
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[1:], np.zeros((2, 3)))
