"""A model that has an encoder: what every model here is, whatever head it carries.

Dimensions: B batch, S sequence, D hidden, L layers.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import keras
from keras import KerasTensor as Tensor

from tf_distilbert.errors import UserError
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.encoder import Encoder

if TYPE_CHECKING:  # it needs TensorFlow; the model runs on any backend
    from tf_distilbert.tokenization.tokenizer import Tokenizer


class EncoderModel(keras.Model):
    """A BERT, RoBERTa or DistilBERT without a head, and the base of those that have one.

    Args:
        architecture: sizes, family, dropout.
        tokenizer: the tokenizer whose ids it was trained on; written by `save_model`.

    Call it with a dictionary; it gives the last hidden states, float [B, S, D]:

    - ``token_ids``: int [B, S]
    - ``padding_mask``: bool or 0/1 [B, S], true at real tokens
    - ``segment_ids``: int [B, S], optional, used by BERT alone
    - ``position_ids`` and ``sequence_ids``: int [B, S], optional, for packed rows; see `Encoder`

    The dtype of what comes out is the compute dtype of Keras's policy: float32, or bfloat16.

    Source: Devlin et al. 2019, section 3.

    Example:
        >>> model = tf_distilbert.load_task_model("path/to/folder", task="encoder")
        >>> hidden = model({"token_ids": ids, "padding_mask": ids != model.tokenizer.pad_id})
    """

    task = "encoder"

    def __init__(
        self, architecture: Architecture, tokenizer: "Tokenizer | None" = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.architecture = architecture
        self.tokenizer = tokenizer
        self.encoder = Encoder(architecture, name="encoder")
        self.head = self._make_head()
        self.build()

    def _make_head(self) -> Any:
        return None

    def build(self, input_shape: tuple | None = None) -> None:
        """Create the weights; they depend on the architecture alone."""
        self.encoder.build()
        if self.head is not None:
            self.head.build()
        self.built = True

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Give the last hidden states; see the class for shapes."""
        return self.hidden_states(inputs, training)[-1]

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

    def _settings(self) -> dict[str, Any]:
        """What the constructor takes beside architecture and tokenizer."""
        return {}

    def cast_copy(self, dtype: str) -> Self:
        """Copy a model that will not learn, its weights in the dtype that it computes in.

        That halves the memory of a model that computes in bfloat16, and no step has to cast.

        Args:
            dtype: ``float32`` or ``bfloat16``. Softmax and norms compute in float32 in either.

        Returns:
            The copy; the model itself if its weights have that dtype already.
        """
        if self.variable_dtype == self.compute_dtype == dtype:
            return self
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(dtype)
        try:
            copy = type(self)(self.architecture, tokenizer=self.tokenizer, **self._settings())
        finally:
            keras.config.set_dtype_policy(policy)
        for own, original in zip(copy.variables, self.variables, strict=True):
            own.assign(original)
        return copy
