"""A model that has an encoder: what every model here is, whatever head it carries.

Dimensions: B batch, S sequence, D hidden, L layers.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

import keras
from keras import KerasTensor as Tensor

from tf_distilbert.backend import devices
from tf_distilbert.errors import UserError
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.encoder import Encoder

if TYPE_CHECKING:  # it needs TensorFlow; the model runs on any backend
    from tf_distilbert.tokenization.tokenizer import Tokenizer


@keras.saving.register_keras_serializable("tf_distilbert")
class EncoderModel(keras.Model):
    """A BERT, RoBERTa or DistilBERT without a head, and the base of those that have one.

    Args:
        architecture: sizes, family, dropout.
        tokenizer: the tokenizer whose ids it was trained on; written by `save_model`.
        kwargs: ``name``, ``trainable`` and ``dtype``, as of any Keras model. Every layer takes the
            dtype; without one, Keras's global policy.

    Call it with a dictionary; it gives the last hidden states, float [B, S, D]:

    - ``token_ids``: int [B, S]
    - ``padding_mask``: bool or 0/1 [B, S], true at real tokens
    - ``segment_ids``: int [B, S], optional, used by BERT alone
    - ``position_ids`` and ``sequence_ids``: int [B, S], optional, for packed rows; see `Encoder`

    The dtype of what comes out is the compute dtype of the model's policy, such as bfloat16.

    Keras's own means work with it: ``model.save("model.keras")`` writes everything, the tokenizer
    and the policy too, and ``keras.models.clone_model`` makes one with fresh weights. To read the
    file, Keras must know the class, which it does from when the class was first imported. As
    ``import tf_distilbert`` imports nothing yet, name it, as in the second example.

    Source: Devlin et al. 2019, section 3.

    Example:
        >>> model = tf_distilbert.load_task_model("path/to/folder", task="encoder")
        >>> hidden = model({"token_ids": ids, "padding_mask": ids != model.tokenizer.pad_id})

        >>> from tf_distilbert import EncoderModel
        >>> model = keras.models.load_model("model.keras")  # which holds an EncoderModel
    """

    task = "encoder"

    def __init__(
        self, architecture: Architecture, tokenizer: "Tokenizer | None" = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.architecture = architecture
        self.tokenizer = tokenizer
        self.encoder = Encoder(architecture, name="encoder", dtype=self.dtype_policy)
        self.head = self._make_head(name="head", dtype=self.dtype_policy)
        self.build()

    def _make_head(self, **options: Any) -> Any:
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

    def query_key_value(self, hidden_states: Sequence[Tensor], layer: int) -> Tensor:
        """Give a layer's projections: float [B, S, 3·D], its queries, keys and values side by side.

        They are computed from what the layer took. Where the layer computes them as well, in the
        same graph, compilers make one of both.

        Args:
            hidden_states: from `hidden_states`.
            layer: from 0.
        """
        return self.encoder.blocks[layer].query_key_value(hidden_states[layer])

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

    def check_packing(self) -> None:
        """See that rows of several sequences can be taken; these can.

        Raises:
            UserError: the attention cannot keep sequences apart (keras-nlp's).
        """

    def _settings(self) -> dict[str, Any]:
        """What the constructor takes beside architecture and tokenizer."""
        return {}

    def get_config(self) -> dict[str, Any]:
        """Describe the model but for its weights, in what JSON can write; see `from_config`."""
        return {
            **super().get_config(),
            "architecture": asdict(self.architecture),
            "tokenizer": keras.saving.serialize_keras_object(self.tokenizer),
            **self._settings(),
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """Make a model with fresh weights, as `get_config` describes it.

        Args:
            config: what `get_config` gave.
            custom_objects: classes by name, for a tokenizer of another package.

        Raises:
            UserError: a number of the architecture is out of range, or the tokenizer needs a
                package that is not installed.
        """
        given = dict(config)
        architecture = Architecture(**given.pop("architecture"))
        tokenizer, trainable = given.pop("tokenizer"), given.pop("trainable")
        if tokenizer is not None:
            # Here its class becomes known to Keras. A model without one needs no TensorFlow.
            importlib.import_module("tf_distilbert.tokenization.folder")
            tokenizer = keras.saving.deserialize_keras_object(tokenizer, custom_objects)
        model = cls(architecture, tokenizer=tokenizer, **given)
        model.trainable = trainable  # as an argument it would not reach the layers
        return model

    def as_teacher(self) -> Self:
        """Copy a model that will not learn, its weights in the dtype that it computes in.

        Where the strategy in force cannot share such weights, it stays as it is.
        """
        dtype = self.compute_dtype
        return self.cast_copy(dtype) if devices.shares_weights_in(dtype) else self

    def cast_copy(self, dtype: str) -> Self:
        """Copy a model that will not learn, its weights in the dtype that it computes in.

        That halves the memory of a model that computes in 16 bits, and no step has to cast.

        Args:
            dtype: ``float32``, ``bfloat16`` or ``float16``. Softmax and norms compute in float32
                in any of them.

        Returns:
            The copy; the model itself if its weights have that dtype already.
        """
        if self.variable_dtype == self.compute_dtype == dtype:
            return self
        settings = self._settings()
        copy = type(self)(self.architecture, tokenizer=self.tokenizer, dtype=dtype, **settings)
        for own, original in zip(copy.variables, self.variables, strict=True):
            own.assign(original)
        return copy
