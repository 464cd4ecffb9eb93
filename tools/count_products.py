"""Count the arithmetic of a training step from its graph: every matrix product by its shapes.

This knows nothing of the formula in `tf_distilbert.benchmark.flops`, which it is a check of.
TensorFlow's own profiler will not do: of batched products it reads the transposition from an
attribute that they do not have, and so miscounts one of the gradients of the attention.
"""

import math

import tensorflow as tf

from tf_distilbert.benchmark.batch import random_batch
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.masked_language_model import MaskedLanguageModel
from tf_distilbert.training.optimizer import AdamW

# How the kinds of product call their first argument's transposition.
TRANSPOSED = {"MatMul": "transpose_a", "BatchMatMulV2": "adj_x"}


def count_products(
    teacher: Architecture, student: Architecture, batch_size: int, sequence_length: int
) -> int:
    """Count the floating-point operations of all matrix products of one `Distiller.train_step`.

    The step is traced, not run.
    """
    distiller = Distiller(MaskedLanguageModel(teacher), MaskedLanguageModel(student))
    distiller.compile(AdamW())
    batch = random_batch(teacher.vocabulary_size, batch_size, sequence_length)
    step = tf.function(distiller.train_step, autograph=False)
    # Functions within functions become part of the one graph, where their products are seen.
    tf.config.run_functions_eagerly(True)
    try:
        graph = step.get_concrete_function(tf.nest.map_structure(tf.constant, batch)).graph
    finally:
        tf.config.run_functions_eagerly(False)
    return sum(_flops(op) for op in graph.get_operations() if op.type in TRANSPOSED)


def _flops(product: tf.Operation) -> int:
    """Give 2·n·k·m, times the number of products in a batch."""
    rows, columns = product.inputs[0].shape[-2:]
    summed = rows if product.get_attr(TRANSPOSED[product.type]) else columns
    return 2 * summed * math.prod(product.outputs[0].shape)
