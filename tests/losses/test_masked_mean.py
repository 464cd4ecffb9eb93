"""The masked mean, alone and of each loss: what is masked, padded or split does not matter."""

import numpy as np
import pytest
import tensorflow as tf

from support import reference
from support.loss_checks import (
    LOSSES,
    assert_close,
    every_loss,
    gradient_scale,
    make_inputs,
    value_and_gradient,
    value_scale,
)
from tf_distilbert.losses import per_token


@pytest.mark.parametrize("mask_type", [bool, np.int32, np.float32])
def test_masked_mean_by_hand(mask_type, compiled):
    values = np.array([[1, 2], [3, 4]], np.float32)
    mask = np.array([[1, 0], [1, 0]], mask_type)
    value, gradient = value_and_gradient(per_token.masked_mean, values, mask, compiled=compiled)
    assert value == 2
    np.testing.assert_array_equal(gradient, [[0.5, 0], [0.5, 0]])


@pytest.mark.parametrize("count", [8, np.int32(8), np.float32(8)])
def test_masked_mean_divides_by_the_given_count(count, compiled):
    values, mask = np.array([1, 2, 5], np.float32), np.array([1, 0, 1], np.int32)

    def function(values):
        return per_token.masked_mean(values, tf.constant(mask), count=count)

    value, gradient = value_and_gradient(function, values, compiled=compiled)
    assert value == 0.75
    np.testing.assert_array_equal(gradient, [0.125, 0, 0.125])


@pytest.mark.parametrize("with_count", [False, True])
def test_masked_mean_of_nothing_is_zero(with_count, compiled):
    values, mask = np.array([1, np.nan, np.inf], np.float32), np.zeros(3, np.int32)
    arguments = (mask, np.float32(0)) if with_count else (mask,)
    value, gradient = value_and_gradient(
        per_token.masked_mean, values, *arguments, compiled=compiled
    )
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros(3))


@pytest.mark.parametrize("mask_type", [bool, np.int32, np.float32])
def test_masked_values_do_not_leak(mask_type, compiled):
    values = np.array([1, np.nan, 3, np.inf, -np.inf], np.float32)
    mask = np.array([1, 0, 1, 0, 0], mask_type)
    value, gradient = value_and_gradient(per_token.masked_mean, values, mask, compiled=compiled)
    assert value == 2
    np.testing.assert_array_equal(gradient, [0.5, 0, 0.5, 0, 0])


def test_unmasked_nan_is_not_hidden():
    assert np.isnan(per_token.masked_mean(tf.constant([1.0, np.nan]), tf.constant([0, 1])))


def test_masked_mean_counts_in_float32(compiled):
    # bfloat16 cannot count beyond 256.
    values, mask = tf.ones(1000, tf.bfloat16), tf.ones(1000, tf.bfloat16)
    value, _ = value_and_gradient(per_token.masked_mean, values, mask, compiled=compiled)
    assert value == 1


def test_masked_mean_of_many_values_matches_reference(compiled):
    generator = np.random.default_rng(2)
    values = generator.gamma(2.0, size=(64, 128)).astype(np.float32)
    mask = generator.random(values.shape) < 0.15
    value, gradient = value_and_gradient(per_token.masked_mean, values, mask, compiled=compiled)
    expected = reference.masked_mean(values, mask)
    assert_close(value, expected, expected)
    expected_gradient = reference.masked_mean_gradient(mask)
    assert_close(gradient, expected_gradient, expected_gradient)


# Loss and masked mean together: what is masked, padded or split must not matter. The first test
# compares with the reference, also under XLA; the others are algebra on top of it, eager only.


def mean_and_gradient(name, student, target, mask, count=None, compiled=False):
    """Masked mean of a loss, and its gradient with respect to the student."""

    def function(student, target, mask):
        return per_token.masked_mean(LOSSES[name].function(student, target), mask, count=count)

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
