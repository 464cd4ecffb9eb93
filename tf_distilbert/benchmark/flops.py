"""The arithmetic that a model calls for, by formula: what a share of the matrix peak is a share of.

A product of [n, k] and [k, m] matrices is 2·n·k·m floating-point operations. Counted are matrix
products alone; what runs between them is the engine's business, and so is what it does twice.

Dimensions: N tokens, S sequence, P predicted tokens, D hidden, I intermediate, V vocabulary.
"""

from tf_distilbert.architecture import Architecture

BACKWARD = 3
"""A training step is its forward pass, and a product of the same size for each of two gradients."""


def encoder_flops(architecture: Architecture, tokens: int, sequence_length: int) -> int:
    """Count the encoder's forward pass: ``N · L · (8·D² + 4·D·I + 4·S·D)``.

    Query, key, value and output are 4 products of 2·D² a token, the feed-forward layer 2 of 2·D·I;
    scores and the sum of the values are 2·S·D each. An embedding is a look-up and costs nothing.

    Args:
        architecture: of the model.
        tokens: N, in all sequences together.
        sequence_length: S.
    """
    hidden, intermediate = architecture.hidden_size, architecture.intermediate_size
    layer = 8 * hidden**2 + 4 * hidden * intermediate + 4 * sequence_length * hidden
    return tokens * architecture.num_layers * layer


def head_flops(architecture: Architecture, predictions: int) -> int:
    """Count the masked-LM head's forward pass: ``P · (2·D² + 2·D·V)``."""
    hidden, vocabulary = architecture.hidden_size, architecture.vocabulary_size
    return predictions * (2 * hidden**2 + 2 * hidden * vocabulary)


def step_flops(
    teacher: Architecture,
    student: Architecture,
    batch_size: int,
    sequence_length: int,
    predictions: int | None = None,
) -> int:
    """Count a distillation step: the teacher's forward pass and three times the student's.

    Args:
        teacher, student: the two models.
        batch_size: sequences.
        sequence_length: S.
        predictions: P, the tokens over whose vocabularies the models are compared; by default all.
    """
    tokens = batch_size * sequence_length
    predictions = tokens if predictions is None else predictions
    forward = (
        encoder_flops(model, tokens, sequence_length) + head_flops(model, predictions)
        for model in (teacher, student)
    )
    return next(forward) + BACKWARD * next(forward)
