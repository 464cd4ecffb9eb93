"""The encoder in float64 NumPy, head by head, and what its parts are worth on a text.

Written from the paper's formulas, not from `tf_distilbert/models/encoder.py`.
"""

import math

import numpy as np

from tf_distilbert.model_files.hf_weights import named_variables


def gelu(values):
    return values * 0.5 * (1.0 + np.vectorize(math.erf)(values / math.sqrt(2.0)))


def gelu_tanh(values):
    inner = math.sqrt(2.0 / math.pi) * (values + 0.044715 * values**3)
    return values * 0.5 * (1.0 + np.tanh(inner))


def relu(values):
    return np.maximum(values, 0.0)


ACTIVATIONS = {"gelu": gelu, "gelu_tanh": gelu_tanh, "relu": relu}


def weights_of(model):
    return {name: np.float64(v.numpy()) for name, v in named_variables(model).items()}


def encode(model, inputs):
    """Hidden states [L + 1, B, S, D], what heads add [L, H, B, S, D], neurons [L, B, S, F]."""
    shape, weights = model.architecture, weights_of(model)

    def norm(values, name):
        values = values - values.mean(-1, keepdims=True)
        values = values / np.sqrt((values**2).mean(-1, keepdims=True) + shape.layer_norm_epsilon)
        return values * weights[f"{name}/gamma"] + weights[f"{name}/beta"]

    def dense(values, name):
        return values @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]

    ids, real = inputs["token_ids"], inputs["padding_mask"].astype(bool)
    places = inputs.get("position_ids", np.arange(ids.shape[1])[None])
    tokens = weights["encoder/token_table"][ids]
    tokens = tokens + weights["encoder/position_table"][places + shape.reserved_positions]
    if shape.num_segments:
        tokens = tokens + weights["encoder/segment_table"][0]
    tokens = norm(tokens, "encoder/embedding_norm")
    sees = np.repeat(real[:, None, :], ids.shape[1], axis=1)
    if "sequence_ids" in inputs:
        sees &= inputs["sequence_ids"][:, :, None] == inputs["sequence_ids"][:, None, :]
    sees |= ~sees.any(-1, keepdims=True)  # padding may see nothing
    states, additions, neurons = [tokens], [], []
    for layer in range(shape.num_layers):
        name, size = f"encoder/block_{layer}", shape.hidden_size // shape.num_heads
        parts = np.split(dense(tokens, f"{name}/query_key_value"), 3, axis=-1)
        of_heads = []
        for head in range(shape.num_heads):
            columns = slice(head * size, (head + 1) * size)
            query, key, value = (part[..., columns] for part in parts)
            scores = np.where(sees, query @ key.swapaxes(1, 2) / math.sqrt(size), -np.inf)
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            shares /= shares.sum(-1, keepdims=True)
            of_heads.append(shares @ value @ weights[f"{name}/attention_output/kernel"][columns])
        attended = sum(of_heads) + weights[f"{name}/attention_output/bias"]
        tokens = norm(tokens + attended, f"{name}/attention_norm")
        expanded = ACTIVATIONS[shape.activation](dense(tokens, f"{name}/intermediate"))
        tokens = norm(tokens + dense(expanded, f"{name}/output_dense"), f"{name}/output_norm")
        states.append(tokens)
        additions.append(of_heads)
        neurons.append(expanded)
    return np.array(states), np.array(additions), np.array(neurons)


def importance(model, inputs):
    """What dimensions [D], heads [L, H] and neurons [L, F] are worth."""
    states, additions, neurons = encode(model, inputs)
    real, weights = inputs["padding_mask"].astype(bool), weights_of(model)
    outgoing = [
        np.linalg.norm(weights[f"encoder/block_{i}/output_dense/kernel"], axis=1)
        for i in range(model.architecture.num_layers)
    ]
    return {
        "dimensions": np.abs(states[:, real]).mean((0, 1)),
        "heads": np.linalg.norm(additions, axis=-1)[:, :, real].mean(-1),
        "neurons": np.abs(neurons[:, real]).mean(1) * outgoing,
    }
