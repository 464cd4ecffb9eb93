"""BERT and DistilBERT in PyTorch: those of `transformers`, and plain ones where that is not.

The plain ones are written as a PyTorch user would for speed: attention is one call, which takes
the fused kernel of the device, and query, key and value are one product (`transformers` makes
three). They have no padding mask, as `transformers` passes none on either where a batch has no
padding: with one, the fastest kernel could not be taken.

Dimensions: B batch, S sequence, N rows, D hidden, V vocabulary.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tf_distilbert.benchmark.batch import Cases, Fields, Shapes, encoder_cases
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.training.runtime import usable_cores

F = nn.functional

NAMES = ["token_ids", "padding_mask"]
"""What the bare encoders take."""


def start() -> None:
    """Give PyTorch the cores that there are, and random numbers from the start."""
    torch.set_num_threads(usable_cores())
    torch.manual_seed(0)


# Workloads.


def inference(architecture: Fields, shapes: Shapes, precision: str) -> Cases:
    """Give a case for each shape; arguments as in `our_models.inference`."""
    model = encoder(architecture).to(getattr(torch, precision))

    def encode(taken: dict[str, Tensor]) -> None:
        with torch.inference_mode():
            model(input_ids=taken["token_ids"], attention_mask=taken["padding_mask"])

    return encoder_cases(architecture, shapes, NAMES, _long, encode)


def exported_onnx(architecture: Fields, shapes: Shapes, precision: str) -> Cases:
    """Give a case for each shape, by onnxruntime: the encoder, exported from PyTorch.

    Args:
        architecture, shapes: as in `our_models.inference`.
        precision: float32.

    Raises:
        ValueError: another precision.
    """
    if precision != "float32":
        raise ValueError(f"precision {precision!r}; the exported model is float32")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    axes = {name: {0: "batch", 1: "sequence"} for name in (*NAMES, "last_hidden_state")}
    tokens = torch.ones(next(iter(shapes.values())), dtype=torch.long)
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.onnx")
        torch.onnx.export(
            encoder(architecture),
            (tokens, tokens),
            path,
            input_names=NAMES,
            output_names=["last_hidden_state"],
            dynamic_axes=axes,
            dynamo=False,  # the newer exporter needs one more package
        )
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def encode(taken: dict[str, np.ndarray]) -> None:
        session.run(None, taken)

    return encoder_cases(architecture, shapes, NAMES, lambda array: _long(array).numpy(), encode)


def _long(array: np.ndarray) -> Tensor:
    return torch.tensor(array, dtype=torch.long)


# Models of `transformers`.


def masked_language_model(architecture: Fields) -> nn.Module:
    """Make a masked language model, whose attention is one call."""
    import transformers

    make = transformers.AutoModelForMaskedLM.from_config
    return make(_config(architecture), attn_implementation="sdpa")


def encoder(architecture: Fields) -> nn.Module:
    """Make a bare encoder without pooler, ready for inference."""
    import transformers

    start()
    config = _config(architecture)
    extra = {"add_pooling_layer": False} if config.model_type == "bert" else {}
    return transformers.AutoModel.from_config(config, attn_implementation="sdpa", **extra).eval()


def _config(fields: Fields) -> Any:
    """Write an architecture of BERT or DistilBERT as `transformers` does."""
    import transformers

    transformers.logging.set_verbosity_error()
    architecture = Architecture(**fields)
    common = {
        "vocab_size": architecture.vocabulary_size,
        "max_position_embeddings": architecture.max_positions,
        "initializer_range": architecture.initializer_range,
    }
    if architecture.family == "distilbert":
        return transformers.DistilBertConfig(
            **common,
            dim=architecture.hidden_size,
            n_layers=architecture.num_layers,
            n_heads=architecture.num_heads,
            hidden_dim=architecture.intermediate_size,
            dropout=architecture.dropout,
            attention_dropout=architecture.attention_dropout,
        )
    return transformers.BertConfig(
        **common,
        hidden_size=architecture.hidden_size,
        num_hidden_layers=architecture.num_layers,
        num_attention_heads=architecture.num_heads,
        intermediate_size=architecture.intermediate_size,
        type_vocab_size=architecture.num_segments,
        layer_norm_eps=architecture.layer_norm_epsilon,
        hidden_dropout_prob=architecture.dropout,
        attention_probs_dropout_prob=architecture.attention_dropout,
    )


# Plain models.


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


def _norm(architecture: Architecture) -> nn.LayerNorm:
    return nn.LayerNorm(architecture.hidden_size, eps=architecture.layer_norm_epsilon)
