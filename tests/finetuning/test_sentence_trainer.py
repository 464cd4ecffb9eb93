"""What a sentence encoder learns: the objectives of its own vectors, and how they may be split."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from support import tiny
from support.task_model import task_model
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.sentence_trainer import SentenceTrainer

ROWS, LENGTH = 6, 16


def batch(objective, texts=2):
    """The last row has no weight; what it holds must not matter."""
    inputs = tiny.batch(0, rows=ROWS * texts, length=LENGTH)[0]
    del inputs["mask_positions"]
    targets = (np.arange(ROWS) % 3 / 2).astype("float32")
    if objective == "in_batch_negatives":
        targets = np.arange(ROWS * texts, dtype="int32").reshape(ROWS, texts)
    weights = np.ones(ROWS, "float32")
    weights[-1] = 0
    return inputs, targets, weights


def figures(trainer, data):
    trainer.compile(keras.optimizers.SGD(0.0))
    return trainer.evaluate(tf.data.Dataset.from_tensors(data), verbose=0, return_dict=True)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def expected(objective, vectors, targets):
    """The mean over the rows with weight, from the definitions."""
    count = len(vectors) - 1
    cosines = [cosine(*row[:2]) for row in vectors[:count]]
    if objective == "mse":
        return np.mean((cosines - targets[:count]) ** 2)
    if objective == "cosent":
        pairs = [(i, j) for i in range(count) for j in range(count) if targets[i] < targets[j]]
        return np.log(1 + sum(np.exp(20 * (cosines[i] - cosines[j])) for i, j in pairs))
    candidates = vectors[:count, 1:].reshape(-1, vectors.shape[-1])
    logits = [[20 * cosine(row[0], c) for c in candidates] for row in vectors[:count]]
    own = (vectors.shape[1] - 1) * np.arange(count)
    found = [np.log(np.exp(row).sum()) - row[i] for row, i in zip(logits, own, strict=True)]
    return np.mean(found)


@pytest.mark.parametrize("matryoshka", [None, [16, 4]])
@pytest.mark.parametrize(
    ("objective", "texts"),
    [("mse", 2), ("cosent", 2), ("in_batch_negatives", 2), ("in_batch_negatives", 3)],
)
@pytest.mark.parametrize("settings", [{}, {"pooling": "max", "normalize": True}], ids=str)
def test_the_loss_is_that_of_the_models_vectors(objective, texts, matryoshka, settings):
    model, data = task_model("embedding", **settings), batch(objective, texts)
    vectors = np.float64(model(data[0])).reshape(ROWS, texts, 16)
    sizes = matryoshka or [16]
    wanted = sum(expected(objective, vectors[..., :size], data[1]) for size in sizes)
    found = figures(SentenceTrainer(model, objective, matryoshka, seed=1), data)
    assert found == pytest.approx({"loss": wanted, "task_loss": wanted}, rel=2e-5)


@pytest.mark.parametrize("objective", ["mse", "cosent", "in_batch_negatives"])
def test_the_gradient_is_the_losses(objective):
    """By differences of the loss itself, along the gradient."""
    model = task_model("embedding")
    trainer = SentenceTrainer(model, objective, [16, 8], seed=1)
    trainer.compile(keras.optimizers.SGD(1.0))
    data = tf.data.Dataset.from_tensors(batch(objective))
    variables = model.trainable_variables
    before = [np.array(v.value) for v in variables]
    trainer.fit(data, verbose=0)
    gradient = [b - np.array(v.value) for b, v in zip(before, variables, strict=True)]
    length = np.sqrt(sum((g.astype("float64") ** 2).sum() for g in gradient))

    def loss(distance):
        for variable, value, part in zip(variables, before, gradient, strict=True):
            variable.assign(value + distance * part / length)
        return trainer.evaluate(data, verbose=0, return_dict=True)["loss"]

    step = 1e-3
    assert (loss(step) - loss(-step)) / (2 * step) == pytest.approx(length, rel=5e-3)


def test_micro_batches_of_pairs_add_up():
    found = []
    for parts in (1, 3):
        model = task_model("embedding")
        trainer = SentenceTrainer(model, "mse", micro_batches=parts)
        trainer.compile(keras.optimizers.SGD(0.1))
        trainer.fit(tf.data.Dataset.from_tensors(batch("mse")), verbose=0)
        found.append(tiny.weights(model))
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-6)
    assert np.abs(found[0] - tiny.weights(task_model("embedding"))).max() > 1e-4


@pytest.mark.parametrize("objective", ["cosent", "in_batch_negatives"])
def test_what_is_of_the_whole_batch_is_not_split(objective):
    with pytest.raises(UserError, match=r"which micro-batches do not see together; leave train\.m"):
        SentenceTrainer(task_model("embedding"), objective, micro_batches=2)
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        with pytest.raises(UserError, match=r"which 2 replicas do not see together; train on one"):
            SentenceTrainer(task_model("embedding"), objective)
        SentenceTrainer(task_model("embedding"), "mse")


@pytest.mark.parametrize("sizes", [[], [17], [0, 4], [4, 4]])
def test_sizes_that_cannot_be(sizes):
    with pytest.raises(UserError, match=r"matryoshka is .*; give different sizes from 1 to 16"):
        SentenceTrainer(task_model("embedding"), "mse", sizes)
