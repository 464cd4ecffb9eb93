"""Which layers of a teacher and a student are compared, and how their hidden states are.

It serves the distillation of a student and a fine-tuning with a teacher alike.

Dimensions: B batch, S sequence, D hidden (the models' may differ), L layers.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor as Tensor
from keras import ops

from tf_distilbert.errors import UserError
from tf_distilbert.losses.per_token import hidden_state_loss
from tf_distilbert.models.architecture import Architecture

Pair = tuple[int, int]
"""A layer of the teacher and one of the student, from 0."""


class HiddenStateComparison(keras.layers.Layer):
    """Tells how far the outputs of a student's layers are from those of its teacher's.

    Where the models' widths differ, each pair has a linear map from the student's width to the
    teacher's. The maps are trained with the student and are in the checkpoints of a run; they are
    no part of the student.

    Args:
        teacher, student: the architectures.
        pairs: which layer of the teacher each layer of the student learns from, ``[teacher,
            student]``, from 0. A layer may be in several pairs. By default every layer of the
            student is compared with one of the teacher, evenly, the last with the last.
        **kwargs: of any Keras layer.

    Attributes:
        pairs: those compared.

    Raises:
        UserError: a pair names a layer that a model does not have, or there is none.

    Source: Jiao et al. 2020, "TinyBERT", equation 8 (with the mean over width and layers in place
    of the sum over layers); Sun et al. 2019, "Patient Knowledge Distillation", for equal widths.
    """

    def __init__(
        self,
        teacher: Architecture,
        student: Architecture,
        pairs: Sequence[Sequence[int]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if pairs is None:
            pairs = even_pairs(teacher.num_layers, student.num_layers)
        self.pairs = [checked_pair(pair, teacher, student, "loss.hidden_layers") for pair in pairs]
        if not self.pairs:
            raise UserError("loss.hidden_layers is empty; give pairs of layers, [teacher, student]")
        self.projections: list[keras.layers.Dense] = []
        if teacher.hidden_size != student.hidden_size:
            for i in range(len(self.pairs)):
                projection = keras.layers.Dense(
                    teacher.hidden_size,
                    use_bias=False,
                    name=f"projection_{i}",
                    dtype=self.dtype_policy,
                )
                projection.build((None, None, student.hidden_size))
                self.projections.append(projection)
        self.built = True

    def call(
        self,
        student_states: Sequence[Tensor],
        teacher_states: Sequence[Tensor],
        padding_mask: Tensor,
    ) -> Tensor:
        """Give each token's squared distance, a mean over pairs and widths.

        Args:
            student_states: L + 1 tensors float [B, S, D]: the embeddings, then each layer's output.
            teacher_states: the same of the teacher.
            padding_mask: bool or 0/1 [B, S]; what padding holds has no influence.

        Returns:
            float32 [B, S], 0 at padding.
        """
        # Times what padding holds, a gradient of 0 may be no number.
        real = ops.cast(padding_mask, "bool")[..., None]
        total = 0.0
        for i, (theirs, ours) in enumerate(self.pairs):
            state = student_states[ours + 1]
            if self.projections:
                state = self.projections[i](ops.where(real, state, ops.zeros_like(state)))
            total += hidden_state_loss(state, teacher_states[theirs + 1], padding_mask)
        return total / len(self.pairs)


def even_pairs(num_teacher_layers: int, num_student_layers: int) -> list[Pair]:
    """Pair every layer of a student with one of its teacher: evenly, the last with the last.

    Example:
        >>> even_pairs(12, 6)
        [(1, 0), (3, 1), (5, 2), (7, 3), (9, 4), (11, 5)]
    """
    depth = num_teacher_layers / num_student_layers
    return [(max(round((i + 1) * depth) - 1, 0), i) for i in range(num_student_layers)]


def checked_pair(
    pair: Sequence[int], teacher: Architecture, student: Architecture, key: str
) -> Pair:
    """Give a pair of layers, once both models have them.

    Args:
        pair: ``[teacher, student]``, from 0.
        teacher, student: the architectures.
        key: the setting's name, for the message.

    Raises:
        UserError: it is no pair, or a model does not have the layer.
    """
    depths = {"teacher": teacher.num_layers, "student": student.num_layers}
    if len(pair) != 2:
        raise UserError(f"{key} has {list(pair)}; give two layers, [teacher, student]")
    for layer, (name, depth) in zip(pair, depths.items(), strict=True):
        if not 0 <= layer < depth:
            raise UserError(
                f"{key} names {name} layer {layer}; the {name} has layers 0 to {depth - 1}"
            )
    return pair[0], pair[1]
