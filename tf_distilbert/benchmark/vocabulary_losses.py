"""The workload of ``benchmark memory``: the terms over the vocabulary, alone, with gradients."""

import ctypes
import gc
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_distilbert.benchmark.machine import peak_memory, resident_memory, restart_peak_memory
from tf_distilbert.runtime import start_keras

TEMPERATURE = 2.0


def loss(
    method: str, tokens: int, vocabulary_size: int, hidden_size: int
) -> dict[str, Callable[[], dict[str, Any]]]:
    """Give the case ``loss``: it tells the value and the memory that computing it took.

    Computed are the distillation term over all tokens, the masked-LM term over every seventh, and
    the gradients with respect to the student's hidden states, word embeddings and bias.

    Args:
        method: ``plain`` or ``chunked``.
        tokens, vocabulary_size, hidden_size: of the logits.
    """
    start_keras()
    import tensorflow as tf

    generator = np.random.default_rng(0)

    def random(*shape: int) -> tf.Tensor:
        return tf.constant(0.1 * generator.standard_normal(shape, "float32"))

    def projection() -> tuple[tf.Tensor, ...]:
        return random(tokens, hidden_size), random(vocabulary_size, hidden_size), bias()

    def bias() -> tf.Tensor:
        return random(vocabulary_size)

    student, teacher = projection(), projection()
    ids = tf.constant(generator.integers(0, vocabulary_size, tokens, "int32"))
    masked = tf.cast(tf.range(tokens) % 7 == 0, tf.float32)
    compute = {"plain": plain_loss, "chunked": chunked_loss}[method]

    @tf.function(autograph=False)
    def loss_and_gradients(student: tuple, teacher: tuple, ids: Any, masked: Any) -> tuple:
        with tf.GradientTape() as tape:
            tape.watch(student)
            value = compute(student, teacher, ids, masked)
        return value, tape.gradient(value, student)

    # With a few tokens first: what loads and starts with the first call is no memory of the loss.
    few = slice(min(tokens, 32))
    first = [(hidden[few], table, bias) for hidden, table, bias in (student, teacher)]
    loss_and_gradients(*first, ids[few], masked[few])
    before = _start_of_extra_memory()

    def run() -> dict[str, Any]:
        value, gradients = loss_and_gradients(student, teacher, ids, masked)
        squares = sum(float(tf.reduce_sum(tf.square(part))) for part in gradients)
        # TensorFlow keeps what it took once, so the most of all calls is what one call takes.
        extra = peak_memory() - before if before else None
        return {"loss": float(value), "gradient_norm": squares**0.5, "extra_bytes": extra}

    return {"loss": run}


def plain_loss(student: tuple, teacher: tuple, ids: Any, masked: Any) -> Any:
    """Compute the terms over all logits at once, by `losses`."""
    import tensorflow as tf

    from tf_distilbert.losses import distillation_loss, masked_lm_loss, masked_mean

    student_logits, teacher_logits = (
        tf.matmul(hidden, table, transpose_b=True) + bias
        for hidden, table, bias in (student, teacher)
    )
    divergence = distillation_loss(student_logits, teacher_logits, TEMPERATURE)
    rows = tf.where(masked > 0)[:, 0]
    masked_lm = masked_lm_loss(tf.gather(student_logits, rows), tf.gather(ids, rows))
    return 5.0 * masked_mean(divergence, tf.ones_like(masked)) + 2.0 * tf.reduce_mean(masked_lm)


def chunked_loss(student: tuple, teacher: tuple, ids: Any, masked: Any) -> Any:
    """Compute the terms chunk by chunk, by `vocabulary_loss`."""
    import tensorflow as tf

    from tf_distilbert.vocabulary_loss import Projection, TokenWeights, vocabulary_loss

    weights = TokenWeights(
        distillation=tf.fill(tf.shape(masked), 5.0 / masked.shape[0]),
        mlm=2.0 * masked / tf.reduce_sum(masked),
    )
    total, _ = vocabulary_loss(
        Projection(*student), Projection(*teacher), ids, weights, TEMPERATURE
    )
    return total


def _start_of_extra_memory() -> int | None:
    """Give what is held now, after all that is free was given back; None if nobody can tell."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        restart_peak_memory()
    except (AttributeError, OSError):
        return None
    return resident_memory()
