"""How far a student's vectors of texts are from its teacher's.

Dimensions: B texts, E a vector (the models' may differ).
"""

from typing import Any

import keras
from keras import KerasTensor as Tensor

from tf_distilbert.errors import UserError
from tf_distilbert.losses.per_token import cosine_loss, embedding_mse_loss

EMBEDDING_LOSSES = {"cosine": cosine_loss, "mse": embedding_mse_loss}
"""What may be compared: directions alone, or directions and lengths."""


class EmbeddingComparison(keras.layers.Layer):
    """Tells how far vectors of a student are from its teacher's.

    Where the sizes differ, a linear map from the student's to the teacher's is trained with the
    student; it is in the checkpoints of a run, and no part of the student. A student whose vectors
    shall have the teacher's size has a projection of its own: see `build_student`.

    Args:
        teacher_size, student_size: E of each.
        loss: ``cosine`` or ``mse``.
        **kwargs: of any Keras layer.

    Raises:
        UserError: the loss is neither.

    Source: Reimers and Gurevych 2020, "Making Monolingual Sentence Embeddings Multilingual using
    Knowledge Distillation", equation 1, for the squared distance.
    """

    def __init__(
        self, teacher_size: int, student_size: int, loss: str = "cosine", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if loss not in EMBEDDING_LOSSES:
            raise UserError(f"embedding_loss {loss!r}: use {' or '.join(EMBEDDING_LOSSES)}")
        self.loss, self.projection = loss, None
        if teacher_size != student_size:
            self.projection = keras.layers.Dense(
                teacher_size, use_bias=False, name="projection", dtype=self.dtype_policy
            )
            self.projection.build((None, student_size))
        self.built = True

    def call(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare float [B, E] with float [B, E]: float32 [B], one a text."""
        if self.projection is not None:
            student = self.projection(student)
        return EMBEDDING_LOSSES[self.loss](student, teacher)
