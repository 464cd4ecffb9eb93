"""Small inputs of the vocabulary's loss, and what it should give."""

import numpy as np
import tensorflow as tf

from support import reference
from tf_distilbert.losses import per_token
from tf_distilbert.losses.vocabulary import Projection, TokenWeights, vocabulary_loss

TOKENS, STUDENT_SIZE, TEACHER_SIZE, VOCABULARY_SIZE = 37, 6, 10, 53
TERMS = ("distillation", "mlm", "mse")


class Example:
    """Two models' projections, tokens, and weights of which many are 0."""

    def __init__(self, seed=0, weights=TERMS, scale=1.5):
        generator = np.random.default_rng(seed)

        def projection(size):
            shapes = ((TOKENS, size), (VOCABULARY_SIZE, size), (VOCABULARY_SIZE,))
            return Projection(*(generator.standard_normal(shape, np.float32) for shape in shapes))

        self.student, self.teacher = projection(STUDENT_SIZE), projection(TEACHER_SIZE)
        self.student = self.student._replace(hidden=scale * self.student.hidden)
        self.token_ids = generator.integers(VOCABULARY_SIZE, size=TOKENS)
        of_terms = {
            name: np.where(generator.random(TOKENS) < 0.5, generator.random(TOKENS), 0)
            for name in TERMS
        }
        self.weights = TokenWeights(**{name: np.float32(of_terms[name]) for name in weights})
        self.token_ids[of_terms["mlm"] == 0] = -100

    def run(self, temperature=2.0, chunk_size=8, factor=1.0, wrap=lambda function: function):
        """Total, values and gradients of `factor` times the total."""

        def differentiate(student):
            with tf.GradientTape() as tape:
                tape.watch(student)
                arguments = (self.teacher, self.token_ids, self.weights, temperature, chunk_size)
                total, values = vocabulary_loss(student, *arguments)
                scaled = factor * total
            return total, values, tape.gradient(scaled, list(student))

        return wrap(differentiate)(Projection(*map(tf.constant, self.student)))

    def run_plain(self, temperature=2.0):
        """The same on full logits."""
        parts = [tf.constant(part) for part in self.student]
        with tf.GradientTape() as tape:
            tape.watch(parts)
            student, teacher = logits(Projection(*parts)), logits(self.teacher)
            ids = np.maximum(self.token_ids, 0)
            values = {
                "distillation": per_token.distillation_loss(student, teacher, temperature),
                "mlm": per_token.masked_lm_loss(student, ids),
                "mse": per_token.logits_mse_loss(student, teacher),
            }
            total = tf.zeros(())
            for name, weight in self.weights._asdict().items():
                if weight is not None:
                    total += per_token.masked_mean(weight * values[name], weight != 0, 1.0)
        return total, values, tape.gradient(total, parts)

    def expected(self, temperature=2.0):
        """The same by the float64 reference."""
        student, teacher = (
            np.float64(p.hidden) @ np.float64(p.table).T + p.bias
            for p in (self.student, self.teacher)
        )
        ids = np.maximum(self.token_ids, 0)
        terms = {
            "distillation": (
                reference.distillation_loss(student, teacher, temperature),
                reference.distillation_gradient(student, teacher, temperature),
            ),
            "mlm": (
                reference.masked_lm_loss(student, ids),
                reference.masked_lm_gradient(student, ids),
            ),
            "mse": (
                reference.logits_mse_loss(student, teacher),
                reference.logits_mse_gradient(student, teacher),
            ),
        }
        total, of_logits = 0.0, np.zeros_like(student)
        for name, weight in self.weights._asdict().items():
            if weight is not None:
                value, gradient = terms[name]
                total += value @ np.float64(weight)
                of_logits += gradient * np.float64(weight)[:, None]
        hidden, table = np.float64(self.student.hidden), np.float64(self.student.table)
        gradients = (of_logits @ table, of_logits.T @ hidden, of_logits.sum(axis=0))
        return total, {name: value for name, (value, _) in terms.items()}, gradients


def logits(projection):
    return tf.matmul(projection.hidden, projection.table, transpose_b=True) + projection.bias


def assert_gradients(actual, expected, tolerance=1e-5):
    for ours, theirs in zip(actual, expected, strict=True):
        ours, theirs = np.float64(tf.convert_to_tensor(ours)), np.float64(theirs)
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


def assert_same(actual, expected):
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-6)
    for name, value in expected[1].items():
        if f"{name}_loss" in actual[1]:
            ours = actual[1][f"{name}_loss"].numpy()
            np.testing.assert_allclose(ours, value, rtol=1e-5, atol=1e-5, err_msg=name)
    assert_gradients(actual[2], expected[2])
