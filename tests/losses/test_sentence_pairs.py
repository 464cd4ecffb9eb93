"""The objectives of sentence encoders against NumPy in float64: values, and gradients by
differences."""

import numpy as np
import pytest
import tensorflow as tf

from tf_distilbert.losses.sentence_pairs import OBJECTIVES, matryoshka_loss

ROWS, SIZE = 7, 12
SIZES = (12, 5, 2)


def case(name, seed=0, texts=3):
    """Vectors of any lengths, targets with equal ones among them, and a row without weight."""
    random = np.random.default_rng(seed)
    count = texts if name == "in_batch_negatives" else 2
    vectors = random.normal(size=(ROWS, count, SIZE)) * random.uniform(0.2, 5, (ROWS, count, 1))
    targets = random.integers(0, 4, ROWS) / 4
    if name == "in_batch_negatives":
        targets = np.arange(ROWS * count).reshape(ROWS, count).astype("int32")
        targets[3, 1] = targets[0, 1]  # one passage twice
        targets[4, 0] = targets[1, 0]  # one query twice, with another passage
        targets[5, -1] = targets[2, 1]  # a passage that is a negative elsewhere
        targets[6] = targets[0]  # of the row without weight
    weights = np.ones(ROWS)
    weights[6] = 0
    return vectors, targets, weights


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def expected(name, vectors, targets, weights):
    """Row by row, and term by term."""
    real = [i for i in range(ROWS) if weights[i]]
    if name == "in_batch_negatives":
        found = []
        for i in real:
            own = {targets[j, 1] for j in real if targets[j, 0] == targets[i, 0]}
            candidates = [(i, 1)]
            for j in real:
                places = range(1, vectors.shape[1])
                candidates += [(j, p) for p in places if targets[j, p] not in own]
            logits = [20 * cosine(vectors[i, 0], vectors[j, p]) for j, p in candidates]
            found.append(np.log(np.sum(np.exp(logits))) - logits[0])
        return np.array(found)
    cosines = [cosine(*pair) for pair in vectors]
    if name == "mse":
        return np.array([(cosines[i] - targets[i]) ** 2 for i in real])
    pairs = [(i, j) for i in real for j in real if targets[i] < targets[j]]
    total = np.log(1 + sum(np.exp(20 * (cosines[i] - cosines[j])) for i, j in pairs))
    return np.full(len(real), total)


def values(name, case, dtype="float64", sizes=None, compiled=False):
    vectors, targets, weights = case
    integers = targets.dtype == "int32"
    arguments = (
        tf.constant(vectors, dtype),
        tf.constant(targets, "int32" if integers else dtype),
        tf.constant(weights, dtype),
    )
    if sizes:
        return matryoshka_loss(OBJECTIVES[name], *arguments, sizes)
    return tf.function(OBJECTIVES[name], jit_compile=compiled)(*arguments)


every_objective = pytest.mark.parametrize("name", OBJECTIVES)


@every_objective
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("texts", [2, 3, 4])
def test_values(name, seed, texts):
    made = case(name, seed, texts)
    found = values(name, made).numpy()[:-1]  # what is without weight does not count
    np.testing.assert_allclose(found, expected(name, *made), rtol=1e-12, atol=1e-13)
    for compiled in (False, True):
        single = values(name, made, "float32", compiled=compiled).numpy()[:-1]
        assert single.dtype == "float32"
        np.testing.assert_allclose(single, found, rtol=1e-5, atol=2e-6)


@every_objective
def test_gradients_are_those_of_the_values(name):
    vectors, targets, weights = case(name)
    with tf.GradientTape() as tape:
        tensor = tf.constant(vectors)
        tape.watch(tensor)
        integers = targets.dtype == "int32"
        others = tf.constant(targets, "int32" if integers else "float64"), tf.constant(weights)
        total = tf.reduce_sum(OBJECTIVES[name](tensor, *others) * weights)
    gradient = tape.gradient(total, tensor).numpy()
    if name != "mse":  # of rows without weight nothing is compared
        assert not gradient[6].any()
    generator, step = np.random.default_rng(1), 1e-6
    for _ in range(5):
        direction = generator.normal(size=vectors.shape)
        ends = (expected(name, vectors + s * direction, targets, weights) for s in (step, -step))
        slope = np.subtract(*map(np.sum, ends)) / (2 * step)
        assert np.sum(gradient * direction) == pytest.approx(slope, rel=1e-6)


@every_objective
def test_beginnings_of_vectors_add_up(name):
    made = case(name)
    found = values(name, made, sizes=SIZES).numpy()[:-1]
    parts = [expected(name, made[0][..., :size], *made[1:]) for size in SIZES]
    np.testing.assert_allclose(found, np.sum(parts, 0), rtol=1e-12)


def test_a_passage_is_no_negative_of_its_query():
    """Two rows of one passage learn nothing from each other: the loss of both is 0."""
    vectors = np.random.default_rng(0).normal(size=(2, 2, SIZE))
    vectors[1, 1] = vectors[0, 1]
    weights = np.ones(2)
    for texts in ([[0, 2], [1, 2]], [[0, 2], [0, 3]]):  # or of one query, with two passages
        found = values("in_batch_negatives", (vectors, np.array(texts, "int32"), weights))
        np.testing.assert_allclose(found, [0, 0], atol=1e-12)
    found = values("in_batch_negatives", (vectors, np.array([[0, 2], [1, 3]], "int32"), weights))
    np.testing.assert_allclose(found, np.log([2, 2]), atol=1e-12)  # told apart, both are equal


@every_objective
def test_vectors_of_zeros_have_a_gradient(name):
    vectors, targets, weights = case(name)
    with tf.GradientTape() as tape:
        tensor = tf.constant(np.zeros_like(vectors), "float32")
        tape.watch(tensor)
        others = tf.constant(targets), tf.constant(weights, "float32")
        if name != "in_batch_negatives":
            others = tf.constant(targets, "float32"), others[1]
        total = tf.reduce_sum(OBJECTIVES[name](tensor, *others))
    assert np.isfinite(total) and np.isfinite(tape.gradient(total, tensor)).all()
