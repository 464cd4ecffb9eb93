"""An encoder with the head that predicts masked words: what a teacher is and what a student is.

Dimensions: B batch, S sequence, P positions to predict, D hidden, V vocabulary, L layers.
"""

from collections.abc import Mapping
from typing import Any

import keras
from keras import KerasTensor as Tensor
from keras import ops

from tf_distilbert.losses.vocabulary import Projection
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.encoder import activate
from tf_distilbert.models.encoder_model import EncoderModel


class MaskedLMHead(keras.layers.Layer):
    """Dense, activation, LayerNorm; the output projection's bias, whose table is the embeddings."""

    def __init__(self, architecture: Architecture, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.architecture = architecture
        self.transform = keras.layers.Dense(
            architecture.hidden_size,
            kernel_initializer=keras.initializers.RandomNormal(
                stddev=architecture.initializer_range
            ),
            name="transform",
            dtype=self.dtype_policy,
        )
        self.norm = keras.layers.LayerNormalization(
            epsilon=architecture.layer_norm_epsilon, name="norm", dtype=self.dtype_policy
        )

    def build(self, input_shape: tuple | None = None) -> None:
        """Create the weights; they depend on the architecture alone."""
        self.transform.build((None, self.architecture.hidden_size))
        self.norm.build((None, self.architecture.hidden_size))
        self.output_bias = self.add_weight(
            shape=(self.architecture.vocabulary_size,), initializer="zeros", name="output_bias"
        )

    def call(self, hidden: Tensor) -> Tensor:
        """Transform last hidden states into what the output projection takes: float [N, D]."""
        return self.norm(activate(self.architecture.activation, self.transform(hidden)))


@keras.saving.register_keras_serializable("tf_distilbert")
class MaskedLanguageModel(EncoderModel):
    """BERT, RoBERTa or DistilBERT with its masked-LM head.

    Args:
        architecture: sizes, family, dropout.
        tokenizer: the tokenizer whose ids it was trained on; written by `save_model`.

    Call it with a dictionary and get logits, float [B, P, V]. Beside the keys of `EncoderModel`:

    - ``mask_positions``: int [B, P], where to predict

    Source: Devlin et al. 2019, section 3.1; the head as in Google's ``run_pretraining.py``.

    Example:
        >>> model = tf_distilbert.load_model("saved_models/sample_teacher")
        >>> logits = model({"token_ids": ids, "padding_mask": mask, "mask_positions": positions})
    """

    task = "masked_lm"

    def _make_head(self, **options: Any) -> MaskedLMHead:
        return MaskedLMHead(self.architecture, **options)

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Give logits at the positions asked for; see the class for shapes."""
        last = self.hidden_states(inputs, training)[-1]
        logits = self.logits(gather_positions(last, inputs["mask_positions"]))
        # Both sizes by name: with no position at all, none could be inferred.
        rows, slots = ops.shape(inputs["mask_positions"])
        return ops.reshape(logits, (rows, slots, self.architecture.vocabulary_size))

    def logits(self, hidden: Tensor) -> Tensor:
        """Predict the vocabulary from last hidden states: float [N, D] to float [N, V]."""
        hidden, table, bias = self.projection(hidden)
        table, bias = ops.cast(table, hidden.dtype), ops.cast(bias, hidden.dtype)
        return ops.matmul(hidden, ops.transpose(table)) + bias

    def projection(self, hidden: Tensor) -> Projection:
        """Give what makes the logits of last hidden states, float [N, D]."""
        return Projection(self.head(hidden), self.encoder.token_table, self.head.output_bias)


def gather_positions(hidden: Tensor, positions: Tensor) -> Tensor:
    """Pick rows of each sequence: float [B, S, D] and int [B, P] to float [B·P, D]."""
    sequence_length, size = ops.shape(hidden)[1], hidden.shape[-1]
    first_rows = ops.arange(ops.shape(hidden)[0], dtype="int32")[:, None] * sequence_length
    rows = ops.reshape(ops.cast(positions, "int32") + first_rows, (-1,))
    return ops.take(ops.reshape(hidden, (-1, size)), rows, axis=0)
