"""Activations: the compiled form and its gradient against float64."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tf_distilbert.models.encoder import activate

POINTS = np.concatenate([np.linspace(-12, 12, 481), [0.0, -0.0, 1e-30, 50.0, -50.0]])


def gelu(x):
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def gelu_gradient(x):
    return 0.5 * (1 + math.erf(x / math.sqrt(2))) + x * math.exp(-x * x / 2) / math.sqrt(
        2 * math.pi
    )


def gelu_tanh(x):
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_tanh_gradient(x):
    inner = math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
    return 0.5 * (1 + inner) + 0.5 * x * (1 - inner**2) * slope


EXPECTED = {
    "gelu": (gelu, gelu_gradient),
    "gelu_tanh": (gelu_tanh, gelu_tanh_gradient),
    "relu": (lambda x: max(x, 0.0), lambda x: float(x > 0)),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", EXPECTED)
def test_value_and_gradient(name, training):
    value, slope = (np.vectorize(function)(POINTS) for function in EXPECTED[name])
    points = tf.constant(POINTS, tf.float32)
    upstream = tf.constant(np.linspace(-2, 3, len(POINTS)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(points)
        result = activate(name, points, training)
    np.testing.assert_allclose(result, value, atol=2e-6, rtol=2e-6)
    gradient = tape.gradient(result, points, upstream)
    np.testing.assert_allclose(gradient, slope * upstream, atol=3e-6, rtol=2e-6)


def test_bfloat16_is_computed_in_float32_while_training():
    points = tf.cast(tf.constant(POINTS, tf.float32), tf.bfloat16)
    result = activate("gelu", points, training=True)
    exact = activate("gelu", tf.cast(points, tf.float32), training=True)
    assert result.dtype == tf.bfloat16
    np.testing.assert_array_equal(result, tf.cast(exact, tf.bfloat16))


def test_only_the_argument_is_kept_for_the_gradient():
    """Of a stretch of five operations, the backward pass gets the input and nothing else."""

    @tf.function
    def gradient(points):
        with tf.GradientTape() as tape:
            tape.watch(points)
            result = activate("gelu", points, training=True)
        return tape.gradient(result, points)

    graph = gradient.get_concrete_function(tf.TensorSpec((64,))).graph
    calls = [op for op in graph.get_operations() if "PartitionedCall" in op.type]
    assert [len(op.outputs) for op in calls] == [1, 1]
    assert all(op.get_attr("_XlaMustCompile") for op in calls)
