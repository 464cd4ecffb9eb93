"""An encoder that gives a text as one vector: what sentence-transformers' models are.

Dimensions: B batch, S sequence, D hidden, E the vector.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
from keras import KerasTensor as Tensor
from keras import ops

from tf_distilbert.errors import UserError
from tf_distilbert.losses.per_token import unit_length
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.encoder_model import EncoderModel

if TYPE_CHECKING:  # it needs TensorFlow; the model runs on any backend
    from tf_distilbert.tokenization.tokenizer import Tokenizer

POOLINGS = ("mean", "cls", "max", "weightedmean", "mean_sqrt_len_tokens")
"""How the hidden states of a text's tokens become one vector; sentence-transformers' names."""

ACTIVATIONS = ("linear", "tanh")
"""What may follow the projection."""

_LOWEST = -1e30  # below any hidden state, and finite, which exports in 8 bits need


@keras.saving.register_keras_serializable("tf_distilbert")
class SentenceEncoder(EncoderModel):
    """Texts as vectors: a pooled BERT, RoBERTa or DistilBERT.

    What it computes is what sentence-transformers computes with the modules ``Transformer``,
    ``Pooling``, ``Dense`` and ``Normalize``, the last two where they are asked for.

    Args:
        architecture: of the encoder.
        tokenizer: the tokenizer whose ids it was trained on.
        pooling: of the last hidden states of all tokens, start and end included: their ``mean``;
            the ``cls`` token's; their ``max``, each dimension by itself; ``weightedmean``, with the
            weights 1, 2, ...; ``mean_sqrt_len_tokens``, their sum by the square root of their
            number.
        normalize: give vectors of length 1.
        max_length: tokens of a text that are read, start and end included; by default as many as
            there are positions.
        projection_size: size of the vector, by a dense layer after the pooling; null: the hidden
            size, without one.
        projection_activation: ``linear`` or ``tanh``, after the projection.
        projection_bias: whether the projection has a bias.
        prompts: name to what is put before a text of this kind, such as ``{"query": "query: "}``.
        default_prompt: the name of the one that texts get of which nothing is said.

    Called as `EncoderModel` it gives vectors, float32 [B, E].

    Raises:
        UserError: a pooling or an activation that is none of these, a length or a size out of
            range, or a default prompt that is not among the prompts.

    Source: Reimers and Gurevych 2019, section 3.

    Example:
        >>> model = tf_distilbert.load_task_model("path/to/all-MiniLM-L6-v2")
        >>> model.pooling, model.normalize, model.max_length
        ('mean', True, 256)
    """

    task = "embedding"

    def __init__(
        self,
        architecture: Architecture,
        tokenizer: "Tokenizer | None" = None,
        pooling: str = "mean",
        normalize: bool = False,
        max_length: int | None = None,
        projection_size: int | None = None,
        projection_activation: str = "linear",
        projection_bias: bool = True,
        prompts: Mapping[str, str] | None = None,
        default_prompt: str | None = None,
        **kwargs: Any,
    ) -> None:
        _check_choice("pooling", pooling, POOLINGS)
        _check_choice("projection_activation", projection_activation, ACTIVATIONS)
        self.pooling, self.normalize = pooling, normalize
        self.max_length = _checked_length(max_length, architecture)
        if projection_size is not None and projection_size < 1:
            raise UserError(f"projection_size is {projection_size}; it must be above 0, or null")
        self.projection_size, self.projection_bias = projection_size, projection_bias
        self.projection_activation = projection_activation
        self.prompts = dict(prompts or {})
        if default_prompt is not None and default_prompt not in self.prompts:
            raise UserError(
                f"default_prompt is {default_prompt!r}, which is none of the prompts: "
                f"{', '.join(self.prompts) or 'there are none'}"
            )
        self.default_prompt = default_prompt
        super().__init__(architecture, tokenizer, **kwargs)

    def _make_head(self, **options: Any) -> keras.layers.Dense | None:
        if self.projection_size is None:
            return None
        return keras.layers.Dense(
            self.projection_size,
            activation=self.projection_activation,
            use_bias=self.projection_bias,
            **options,
        )

    def build(self, input_shape: tuple | None = None) -> None:
        """Create the weights; they depend on the settings alone."""
        self.encoder.build()
        if self.head is not None:
            self.head.build((None, self.architecture.hidden_size))
        self.built = True

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Give the texts' vectors, float32 [B, E]."""
        return self.embed(self.hidden_states(inputs, training)[-1], inputs["padding_mask"])

    def check_length(self, sequence_length: int) -> None:
        """See that no more of a text is taken than the model reads.

        Raises:
            UserError: it is more.
        """
        if sequence_length > self.max_length:
            raise UserError(
                f"sequence_length is {sequence_length}, the model reads {self.max_length} tokens "
                f"of a text; use {self.max_length} at most"
            )

    def embed(self, hidden: Tensor, padding_mask: Tensor) -> Tensor:
        """Make vectors of last hidden states: float [B, S, D] and bool or 0/1 [B, S] to [B, E]."""
        vectors = pool(hidden, padding_mask, self.pooling)
        if self.head is not None:
            vectors = ops.cast(self.head(vectors), "float32")
        return unit_length(vectors) if self.normalize else vectors

    @property
    def embedding_size(self) -> int:
        """E, the numbers of a vector."""
        return self.projection_size or self.architecture.hidden_size

    def prompt(self, name: str | None = None) -> str:
        """Give what is put before a text.

        Args:
            name: of the prompt; by default that of `default_prompt`, if any.

        Raises:
            UserError: there is no prompt of this name.
        """
        name = self.default_prompt if name is None else name
        if name is None:
            return ""
        if name not in self.prompts:
            there = ", ".join(self.prompts) or "there are none"
            raise UserError(f"prompt {name!r}: is none of the model's prompts: {there}")
        return self.prompts[name]

    @property
    def settings(self) -> dict[str, Any]:
        """What the constructor takes beside architecture and tokenizer."""
        return self._settings()

    def _settings(self) -> dict[str, Any]:
        names = ("pooling", "normalize", "max_length", "prompts", "default_prompt")
        projection = ("projection_size", "projection_activation", "projection_bias")
        return {name: getattr(self, name) for name in (*names, *projection)}


def pool(hidden: Tensor, padding_mask: Tensor, pooling: str) -> Tensor:
    """Make one vector of each text's hidden states.

    Args:
        hidden: float [B, S, D]; what it is at padding does not matter.
        padding_mask: bool or 0/1 [B, S], true at real tokens.
        pooling: one of `POOLINGS`.

    Returns:
        float32 [B, D]; finite for a row without any token, too.
    """
    hidden = ops.cast(hidden, "float32")
    real = ops.cast(padding_mask, "bool")[..., None]
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "max":
        largest = ops.max(ops.where(real, hidden, _LOWEST), axis=1)
        return ops.where(ops.any(real, axis=1), largest, 0.0)  # a row may be empty
    weights = ops.cast(real, "float32")
    if pooling == "weightedmean":
        weights *= ops.arange(1, ops.shape(hidden)[1] + 1, dtype="float32")[None, :, None]
    total = ops.sum(ops.where(real, hidden, 0.0) * weights, axis=1)
    count = ops.maximum(ops.sum(weights, axis=1), 1e-9)
    return total / (ops.sqrt(count) if pooling == "mean_sqrt_len_tokens" else count)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"{name} {value!r}: use one of {', '.join(choices)}")


def _checked_length(length: int | None, architecture: Architecture) -> int:
    positions = architecture.max_positions
    if length is None:
        return positions
    if not 3 <= length <= positions:  # start, end, and a token
        raise UserError(f"max_length is {length}; the model takes 3 to {positions}")
    return length
