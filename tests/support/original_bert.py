"""BERT as its authors wrote it (`modeling.py`, `run_pretraining.py`), in float64; and its files."""

import json
import math

import numpy as np
import tensorflow as tf

from tf_distilbert.model_files.google_checkpoint import read_google_checkpoint
from tf_distilbert.model_files.hf_weights import read_tensors
from tf_distilbert.models.masked_language_model import MaskedLanguageModel

CONFIG = {
    "attention_probs_dropout_prob": 0.2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.15,
    "hidden_size": 32,
    "initializer_range": 0.03,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "type_vocab_size": 2,
    "vocab_size": 60,
}


def make_variables(config):
    """Random values under the names that the original's `modeling.py` gives its variables."""
    generator = np.random.default_rng(11)
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    shapes = {
        "bert/embeddings/word_embeddings": (config["vocab_size"], hidden),
        "bert/embeddings/position_embeddings": (config["max_position_embeddings"], hidden),
        "bert/embeddings/token_type_embeddings": (config["type_vocab_size"], hidden),
        "cls/predictions/output_bias": (config["vocab_size"],),
        "cls/seq_relationship/output_weights": (2, hidden),
        "cls/seq_relationship/output_bias": (2,),
    }
    dense = {
        "bert/pooler/dense": (hidden, hidden),
        "cls/predictions/transform/dense": (hidden,) * 2,
    }
    norms = ["bert/embeddings", "cls/predictions/transform"]
    for i in range(config["num_hidden_layers"]):
        layer = f"bert/encoder/layer_{i}"
        for part in ("self/query", "self/key", "self/value", "output/dense"):
            dense[f"{layer}/attention/{part}"] = (hidden, hidden)
        dense[f"{layer}/intermediate/dense"] = (hidden, wide)
        dense[f"{layer}/output/dense"] = (wide, hidden)
        norms += [f"{layer}/attention/output", f"{layer}/output"]
    for name, (inputs, outputs) in dense.items():
        shapes |= {f"{name}/kernel": (inputs, outputs), f"{name}/bias": (outputs,)}
    for name in norms:
        shapes |= {f"{name}/LayerNorm/gamma": (hidden,), f"{name}/LayerNorm/beta": (hidden,)}
    return {
        name: (0.2 * generator.standard_normal(shape) + name.endswith("gamma")).astype("float32")
        for name, shape in shapes.items()
    }


def save_checkpoint(prefix, variables, with_slots=True):
    saved = dict(variables)
    if with_slots:
        for name, value in variables.items():
            saved |= {f"{name}/adam_m": 7 * np.ones_like(value), f"{name}/adam_v": value**2}
        saved["global_step"] = np.int64(1_000_000)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(saved),
        shape_and_slices=[""] * len(saved),
        tensors=[tf.constant(value) for value in saved.values()],
    )


def write_folder(folder, **changes):
    folder.mkdir(exist_ok=True)
    config = CONFIG | changes
    (folder / "bert_config.json").write_text(json.dumps(config))
    variables = make_variables(config)
    save_checkpoint(folder / "bert_model.ckpt", variables)
    return variables


def load(folder):
    architecture, tensors = read_google_checkpoint(folder)
    model = MaskedLanguageModel(architecture)
    read_tensors(model, tensors, source=str(folder))
    return model


# The original's `modeling.py` and `run_pretraining.py`, in float64.


def original_activation(name, x):
    if name == "relu":
        return np.maximum(x, 0)
    return x * 0.5 * (1.0 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class Original:
    """One forward pass, step by step as in the original, from its own names."""

    def __init__(self, config, variables):
        self.config = config
        self.variables = {name: value.astype("float64") for name, value in variables.items()}

    def dense(self, x, name):
        return x @ self.variables[f"{name}/kernel"] + self.variables[f"{name}/bias"]

    def norm(self, x, name):
        gamma, beta = (self.variables[f"{name}/LayerNorm/{part}"] for part in ("gamma", "beta"))
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-12) * gamma + beta

    def heads(self, x):
        batch, length, hidden = x.shape
        count = self.config["num_attention_heads"]
        return x.reshape(batch, length, count, hidden // count).transpose(0, 2, 1, 3)

    def attention(self, x, mask, name):
        query, key, value = (
            self.heads(self.dense(x, f"{name}/self/{part}")) for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / math.sqrt(query.shape[-1])
        scores = scores + (1.0 - mask[:, None, None, :]) * -10000.0
        exponentials = np.exp(scores - scores.max(-1, keepdims=True))
        context = exponentials / exponentials.sum(-1, keepdims=True) @ value
        context = context.transpose(0, 2, 1, 3).reshape(x.shape)
        return self.norm(x + self.dense(context, f"{name}/output/dense"), f"{name}/output")

    def hidden_states(self, token_ids, segment_ids, mask):
        tables = {
            kind: self.variables[f"bert/embeddings/{kind}_embeddings"]
            for kind in ("word", "position", "token_type")
        }
        x = tables["word"][token_ids] + tables["token_type"][segment_ids]
        x = self.norm(x + tables["position"][: token_ids.shape[1]], "bert/embeddings")
        states = [x]
        for i in range(self.config["num_hidden_layers"]):
            layer = f"bert/encoder/layer_{i}"
            x = self.attention(x, mask, f"{layer}/attention")
            wide = self.dense(x, f"{layer}/intermediate/dense")
            wide = original_activation(self.config["hidden_act"], wide)
            x = self.norm(x + self.dense(wide, f"{layer}/output/dense"), f"{layer}/output")
            states.append(x)
        return states

    def logits(self, x):
        x = self.dense(x, "cls/predictions/transform/dense")
        x = original_activation(self.config["hidden_act"], x)
        x = self.norm(x, "cls/predictions/transform")
        table = self.variables["bert/embeddings/word_embeddings"]
        return x @ table.T + self.variables["cls/predictions/output_bias"]


def batch(config, rows=5, length=17):
    generator = np.random.default_rng(4)
    lengths = np.array([length, *generator.integers(1, length, rows - 1)])
    shape = (rows, length)
    return {
        "token_ids": generator.integers(0, config["vocab_size"], shape).astype("int32"),
        "segment_ids": generator.integers(0, config["type_vocab_size"], shape).astype("int32"),
        "padding_mask": np.arange(length)[None] < lengths[:, None],
        "mask_positions": np.tile(np.arange(length, dtype="int32"), (rows, 1)),
    }
