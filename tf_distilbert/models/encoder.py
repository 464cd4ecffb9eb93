"""The transformer encoder of BERT, RoBERTa and DistilBERT: one for teacher and student.

Written with `keras.ops` alone, so that it runs on every Keras backend. Between the layers the
batch is one flat list of tokens: each projection is then one plain matrix product, which on a CPU
is markedly faster than the batched einsum of keras-nlp's encoder. Softmax and LayerNorm compute
in float32 under any precision policy. Where a device has attention as one kernel, which never
writes the scores to memory, that is taken.

Dimensions: B batch, S sequence, N = B·S tokens, D hidden, H heads, K head size, L layers.

Source: Devlin et al. 2019, section 3, in the post-LayerNorm form of the released checkpoints;
numerically equal to Hugging Face's `BertModel`, `RobertaModel` and `DistilBertModel`
(docs/parity.md).
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import keras
from keras import KerasTensor as Tensor
from keras import ops

from tf_distilbert.backend import kernels
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.dropout import Dropout

# Added to the scores of padding, which are float32: exp() of it is exactly 0 there.
MASKED_SCORE = -1e9


class Block(keras.layers.Layer):
    """Self-attention and feed-forward, each with residual connection and LayerNorm after it."""

    def __init__(self, architecture: Architecture, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.architecture = architecture
        dense = partial(_dense, architecture, self.dtype_policy)
        norm = partial(_norm, architecture, self.dtype_policy)
        dropout = partial(Dropout, dtype=self.dtype_policy)
        self.query_key_value = dense(3 * architecture.hidden_size, "query_key_value")
        self.attention_output = dense(architecture.hidden_size, "attention_output")
        self.attention_norm = norm("attention_norm")
        self.intermediate = dense(architecture.intermediate_size, "intermediate")
        self.output_dense = dense(architecture.hidden_size, "output_dense")
        self.output_norm = norm("output_norm")
        self.attention_dropout = dropout(architecture.attention_dropout)
        self.attention_output_dropout = dropout(architecture.attention_output_dropout)
        self.output_dropout = dropout(architecture.dropout)

    def build(self, input_shape: tuple | None = None) -> None:
        """Create the weights; they depend on the architecture alone."""
        hidden = (None, self.architecture.hidden_size)
        for layer in (self.query_key_value, self.attention_output, self.attention_norm):
            layer.build(hidden)
        for layer in (self.intermediate, self.output_norm):
            layer.build(hidden)
        self.output_dense.build((None, self.architecture.intermediate_size))

    def call(
        self, tokens: Tensor, seen: Tensor, sequence_length: int, training: bool = False
    ) -> Tensor:
        """Map hidden states to the next layer's: float [N, D] to float [N, D].

        Args:
            tokens: float [N, D].
            seen: bool [B, 1, 1, S] or [B, 1, S, S] (query, key), whether a query sees a key. (A
                float would be cast to the compute dtype by Keras, and -1e9 is infinite in float16.)
            sequence_length: S.
            training: whether dropout is active.
        """
        attended = self.attend(tokens, seen, sequence_length, training)
        attended = self.attention_output_dropout(self.attention_output(attended), training=training)
        tokens = self.attention_norm(tokens + attended)
        expanded = activate(self.architecture.activation, self.intermediate(tokens), training)
        expanded = self.output_dropout(self.output_dense(expanded), training=training)
        return self.output_norm(tokens + expanded)

    def attend(
        self, tokens: Tensor, seen: Tensor, sequence_length: int, training: bool = False
    ) -> Tensor:
        """Give what the heads find, side by side, before the output projection: float [N, D].

        Arguments as in `call`.
        """
        heads, size = self.architecture.num_heads, self.architecture.head_size
        projected = ops.reshape(self.query_key_value(tokens), (-1, sequence_length, 3, heads, size))
        drops = training and self.attention_dropout.rate
        if kernels.has_fused_attention(self.compute_dtype) and not drops:
            query, key, value = ops.unstack(projected, 3, axis=2)
            context = fused_attention(query, key, value, seen)
            return ops.reshape(context, (-1, self.architecture.hidden_size))
        query, key, value = ops.unstack(ops.transpose(projected, (2, 0, 3, 1, 4)), 3)  # [B,H,S,K]
        # Scaling the query costs S·K products a head, scaling the scores would cost S·S.
        scores = ops.matmul(query * size**-0.5, ops.transpose(key, (0, 1, 3, 2)))
        scores = ops.cast(scores, "float32") + ops.where(seen, 0.0, MASKED_SCORE)
        probabilities = ops.softmax(scores)
        probabilities = self.attention_dropout(probabilities, training=training)
        context = ops.matmul(ops.cast(probabilities, value.dtype), value)
        return ops.reshape(
            ops.transpose(context, (0, 2, 1, 3)), (-1, self.architecture.hidden_size)
        )


class Encoder(keras.layers.Layer):
    """Embeddings and a stack of blocks; gives every hidden state.

    Args:
        architecture: sizes, activation, dropout.
    """

    def __init__(self, architecture: Architecture, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.architecture = architecture
        self.embedding_norm = _norm(architecture, self.dtype_policy, "embedding_norm")
        self.embedding_dropout = Dropout(architecture.dropout, dtype=self.dtype_policy)
        self.blocks = [
            Block(architecture, name=f"block_{i}", dtype=self.dtype_policy)
            for i in range(architecture.num_layers)
        ]

    def build(self, input_shape: tuple | None = None) -> None:
        """Create the weights; they depend on the architecture alone."""
        architecture = self.architecture
        self.token_table = self._table("token_table", architecture.vocabulary_size)
        self.position_table = self._table(
            "position_table", architecture.reserved_positions + architecture.max_positions
        )
        if architecture.num_segments:
            self.segment_table = self._table("segment_table", architecture.num_segments)
        self.embedding_norm.build((None, architecture.hidden_size))
        for block in self.blocks:
            block.build()

    def call(
        self,
        token_ids: Tensor,
        padding_mask: Tensor,
        segment_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        sequence_ids: Tensor | None = None,
        training: bool = False,
    ) -> tuple[Tensor, ...]:
        """Encode a batch.

        Args:
            token_ids: int [B, S].
            padding_mask: bool or 0/1 [B, S], true at real tokens.
            segment_ids: int [B, S] (0 for the first text, 1 for the second); all 0 if left out.
                Ignored by an encoder without a segment table.
            position_ids: int [B, S], where in its sequence each token stands; 0, 1, 2, ... if left
                out.
            sequence_ids: int [B, S], where several sequences are packed into a row: tokens see
                those of the same number alone. One sequence a row if left out.
            training: whether dropout is active.

        Returns:
            L + 1 tensors float [B, S, D]: the embeddings, then the output of each block.
        """
        sequence_length = ops.shape(token_ids)[1]
        seen = seen_keys(padding_mask, sequence_ids)
        tokens = self._embed(token_ids, segment_ids, position_ids, training)
        states = [tokens]
        for block in self.blocks:
            states.append(
                block(states[-1], seen, sequence_length=sequence_length, training=training)
            )
        shape = (-1, sequence_length, self.architecture.hidden_size)
        return tuple(ops.reshape(state, shape) for state in states)

    def _embed(
        self,
        token_ids: Tensor,
        segment_ids: Tensor | None,
        position_ids: Tensor | None,
        training: bool,
    ) -> Tensor:
        first, sequence_length = self.architecture.reserved_positions, ops.shape(token_ids)[1]
        embedded = ops.take(self.token_table, token_ids, axis=0)
        if position_ids is None:
            embedded = embedded + self.position_table[first : first + sequence_length]
        else:
            embedded = embedded + ops.take(self.position_table, first + position_ids, axis=0)
        if self.architecture.num_segments:
            if segment_ids is None:
                embedded = embedded + self.segment_table[0]
            else:
                embedded = embedded + ops.take(self.segment_table, segment_ids, axis=0)
        embedded = ops.cast(embedded, self.compute_dtype)
        embedded = ops.reshape(embedded, (-1, self.architecture.hidden_size))
        return self.embedding_dropout(self.embedding_norm(embedded), training=training)

    def _table(self, name: str, rows: int) -> keras.Variable:
        return self.add_weight(
            shape=(rows, self.architecture.hidden_size),
            initializer=_initializer(self.architecture),
            name=name,
            autocast=False,  # or Keras would cast all of it for the few rows that are taken
        )


def _initializer(architecture: Architecture) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=architecture.initializer_range)


def _dense(
    architecture: Architecture, dtype: keras.DTypePolicy, units: int, name: str
) -> keras.layers.Dense:
    return keras.layers.Dense(
        units, kernel_initializer=_initializer(architecture), name=name, dtype=dtype
    )


def _norm(
    architecture: Architecture, dtype: keras.DTypePolicy, name: str
) -> keras.layers.LayerNormalization:
    return keras.layers.LayerNormalization(
        epsilon=architecture.layer_norm_epsilon, name=name, dtype=dtype
    )


def seen_keys(padding_mask: Tensor, sequence_ids: Tensor | None = None) -> Tensor:
    """Tell which tokens each token sees: bool [B, 1, 1, S] or [B, 1, S, S] (query, key).

    Args:
        padding_mask, sequence_ids: as `Encoder` takes them.
    """
    seen = ops.cast(padding_mask, "bool")[:, None, None, :]
    if sequence_ids is None:
        return seen
    return seen & (sequence_ids[:, None, :, None] == sequence_ids[:, None, None, :])


def fused_attention(query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
    """Compute ``softmax(query · key / sqrt(K)) · value`` over the keys that may be seen.

    Args:
        query, key, value: float [B, S, H, K].
        seen: bool [B, 1, 1, S] or [B, 1, S, S] (query, key), whether a query sees a key.

    Returns:
        float [B, S, H, K].
    """
    length = query.shape[1]
    seen = ops.broadcast_to(seen, (seen.shape[0], 1, length, length))
    return ops.dot_product_attention(query, key, value, mask=seen)


def activate(name: str, values: Tensor, training: bool = False) -> Tensor:
    """Apply the activation ``gelu`` (erf), ``gelu_tanh`` or ``relu``.

    Args:
        name: which.
        values: float [...].
        training: whether a gradient is wanted. Without one, TensorFlow makes GELU a part of the
            matrix product before it; with one, it is compiled, and its gradient with it.

    Returns:
        The same shape and dtype.
    """
    if name == "relu":
        return ops.relu(values)
    approximate = name == "gelu_tanh"
    if training:
        return _compiled_gelu(approximate)(values)
    return ops.gelu(values, approximate=approximate)


@cache
def _compiled_gelu(approximate: bool) -> Callable[[Tensor], Tensor]:
    return kernels.recomputed(partial(_gelu, approximate=approximate))


def _gelu(values: Tensor, approximate: bool) -> Tensor:
    # Compiled, a detour through float32 costs nothing.
    result = ops.gelu(ops.cast(values, "float32"), approximate=approximate)
    return ops.cast(result, values.dtype)
