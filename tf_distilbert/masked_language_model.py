"""An encoder with the head that predicts masked words: what a teacher is and what a student is.

Dimensions: B batch, S sequence, P positions to predict, D hidden, V vocabulary, L layers.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import keras
from keras import KerasTensor as Tensor
from keras import ops

from tf_distilbert.architecture import Architecture
from tf_distilbert.encoder import Encoder, activate
from tf_distilbert.errors import UserError

if TYPE_CHECKING:  # it needs TensorFlow; the model runs on any backend
    from tf_distilbert.tokenization.tokenizer import Tokenizer


class MaskedLMHead(keras.layers.Layer):
    """Dense, activation, LayerNorm, and the transposed embedding table as output projection."""

    def __init__(self, architecture: Architecture, **kwargs) -> None:
        super().__init__(**kwargs)
        self.architecture = architecture
        self.transform = keras.layers.Dense(
            architecture.hidden_size,
            kernel_initializer=keras.initializers.RandomNormal(
                stddev=architecture.initializer_range
            ),
            name="transform",
        )
        self.norm = keras.layers.LayerNormalization(
            epsilon=architecture.layer_norm_epsilon, name="norm"
        )

    def build(self, input_shape: tuple | None = None) -> None:
        """Create the weights; they depend on the architecture alone."""
        self.transform.build((None, self.architecture.hidden_size))
        self.norm.build((None, self.architecture.hidden_size))
        self.output_bias = self.add_weight(
            shape=(self.architecture.vocabulary_size,), initializer="zeros", name="output_bias"
        )

    def call(self, hidden: Tensor, token_table: Tensor) -> Tensor:
        """Predict the vocabulary at each position.

        Args:
            hidden: float [N, D], last hidden states.
            token_table: float [V, D], the encoder's word embeddings.

        Returns:
            Logits, float [N, V], in the compute dtype.
        """
        transformed = self.norm(activate(self.architecture.activation, self.transform(hidden)))
        table = ops.cast(token_table, self.compute_dtype)
        return ops.matmul(transformed, ops.transpose(table)) + self.output_bias


class MaskedLanguageModel(keras.Model):
    """BERT, RoBERTa or DistilBERT with its masked-LM head.

    Args:
        architecture: sizes, family, dropout.
        tokenizer: the tokenizer whose ids it was trained on; written by `save_model`.

    Call it with a dictionary and get logits, float [B, P, V]:

    - ``token_ids``: int [B, S]
    - ``padding_mask``: bool or 0/1 [B, S], true at real tokens
    - ``mask_positions``: int [B, P], where to predict
    - ``segment_ids``: int [B, S], optional, used by BERT alone
    - ``position_ids`` and ``sequence_ids``: int [B, S], optional, for packed rows; see `Encoder`

    Example:
        >>> model = tf_distilbert.load_model("saved_models/sample_teacher")
        >>> logits = model({"token_ids": ids, "padding_mask": mask, "mask_positions": positions})
    """

    def __init__(
        self, architecture: Architecture, tokenizer: "Tokenizer | None" = None, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        self.architecture = architecture
        self.tokenizer = tokenizer
        self.encoder = Encoder(architecture, name="encoder")
        self.head = MaskedLMHead(architecture, name="head")
        self.build()

    def build(self, input_shape: tuple | None = None) -> None:
        """Create the weights; they depend on the architecture alone."""
        self.encoder.build()
        self.head.build()
        self.built = True

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Give logits at the positions asked for; see the class for shapes."""
        last = self.hidden_states(inputs, training)[-1]
        logits = self.logits(gather_positions(last, inputs["mask_positions"]))
        return ops.reshape(
            logits, (-1, ops.shape(inputs["mask_positions"])[1], self.architecture.vocabulary_size)
        )

    def hidden_states(
        self, inputs: Mapping[str, Tensor], training: bool = False
    ) -> tuple[Tensor, ...]:
        """Give the embeddings' and every block's output: L + 1 tensors float [B, S, D]."""
        return self.encoder(
            inputs["token_ids"],
            inputs["padding_mask"],
            inputs.get("segment_ids"),
            inputs.get("position_ids"),
            inputs.get("sequence_ids"),
            training=training,
        )

    def logits(self, hidden: Tensor) -> Tensor:
        """Predict the vocabulary from last hidden states: float [N, D] to float [N, V]."""
        return self.head(hidden, self.encoder.token_table)

    def check_length(self, sequence_length: int) -> None:
        """See that sequences of this length fit.

        Raises:
            UserError: there are not as many positions.
        """
        positions = self.architecture.max_positions
        if sequence_length > positions:
            raise UserError(
                f"sequence_length is {sequence_length}, the model has {positions} positions; "
                f"use {positions} at most"
            )


def gather_positions(hidden: Tensor, positions: Tensor) -> Tensor:
    """Pick rows of each sequence: float [B, S, D] and int [B, P] to float [B·P, D]."""
    sequence_length, size = ops.shape(hidden)[1], hidden.shape[-1]
    first_rows = ops.arange(ops.shape(hidden)[0], dtype="int32")[:, None] * sequence_length
    rows = ops.reshape(ops.cast(positions, "int32") + first_rows, (-1,))
    return ops.take(ops.reshape(hidden, (-1, size)), rows, axis=0)
