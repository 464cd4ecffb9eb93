"""Layer by layer, how near a student's hidden states are to its teacher's."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops, tree

from tf_distilbert.architecture import Architecture
from tf_distilbert.losses import cosine_loss
from tf_distilbert.report.held_out import HeldOut
from tf_distilbert.student import even_layer_map

_NUM_BATCHES = 2


def layer_pairs(
    student: Architecture, teacher: Architecture, layer_map: Sequence[int] | None
) -> list[tuple[int, int]]:
    """Tell which outputs are compared: 0 are the embeddings, then layers from 1.

    A student's layer is compared with the one that it was begun from, or would have been.

    Args:
        student, teacher: their shapes.
        layer_map: the teacher's layer, from 0, that each of the student's was begun from; by
            default `even_layer_map` chooses.
    """
    layers = layer_map or even_layer_map(teacher.num_layers, student.num_layers)
    return [(0, 0), *((i + 1, layer + 1) for i, layer in enumerate(layers))]


def layer_cosines(
    student: keras.Model,
    teacher: keras.Model,
    held_out: HeldOut,
    pairs: Sequence[tuple[int, int]],
) -> list[float]:
    """Compute the mean cosine of hidden states over the real tokens of some held-out sequences.

    Args:
        student, teacher: of equal hidden sizes.
        held_out: the sequences.
        pairs: from `layer_pairs`.
    """
    sums, count = np.zeros(len(pairs)), 0.0
    for inputs, _, _ in held_out.batches(_NUM_BATCHES).as_numpy_iterator():
        ours, theirs = (_hidden_states(model, inputs) for model in (student, teacher))
        real = ops.cast(inputs["padding_mask"], "float32")
        for i, (own, other) in enumerate(pairs):
            cosines = 1.0 - cosine_loss(ours[own], theirs[other])
            sums[i] += float(ops.sum(cosines * real))
        count += float(ops.sum(real))
    return (sums / count).tolist()


def _hidden_states(
    model: keras.Model, inputs: dict[str, np.ndarray]
) -> Sequence[keras.KerasTensor]:
    return model.hidden_states(tree.map_structure(ops.convert_to_tensor, inputs))
