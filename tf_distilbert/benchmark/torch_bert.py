"""BERT and DistilBERT with their masked-LM head in plain PyTorch, where `transformers` is not.

Written as a PyTorch user would for speed: attention is one call, which takes the fused kernel of
the device, and query, key and value are one product (`transformers` makes three). There is no
padding mask, as `transformers` passes none on either where a batch has no padding: with one, the
fastest kernel could not be taken.

Dimensions: B batch, S sequence, N rows, D hidden, V vocabulary.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from tf_distilbert.architecture import Architecture

F = nn.functional


class Block(nn.Module):
    """Self-attention and feed-forward, each with residual connection and LayerNorm after it."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        hidden, inner = architecture.hidden_size, architecture.intermediate_size
        self.architecture = architecture
        self.query_key_value = nn.Linear(hidden, 3 * hidden)
        self.attention_output = nn.Linear(hidden, hidden)
        self.attention_norm = _norm(architecture)
        self.intermediate = nn.Linear(hidden, inner)
        self.output_dense = nn.Linear(inner, hidden)
        self.output_norm = _norm(architecture)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map hidden states to the next layer's: float [B, S, D] to float [B, S, D]."""
        architecture = self.architecture
        attended = self.attention_output(self._attend(tokens))
        attended = self._dropped(attended, architecture.attention_output_dropout)
        tokens = self.attention_norm(tokens + attended)
        expanded = self.output_dense(F.gelu(self.intermediate(tokens)))
        return self.output_norm(tokens + self._dropped(expanded, architecture.dropout))

    def _attend(self, tokens: Tensor) -> Tensor:
        rows, length, hidden = tokens.shape
        heads, size = self.architecture.num_heads, self.architecture.head_size
        projected = self.query_key_value(tokens).view(rows, length, 3, heads, size)
        context = F.scaled_dot_product_attention(
            *projected.permute(2, 0, 3, 1, 4),
            dropout_p=self.architecture.attention_dropout if self.training else 0.0,
        )
        return context.transpose(1, 2).reshape(rows, length, hidden)

    def _dropped(self, values: Tensor, rate: float) -> Tensor:
        return F.dropout(values, rate, self.training)


class TorchBert(nn.Module):
    """The encoder and what makes logits of its last hidden states.

    Args:
        architecture: of ``bert`` or ``distilbert``, with the activation ``gelu``.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        hidden, vocabulary = architecture.hidden_size, architecture.vocabulary_size
        self.architecture = architecture
        self.token_table = nn.Embedding(vocabulary, hidden)
        self.position_table = nn.Embedding(architecture.max_positions, hidden)
        if architecture.num_segments:
            self.segment_table = nn.Embedding(architecture.num_segments, hidden)
        self.embedding_norm = _norm(architecture)
        self.blocks = nn.ModuleList(Block(architecture) for _ in range(architecture.num_layers))
        self.transform = nn.Linear(hidden, hidden)
        self.norm = _norm(architecture)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=architecture.initializer_range)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def hidden_states(self, token_ids: Tensor) -> Tensor:
        """Encode a batch: int [B, S] to the last hidden states, float [B, S, D]."""
        embedded = self.token_table(token_ids)
        embedded = embedded + self.position_table.weight[: token_ids.shape[1]]
        if self.architecture.num_segments:
            embedded = embedded + self.segment_table.weight[0]
        tokens = self.embedding_norm(embedded)
        tokens = F.dropout(tokens, self.architecture.dropout, self.training)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens

    def logits(self, hidden: Tensor) -> Tensor:
        """Predict the vocabulary: float [N, D] to float [N, V]."""
        hidden = self.norm(F.gelu(self.transform(hidden)))
        return F.linear(hidden, self.token_table.weight, self.output_bias)


def load_weights(model: TorchBert, weights: Mapping[str, np.ndarray]) -> None:
    """Give a model the weights of one of ours; every one is assigned.

    Args:
        model: of the same architecture.
        weights: by the names that `tf_distilbert.hf_weights.named_variables` gives them.

    Raises:
        RuntimeError: a weight is missing, surplus, or of another shape.
    """
    model.load_state_dict({_torch_name(name): _torch_form(name, v) for name, v in weights.items()})


def _norm(architecture: Architecture) -> nn.LayerNorm:
    return nn.LayerNorm(architecture.hidden_size, eps=architecture.layer_norm_epsilon)


def _torch_name(name: str) -> str:
    """``encoder/block_0/output_norm/gamma`` becomes ``blocks.0.output_norm.weight``."""
    name = name.removeprefix("encoder/").removeprefix("head/").replace("block_", "blocks/")
    if name.endswith("_table"):
        name += "/weight"
    for ours, theirs in (("kernel", "weight"), ("gamma", "weight"), ("beta", "bias")):
        name = name.replace(f"/{ours}", f"/{theirs}")
    return name.replace("/", ".")


def _torch_form(name: str, value: np.ndarray) -> Tensor:
    return torch.tensor(value.T if name.endswith("/kernel") else value)
