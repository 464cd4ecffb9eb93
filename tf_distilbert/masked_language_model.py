"""An encoder with the head that predicts masked words: what a teacher is and what a student is.

Dimensions: B batch, S sequence, P positions to predict, D hidden, V vocabulary, L layers.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import keras
from keras import KerasTensor as Tensor
from keras import ops

from tf_distilbert.activation import activate
from tf_distilbert.architecture import Architecture
from tf_distilbert.encoder import Encoder
from tf_distilbert.errors import UserError
from tf_distilbert.vocabulary_loss import Projection

if TYPE_CHECKING:  # it needs TensorFlow; the model runs on any backend
    from tf_distilbert.tokenization.tokenizer import Tokenizer


class MaskedLMHead(keras.layers.Layer):
    """Dense, activation, LayerNorm; the output projection's bias, whose table is the embeddings."""

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

    def call(self, hidden: Tensor) -> Tensor:
        """Transform last hidden states into what the output projection takes: float [N, D]."""
        return self.norm(activate(self.architecture.activation, self.transform(hidden)))


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
        hidden, table, bias = self.projection(hidden)
        table, bias = ops.cast(table, hidden.dtype), ops.cast(bias, hidden.dtype)
        return ops.matmul(hidden, ops.transpose(table)) + bias

    def projection(self, hidden: Tensor) -> Projection:
        """Give what makes the logits of last hidden states, float [N, D]."""
        return Projection(self.head(hidden), self.encoder.token_table, self.head.output_bias)

    def check_packing(self) -> None:
        """See that rows of several sequences can be taken; these can.

        Raises:
            UserError: the attention cannot keep sequences apart (keras-nlp's).
        """

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


def held_in_compute_dtype(model: MaskedLanguageModel) -> MaskedLanguageModel:
    """Copy a model that will not learn, its weights in the dtype that it computes in.

    Under `mixed_bfloat16` that halves their memory, and no step has to cast them again.

    Args:
        model: any; it stays as it is.

    Returns:
        The copy; the model itself if its weights have that dtype already.
    """
    if model.variable_dtype == model.compute_dtype:
        return model
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(model.compute_dtype)
    try:
        copy = MaskedLanguageModel(model.architecture, model.tokenizer)
    finally:
        keras.config.set_dtype_policy(policy)
    for own, original in zip(copy.variables, model.variables, strict=True):
        own.assign(original)
    return copy


def gather_positions(hidden: Tensor, positions: Tensor) -> Tensor:
    """Pick rows of each sequence: float [B, S, D] and int [B, P] to float [B·P, D]."""
    sequence_length, size = ops.shape(hidden)[1], hidden.shape[-1]
    first_rows = ops.arange(ops.shape(hidden)[0], dtype="int32")[:, None] * sequence_length
    rows = ops.reshape(ops.cast(positions, "int32") + first_rows, (-1,))
    return ops.take(ops.reshape(hidden, (-1, size)), rows, axis=0)
