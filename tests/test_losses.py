"""Contract of the losses, against hand-computed numbers and the float64 reference.

Tolerance everywhere: 1e-6 of the size of the terms that float32 has to add up (`scale`), which is
about eight units in the last place. Where a loss is a small difference of large logarithms, that is
the accuracy float32 can promise; it is not a share of the loss itself.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import reference
import tensorflow as tf

from tf_distilbert import losses

TOLERANCE = 1e-6
BERT_VOCABULARY_SIZE = 30522
TEMPERATURE = 2.0


class Loss(NamedTuple):
    """A loss under test with its reference; all three take (student, target)."""

    function: Callable
    expected: Callable
    expected_gradient: Callable


def distillation(temperature):
    return Loss(
        functools.partial(losses.distillation_loss, temperature=temperature),
        functools.partial(reference.distillation_loss, temperature=temperature),
        functools.partial(reference.distillation_gradient, temperature=temperature),
    )


LOSSES = {
    "distillation": distillation(TEMPERATURE),
    "masked_lm": Loss(
        losses.masked_lm_loss, reference.masked_lm_loss, reference.masked_lm_gradient
    ),
    "cosine": Loss(losses.cosine_loss, reference.cosine_loss, reference.cosine_gradient),
    "logits_mse": Loss(
        losses.logits_mse_loss, reference.logits_mse_loss, reference.logits_mse_gradient
    ),
}
TEACHER_LOSSES = ["distillation", "cosine", "logits_mse"]

every_loss = pytest.mark.parametrize("name", LOSSES)
every_teacher_loss = pytest.mark.parametrize("name", TEACHER_LOSSES)


@pytest.fixture(params=[False, True], ids=["eager", "xla"])
def compiled(request):
    return request.param


def make_inputs(name, shape, seed=0):
    """Student and target of a loss: float32 normal numbers, or token ids for the masked LM loss."""
    generator = np.random.default_rng(seed)
    student, teacher = (3 * generator.standard_normal((2, *shape))).astype(np.float32)
    if name == "masked_lm":
        return student, generator.integers(shape[-1], size=shape[:-1], dtype=np.int32)
    return student, teacher


def call(function, *arguments, compiled=False):
    """Run on tensors, eagerly or compiled by XLA."""
    function = tf.function(function, jit_compile=True) if compiled else function
    return function(*[tf.convert_to_tensor(argument) for argument in arguments])


def value_and_gradient(function, student, *arguments, compiled=False):
    """The value and the gradient of its sum with respect to the first argument."""

    def differentiate(student, *arguments):
        with tf.GradientTape() as tape:
            tape.watch(student)
            value = function(student, *arguments)
        return value, tape.gradient(value, student)

    value, gradient = call(differentiate, student, *arguments, compiled=compiled)
    assert value.dtype == tf.float32
    return value.numpy(), gradient.numpy().astype(np.float32)


def assert_close(actual, expected, scale):
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.isfinite(actual).all()
    excess = np.abs(actual - expected) / np.maximum(scale, np.finfo(np.float32).tiny)
    assert excess.max() <= TOLERANCE, f"error is {excess.max():.2e} of the scale"


def log_terms(logits):
    """Log-probabilities' size and that of the probabilities' error: p * (1 + |ln p|)."""
    log_probabilities = reference.log_softmax(logits)
    return -log_probabilities, np.exp(log_probabilities) * (1 - log_probabilities)


def value_scale(name, student, target, temperature=TEMPERATURE):
    """Per token, the size of the terms that are added up."""
    student = student.astype(np.float64)
    if name == "distillation":
        student_terms, _ = log_terms(student / temperature)
        teacher_terms, _ = log_terms(target.astype(np.float64) / temperature)
        terms = np.exp(-teacher_terms) * (student_terms + teacher_terms)
        return temperature**2 * terms.sum(axis=-1)
    if name == "masked_lm":
        return 1 + reference.masked_lm_loss(student, target)
    if name == "cosine":
        return 1.0
    return reference.logits_mse_loss(student, target)


def gradient_scale(name, student, target, temperature=TEMPERATURE):
    """Per token and feature, the size of the terms whose difference is the gradient."""
    student = student.astype(np.float64)
    if name == "distillation":
        _, student_terms = log_terms(student / temperature)
        _, teacher_terms = log_terms(target.astype(np.float64) / temperature)
        return temperature * (student_terms + teacher_terms)
    if name == "masked_lm":
        return log_terms(student)[1] + reference.one_hot(target, student.shape[-1])
    if name == "cosine":
        norm, teacher_norm = (
            np.linalg.norm(hidden, axis=-1, keepdims=True) for hidden in (student, target)
        )
        return (np.abs(student) / norm + np.abs(target) / teacher_norm) / norm
    return np.abs(reference.logits_mse_gradient(student, target))


def assert_matches_reference(name, student, target, temperature=TEMPERATURE, compiled=False):
    """Value and gradient of a float32 call against the reference."""
    loss = distillation(temperature) if name == "distillation" else LOSSES[name]
    value, gradient = value_and_gradient(loss.function, student, target, compiled=compiled)
    scale = value_scale(name, student, target, temperature)
    assert_close(value, loss.expected(student, target), scale)
    scale = gradient_scale(name, student, target, temperature)
    assert_close(gradient, loss.expected_gradient(student, target), scale)


# The reference itself.


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
        losses.masked_lm_loss, logits, token_ids, compiled=compiled
    )
    np.testing.assert_allclose(value, [[2 * LN2 - LN3, 2 * LN2, LN2]], rtol=1e-6)
    expected = [[[-0.25, 0.25], [0.75, -0.75], [0.5, -0.5]]]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_cosine_loss_by_hand(compiled):
    student = np.array([[1, 0], [2, 0], [3, 4], [0, 5]], np.float32)
    teacher = np.array([[1, 1], [-7, 0], [3, 4], [2, 0]], np.float32)
    value, gradient = value_and_gradient(losses.cosine_loss, student, teacher, compiled=compiled)
    np.testing.assert_allclose(value, [1 - np.sqrt(0.5), 2, 0, 1], atol=1e-6)
    expected = [[0, -np.sqrt(0.5)], [0, 0], [0, 0], [-0.2, 0]]
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_logits_mse_loss_by_hand(compiled):
    student = np.array([[1, 2], [3, 3]], np.float32)
    teacher = np.array([[0, 4], [3, 3]], np.float32)
    value, gradient = value_and_gradient(
        losses.logits_mse_loss, student, teacher, compiled=compiled
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
    value = call(losses.cosine_loss, student, teacher)
    student, teacher = np.float32(factors[0]) * student, np.float32(factors[1]) * teacher
    assert_close(call(losses.cosine_loss, student, teacher), value, 1.0)
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
    value, gradient = value_and_gradient(losses.cosine_loss, student, teacher, compiled=compiled)
    np.testing.assert_array_equal(value, [1, 1, 1])
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[1:], np.zeros((2, 3)))


# The masked mean.


@pytest.mark.parametrize("mask_type", [bool, np.int32, np.float32])
def test_masked_mean_by_hand(mask_type, compiled):
    values = np.array([[1, 2], [3, 4]], np.float32)
    mask = np.array([[1, 0], [1, 0]], mask_type)
    value, gradient = value_and_gradient(losses.masked_mean, values, mask, compiled=compiled)
    assert value == 2
    np.testing.assert_array_equal(gradient, [[0.5, 0], [0.5, 0]])


@pytest.mark.parametrize("count", [8, np.int32(8), np.float32(8)])
def test_masked_mean_divides_by_the_given_count(count, compiled):
    values, mask = np.array([1, 2, 5], np.float32), np.array([1, 0, 1], np.int32)

    def function(values):
        return losses.masked_mean(values, tf.constant(mask), count=count)

    value, gradient = value_and_gradient(function, values, compiled=compiled)
    assert value == 0.75
    np.testing.assert_array_equal(gradient, [0.125, 0, 0.125])


@pytest.mark.parametrize("with_count", [False, True])
def test_masked_mean_of_nothing_is_zero(with_count, compiled):
    values, mask = np.array([1, np.nan, np.inf], np.float32), np.zeros(3, np.int32)
    arguments = (mask, np.float32(0)) if with_count else (mask,)
    value, gradient = value_and_gradient(losses.masked_mean, values, *arguments, compiled=compiled)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros(3))


@pytest.mark.parametrize("mask_type", [bool, np.int32, np.float32])
def test_masked_values_do_not_leak(mask_type, compiled):
    values = np.array([1, np.nan, 3, np.inf, -np.inf], np.float32)
    mask = np.array([1, 0, 1, 0, 0], mask_type)
    value, gradient = value_and_gradient(losses.masked_mean, values, mask, compiled=compiled)
    assert value == 2
    np.testing.assert_array_equal(gradient, [0.5, 0, 0.5, 0, 0])


def test_unmasked_nan_is_not_hidden():
    assert np.isnan(losses.masked_mean(tf.constant([1.0, np.nan]), tf.constant([0, 1])))


def test_masked_mean_counts_in_float32(compiled):
    # bfloat16 cannot count beyond 256.
    values, mask = tf.ones(1000, tf.bfloat16), tf.ones(1000, tf.bfloat16)
    value, _ = value_and_gradient(losses.masked_mean, values, mask, compiled=compiled)
    assert value == 1


def test_masked_mean_of_many_values_matches_reference(compiled):
    generator = np.random.default_rng(2)
    values = generator.gamma(2.0, size=(64, 128)).astype(np.float32)
    mask = generator.random(values.shape) < 0.15
    value, gradient = value_and_gradient(losses.masked_mean, values, mask, compiled=compiled)
    expected = reference.masked_mean(values, mask)
    assert_close(value, expected, expected)
    expected_gradient = reference.masked_mean_gradient(mask)
    assert_close(gradient, expected_gradient, expected_gradient)


# Loss and masked mean together: what is masked, padded or split must not matter. The first test
# compares with the reference, also under XLA; the others are algebra on top of it, eager only.


def mean_and_gradient(name, student, target, mask, count=None, compiled=False):
    """Masked mean of a loss, and its gradient with respect to the student."""

    def function(student, target, mask):
        return losses.masked_mean(LOSSES[name].function(student, target), mask, count=count)

    return value_and_gradient(function, student, target, mask, compiled=compiled)


def mean_scales(name, student, target, mask):
    """Scales of the masked mean's value and gradient."""
    scale = np.broadcast_to(value_scale(name, student, target), mask.shape)
    per_token = reference.masked_mean_gradient(mask)[..., None]
    return reference.masked_mean(scale, mask), per_token * gradient_scale(name, student, target)


def make_masked_inputs(name):
    student, target = make_inputs(name, (4, 6, 101))
    return student, target, np.random.default_rng(3).random((4, 6)) < 0.4


@every_loss
def test_mean_matches_reference(name, compiled):
    student, target, mask = make_masked_inputs(name)
    value, gradient = mean_and_gradient(name, student, target, mask, compiled=compiled)
    scale, scale_of_gradient = mean_scales(name, student, target, mask)
    expected = reference.masked_mean(LOSSES[name].expected(student, target), mask)
    assert_close(value, expected, scale)
    per_token = reference.masked_mean_gradient(mask)[..., None]
    expected_gradient = per_token * LOSSES[name].expected_gradient(student, target)
    assert_close(gradient, expected_gradient, scale_of_gradient)


@every_loss
def test_masking_tokens_equals_deleting_them(name):
    student, target, mask = make_masked_inputs(name)
    value, gradient = mean_and_gradient(name, student, target, mask)
    kept_student, kept_target, kept_mask = student[mask], target[mask], np.ones(mask.sum(), bool)
    kept_value, kept_gradient = mean_and_gradient(name, kept_student, kept_target, kept_mask)
    scale, kept_scale = mean_scales(name, kept_student, kept_target, kept_mask)
    assert_close(value, kept_value, scale)
    assert_close(gradient[mask], kept_gradient, kept_scale)
    np.testing.assert_array_equal(gradient[~mask], 0)


@every_loss
def test_more_padding_changes_nothing(name):
    student, target, mask = make_masked_inputs(name)
    value, gradient = mean_and_gradient(name, student, target, mask)
    # Two more columns and one more row, filled with numbers that would change the mean.
    padded_student, padded_target = make_inputs(name, (5, 8, 101), seed=4)
    padded_mask = np.zeros((5, 8), bool)
    padded_student[:4, :6], padded_target[:4, :6], padded_mask[:4, :6] = student, target, mask
    padded_value, padded_gradient = mean_and_gradient(
        name, padded_student, padded_target, padded_mask
    )
    scale, scale_of_gradient = mean_scales(name, student, target, mask)
    assert_close(padded_value, value, scale)
    assert_close(padded_gradient[:4, :6], gradient, scale_of_gradient)
    np.testing.assert_array_equal(padded_gradient[~padded_mask], 0)


@every_loss
def test_parts_with_the_global_count_add_up_to_the_whole(name):
    student, target, mask = make_masked_inputs(name)
    value, gradient = mean_and_gradient(name, student, target, mask)
    count = float(mask.sum())
    halves = [
        mean_and_gradient(name, student[half], target[half], mask[half], count)
        for half in (slice(0, 1), slice(1, 4))  # unequal parts
    ]
    scale, scale_of_gradient = mean_scales(name, student, target, mask)
    assert_close(halves[0][0] + halves[1][0], value, scale)
    assert_close(np.concatenate([halves[0][1], halves[1][1]]), gradient, scale_of_gradient)
