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
import tensorflow as tf

from support import reference
from tf_distilbert.losses import per_token

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
        functools.partial(per_token.distillation_loss, temperature=temperature),
        functools.partial(reference.distillation_loss, temperature=temperature),
        functools.partial(reference.distillation_gradient, temperature=temperature),
    )


LOSSES = {
    "distillation": distillation(TEMPERATURE),
    "masked_lm": Loss(
        per_token.masked_lm_loss, reference.masked_lm_loss, reference.masked_lm_gradient
    ),
    "cosine": Loss(per_token.cosine_loss, reference.cosine_loss, reference.cosine_gradient),
    "logits_mse": Loss(
        per_token.logits_mse_loss, reference.logits_mse_loss, reference.logits_mse_gradient
    ),
}
TEACHER_LOSSES = ["distillation", "cosine", "logits_mse"]

every_loss = pytest.mark.parametrize("name", LOSSES)
every_teacher_loss = pytest.mark.parametrize("name", TEACHER_LOSSES)


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
