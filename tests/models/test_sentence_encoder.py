"""Pooling and the vectors of sentence encoders, against float64 in NumPy."""

import keras
import numpy as np
import pytest

from support import tiny
from support.task_model import task_model
from tf_distilbert.errors import UserError
from tf_distilbert.losses.per_token import unit_length
from tf_distilbert.models.sentence_encoder import POOLINGS, SentenceEncoder, pool

LENGTHS = (1, 4, 7)


def hidden(width=5):
    states = np.random.default_rng(0).standard_normal((len(LENGTHS), max(LENGTHS), width))
    mask = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    return states.astype("float32"), mask


def pooled_one(states, pooling):
    """The vector of one text of n tokens, float64 [n, D], token by token."""
    states = [np.asarray(state, np.float64) for state in states]
    if pooling == "cls":
        return states[0]
    if pooling == "max":
        return np.maximum.reduce(states)
    weights = [i + 1 if pooling == "weightedmean" else 1 for i in range(len(states))]
    total = sum(weight * state for weight, state in zip(weights, states, strict=True))
    return total / (len(states) ** 0.5 if pooling == "mean_sqrt_len_tokens" else sum(weights))


@pytest.mark.parametrize("padding", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_vector_is_that_of_the_real_tokens(pooling, padding):
    states, mask = hidden()
    expected = [
        pooled_one(row[:length], pooling) for row, length in zip(states, LENGTHS, strict=True)
    ]
    found = pool(np.where(mask[..., None], states, padding).astype("float32"), mask, pooling)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_poolings_differ():
    states, mask = hidden()
    found = [np.asarray(pool(states, mask, pooling))[1:] for pooling in POOLINGS]
    for i, one in enumerate(found):
        assert all(np.abs(one - other).max() > 0.1 for other in found[:i])


def test_states_in_16_bits_are_summed_in_float32():
    states = np.full((1, 4096, 1), 0.1, "float16")
    found = pool(states, np.ones((1, 4096), "int32"), "mean")
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_allclose(found, float(np.float16(0.1)), rtol=1e-6)


def test_lengths_are_one_and_zeros_stay():
    vectors = np.array([[3.0, 4.0], [0.0, 0.0], [1e-20, 0.0]], "float32")
    np.testing.assert_allclose(unit_length(vectors)[:2], [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)


def test_the_gradient_of_zeros_is_a_number():
    import tensorflow as tf

    vectors = tf.Variable([[0.0, 0.0]])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(unit_length(vectors) * [[1.0, 2.0]])
    assert np.isfinite(tape.gradient(total, vectors)).all()


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(
    "projection",
    [{}, {"projection_size": 3}, {"projection_size": 20, "projection_activation": "tanh"}],
    ids=["hidden states", "narrower", "wider, tanh"],
)
def test_projection_and_length_follow_the_pooling(projection, normalize):
    model = task_model("embedding", "bert", normalize=normalize, **projection)
    inputs = tiny.batch()[0]
    mask = inputs["padding_mask"]
    states = np.asarray(model.hidden_states(inputs)[-1], np.float64)
    expected = np.stack([row[real].mean(0) for row, real in zip(states, mask, strict=True)])
    if projection:
        kernel, bias = (np.asarray(v.value, np.float64) for v in model.head.weights)
        expected = expected @ kernel + bias
    if "projection_activation" in projection:
        expected = np.tanh(expected)
    if normalize:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = model(inputs)
    assert model.embedding_size == expected.shape[1]
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_vectors_are_float32_in_any_precision():
    model = task_model("embedding", "bert", projection_size=4, dtype="mixed_bfloat16")
    assert keras.backend.standardize_dtype(model(tiny.batch()[0]).dtype) == "float32"


def test_prompts_by_name():
    prompts = {"query": "query: ", "passage": ""}
    model = SentenceEncoder(tiny.architecture(), prompts=prompts, default_prompt="query")
    assert [model.prompt(), model.prompt("passage"), model.prompt("query")] == [
        *("query: ", "", "query: ")
    ]
    assert SentenceEncoder(tiny.architecture(), prompts=prompts).prompt() == ""
    with pytest.raises(UserError, match=r"^prompt 'title': is none of the model's prompts: query,"):
        model.prompt("title")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": "lasttoken"}, r"^pooling 'lasttoken': use one of mean, cls, max, weightedmea"),
        ({"projection_activation": "relu"}, r"^projection_activation 'relu': use one of linear, t"),
        ({"projection_size": 0}, r"^projection_size is 0; it must be above 0, or null$"),
        ({"max_length": 33}, r"^max_length is 33; the model takes 3 to 32$"),
        ({"max_length": 2}, r"^max_length is 2; the model takes 3 to 32$"),
        ({"default_prompt": "x"}, r"^default_prompt is 'x', which is none of the prompts: there a"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(UserError, match=message):
        SentenceEncoder(tiny.architecture(), **settings)
