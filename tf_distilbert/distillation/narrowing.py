"""Which parts of a teacher a narrower student keeps, and how they are cut out.

A neuron of a feed-forward layer is worth what it adds to the layer's output, an attention head
likewise, and a dimension of the hidden states how large it is. What is worth most is kept, in its
old order: where all is kept, the copy is exact.

Dimensions: N tokens, L layers, D hidden, H attention heads, K head size, F feed-forward.

Source: Muralidharan et al. 2024, "Compact Language Models via Pruning and Knowledge Distillation"
(Minitron), section 2.2: importance from activations of about a thousand sequences, one ranking of
the hidden dimensions for all layers. Norms of outgoing weights are added here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import KerasTensor as Tensor
from keras import ops

from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.encoder import Block, activate, seen_keys
from tf_distilbert.models.encoder_model import EncoderModel

Values = Mapping[str, np.ndarray]
"""Weights by our names; see `hf_weights.named_variables`."""


# Of heads: masked LM's, and the projection of a sentence encoder.
_OUTPUTS = ("head/output_bias", "head/kernel", "head/bias")
_KERNELS = ("head/transform/kernel", "head/kernel")


@dataclass(frozen=True)
class Importance:
    """What each part of an encoder is worth; higher is better.

    Attributes:
        dimensions: float64 [D]: mean magnitude in the hidden states of all layers, embeddings
            included.
        heads: float64 [L, H]: mean norm of what a head adds to the hidden states.
        neurons: float64 [L, F]: mean magnitude of a neuron, times the norm of its outgoing weights.
    """

    dimensions: np.ndarray
    heads: np.ndarray
    neurons: np.ndarray


def measure_importance(model: EncoderModel, sample: Iterable[Any]) -> Importance:
    """Measure what each part of an encoder is worth on some text.

    Args:
        model: whose encoder it is.
        sample: batches of `masked_lm_dataset`; padding is left out, whatever it holds.
    """
    blocks, sums, count = model.encoder.blocks, None, 0.0
    outgoing = [
        (_array(block.attention_output.kernel), _array(block.output_dense.kernel))
        for block in blocks
    ]
    for inputs, *_ in sample:
        real = np.ravel(np.asarray(inputs["padding_mask"])).astype(bool)
        found = _sums(model, inputs, real, [kernel for kernel, _ in outgoing])
        sums = found if sums is None else [a + b for a, b in zip(sums, found, strict=True)]
        count += real.sum()
    assert sums is not None, "a sample has batches"
    dimensions, heads, neurons = (each / count for each in sums)
    norms = np.stack([np.linalg.norm(kernel, axis=1) for _, kernel in outgoing])
    return Importance(dimensions, heads, neurons * norms)


def _sums(
    model: EncoderModel, inputs: Any, real: np.ndarray, kernels: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Add up over real tokens: [D], [L, H], [L, F]."""
    states = model.hidden_states(inputs)
    length = inputs["token_ids"].shape[1]
    seen = seen_keys(inputs["padding_mask"], inputs.get("sequence_ids"))
    dimensions = np.mean([np.abs(_tokens(state)[real]).sum(axis=0) for state in states], axis=0)
    heads, neurons = [], []
    for block, state, kernel in zip(model.encoder.blocks, states[:-1], kernels, strict=True):
        tokens = ops.reshape(state, (-1, state.shape[-1]))
        context, expanded = _inside(block, tokens, seen, length)
        neurons.append(np.abs(_tokens(expanded)[real]).sum(axis=0))
        norms = _norms_of_heads(_tokens(context)[real], kernel, block.architecture)
        heads.append(norms.sum(axis=0))
    return [dimensions, np.stack(heads), np.stack(neurons)]


def _inside(block: Block, tokens: Tensor, seen: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Give what a block's output projections take: the heads' [N, D], the neurons' [N, F]."""
    context = block.attend(tokens, seen, length, training=False)
    normed = block.attention_norm(tokens + block.attention_output(context))
    return context, activate(block.architecture.activation, block.intermediate(normed))


def _norms_of_heads(
    context: np.ndarray, kernel: np.ndarray, architecture: Architecture
) -> np.ndarray:
    """Give how long what each head adds is: [N, H]."""
    heads, size = architecture.num_heads, architecture.head_size
    parts = context.reshape(-1, heads, size)
    # |c · W|² = c · (W · Wᵀ) · c, whose matrix is small.
    rows = kernel.reshape(heads, size, -1)
    products = np.einsum("hkd,hld->hkl", rows, rows)
    squares = np.einsum("nhk,hkl,nhl->nh", parts, products, parts, optimize=True)
    return np.sqrt(np.maximum(squares, 0.0))


def cut_out(
    values: Values,
    teacher: Architecture,
    student: Architecture,
    layers: Sequence[int],
    importance: Importance | None,
) -> dict[str, np.ndarray]:
    """Give the weights that a student starts with, by its own names.

    Args:
        values: the teacher's.
        teacher, student: the architectures; the heads have one size.
        layers: the teacher's layer that each of the student's is made of.
        importance: what is kept where the student is narrower; None where it is not.
    """

    def kept(part: str, layer: int | None, size: int, number: int) -> np.ndarray:
        if number == size:
            return np.arange(size)
        assert importance is not None  # what is narrower is ranked
        worth = getattr(importance, part)
        worth = worth if layer is None else worth[layer]
        return np.sort(np.argsort(-worth, kind="stable")[:number])

    dims = kept("dimensions", None, teacher.hidden_size, student.hidden_size)
    found = {}
    for name, value in values.items():
        if name.startswith("encoder/block_"):
            continue
        # The last axis is the hidden one, but of what a head puts out; of its kernels the first.
        cut = value if name in _OUTPUTS else value[..., dims]
        found[name] = cut[dims] if name in _KERNELS else cut
    for i, layer in enumerate(layers):
        heads = kept("heads", layer, teacher.num_heads, student.num_heads)
        sizes = teacher.intermediate_size, student.intermediate_size
        neurons = kept("neurons", layer, *sizes)
        size = teacher.head_size
        columns = (heads[:, None] * size + np.arange(size)).ravel()
        thirds = np.concatenate([k * teacher.hidden_size + columns for k in range(3)])
        places = {
            "query_key_value/kernel": (dims, thirds),
            "query_key_value/bias": (thirds,),
            "attention_output/kernel": (columns, dims),
            "intermediate/kernel": (dims, neurons),
            "intermediate/bias": (neurons,),
            "output_dense/kernel": (neurons, dims),
        }
        prefix = f"encoder/block_{layer}/"
        for name in (name for name in values if name.startswith(prefix)):
            part = name.removeprefix(prefix)
            axes = places.get(part, (dims,))  # biases of outputs, and norms
            found[f"encoder/block_{i}/{part}"] = values[name][np.ix_(*axes)]
    return found


def _tokens(values: Tensor) -> np.ndarray:
    return _array(values).reshape(-1, values.shape[-1])


def _array(values: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(ops.cast(values, "float32")), "float64")
