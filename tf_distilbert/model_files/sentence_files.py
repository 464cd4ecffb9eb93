"""The files by which a folder is a sentence encoder: what sentence-transformers reads and writes.

``modules.json`` names the modules in their order, each with a folder of its own settings; the
encoder's own files are the same as without it.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tf_distilbert.errors import UserError
from tf_distilbert.json_file import read_json, read_json_list
from tf_distilbert.model_files.weight_files import read_weights
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.sentence_encoder import POOLINGS, SentenceEncoder
from tf_distilbert.tokenization.tokenizer import Tokenizer

MODULES_FILE = "modules.json"
_LENGTH_FILE = "sentence_bert_config.json"
_SETTINGS_FILE = "config_sentence_transformers.json"

# The modules that we have, in the only order that makes a sentence encoder of ours.
_MODULES = ("Transformer", "Pooling", "Dense", "Normalize")
_NEEDED = ("Transformer", "Pooling")

# By sentence-transformers' older names of the poolings; the newer ones are `POOLINGS`.
_POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_ACTIVATIONS = {
    "torch.nn.modules.linear.Identity": "linear",
    "torch.nn.modules.activation.Tanh": "tanh",
}


@dataclass(frozen=True)
class SentenceModules:
    """The modules of a folder.

    Attributes:
        folders: the name of a module, without its package, to its folder.
    """

    folders: dict[str, Path]

    @classmethod
    def read(cls, folder: Path) -> "SentenceModules | None":
        """Read ``modules.json``; of a folder without one, None.

        Raises:
            UserError: it is broken, or has modules that we have not, or not in this order.
        """
        path = folder / MODULES_FILE
        if not path.exists():
            return None
        try:
            found = [(str(each["type"]), str(each["path"])) for each in read_json_list(path)]
        except (KeyError, TypeError):
            raise UserError(f"{path}: is broken: a module needs a type and a path") from None
        names = [kind.rpartition(".")[2] for kind, _ in found]
        ours = [name for name in _MODULES if name in names]
        theirs = any(not kind.startswith("sentence_transformers.") for kind, _ in found)
        if theirs or names != ours or any(name not in names for name in _NEEDED):
            raise UserError(
                f"{path}: has the modules {', '.join(names) or 'none'}; a sentence encoder that "
                "can be read has Transformer and Pooling, then Dense and Normalize or one of them"
            )
        return cls({name: folder / path for name, (_, path) in zip(names, found, strict=True)})


def encoder_folder(folder: Path) -> Path:
    """Give the folder of the encoder's own files, which older folders keep apart.

    Raises:
        UserError: as `SentenceModules.read`.
    """
    if (folder / "config.json").exists() or not (folder / MODULES_FILE).exists():
        return folder
    modules = SentenceModules.read(folder)
    return modules.folders["Transformer"] if modules else folder


def read_sentence_settings(
    folder: Path, architecture: Architecture, tokenizer: Tokenizer
) -> dict[str, Any]:
    """Read what a folder says of pooling, length, projection and prompts.

    A folder without ``modules.json`` gets the mean, as sentence-transformers gives it.

    Args:
        folder: of the model.
        architecture: of its encoder.
        tokenizer: of its encoder.

    Returns:
        What `SentenceEncoder` takes beside architecture and tokenizer.

    Raises:
        UserError: a file is broken, or asks for what we have not.
    """
    settings: dict[str, Any] = {"max_length": _max_length(folder, architecture, tokenizer)}
    modules = SentenceModules.read(folder)
    if modules is None:
        return settings
    settings |= _read_prompts(folder)
    settings["pooling"] = _read_pooling(
        modules.folders["Pooling"] / "config.json", architecture, settings["prompts"]
    )
    settings["normalize"] = "Normalize" in modules.folders
    if "Dense" in modules.folders:
        settings |= _read_projection(modules.folders["Dense"] / "config.json", architecture)
    return settings


def _max_length(folder: Path, architecture: Architecture, tokenizer: Tokenizer) -> int | None:
    """Find the most tokens of a text: as the file of its own says, or else the tokenizer's."""
    home, positions = encoder_folder(folder), architecture.max_positions
    own = home / _LENGTH_FILE
    content = read_json(own) if own.exists() else {}
    if content.get("do_lower_case") and not tokenizer.settings.get("lower_case"):
        raise UserError(
            f"{own}: do_lower_case is true, but the tokenizer keeps capitals; set it to false, or "
            "do_lower_case of tokenizer_config.json to true"
        )
    found = content.get("max_seq_length")
    if found is None:
        path = home / "tokenizer_config.json"
        found = read_json(path).get("model_max_length") if path.exists() else None
        if not isinstance(found, int):  # a tokenizer without limit has a float of 10^30
            return None
        return min(found, positions)
    if type(found) is not int or found < 3:
        raise UserError(
            f"{own}: max_seq_length is {found!r}; it must be a number of tokens above 2"
        )
    return min(found, positions)


def _read_pooling(path: Path, architecture: Architecture, prompts: dict[str, str]) -> str:
    config = read_json(path)
    size = config.get("embedding_dimension", config.get("word_embedding_dimension"))
    if size != architecture.hidden_size:
        raise UserError(
            f"{path}: is for hidden states of size {size}, the encoder's have "
            f"{architecture.hidden_size}"
        )
    found = config.get("pooling_mode")
    if found is None:
        found = [name for key, name in _POOLING_KEYS.items() if config.get(key)] or ["mean"]
    names = [found] if isinstance(found, str) else list(found)
    if len(names) != 1 or names[0] not in POOLINGS:
        raise UserError(
            f"{path}: pools by {' and '.join(map(str, names))}; one of {', '.join(POOLINGS)} can "
            "be had"
        )
    if not config.get("include_prompt", True) and any(prompts.values()):
        raise UserError(
            f"{path}: include_prompt is false: prompts that are read, but not pooled, cannot be had"
        )
    return names[0]


def _read_projection(path: Path, architecture: Architecture) -> dict[str, Any]:
    config = read_json(path)
    sizes = [config.get(name) for name in ("in_features", "out_features")]
    if any(type(size) is not int for size in sizes) or sizes[0] != architecture.hidden_size:
        raise UserError(
            f"{path}: in_features is {sizes[0]} and out_features {sizes[1]}; the first must be the "
            f"encoder's hidden size {architecture.hidden_size}"
        )
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    of_vectors = config.get("module_input_name", "sentence_embedding") == "sentence_embedding"
    if activation not in _ACTIVATIONS or config.get("use_residual") or not of_vectors:
        raise UserError(
            f"{path}: this kind of Dense cannot be had: one of the pooled vectors, without "
            f"residual, followed by {' or '.join(_ACTIVATIONS)} can"
        )
    return {
        "projection_size": sizes[1],
        "projection_activation": _ACTIVATIONS[activation],
        "projection_bias": bool(config.get("bias", True)),
    }


def _read_prompts(folder: Path) -> dict[str, Any]:
    path = folder / _SETTINGS_FILE
    config = read_json(path) if path.exists() else {}
    prompts = config.get("prompts") or {}
    are_texts = isinstance(prompts, dict) and all(isinstance(p, str) for p in prompts.values())
    if not are_texts:
        raise UserError(f"{path}: prompts must be names with texts")
    default = config.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise UserError(f"{path}: default_prompt_name is {default!r}, which is none of its prompts")
    return {"prompts": prompts, "default_prompt": default}


def read_projection_weights(model: SentenceEncoder, folder: Path) -> None:
    """Give a model the weights of its projection, if it has one.

    Raises:
        UserError: they are missing, or of another shape.
    """
    modules = SentenceModules.read(folder)
    if model.head is None or modules is None:
        return
    place = modules.folders["Dense"]
    tensors = read_weights(place)
    for name, variable in _projection_variables(model).items():
        value = tensors.get(name)
        if value is None or value.T.shape != tuple(variable.shape):
            shape = "missing" if value is None else f"of shape {list(value.shape)}"
            raise UserError(f"{place}: {name} is {shape}; config.json says otherwise")
    for name, variable in _projection_variables(model).items():
        variable.assign(tensors[name].T)


def _projection_variables(model: SentenceEncoder) -> dict[str, Any]:
    """Name the projection's variables as PyTorch does; its kernel is stored transposed."""
    names: Sequence[str] = ("linear.weight", "linear.bias")
    return dict(zip(names, model.head.weights, strict=False))


def write_sentence_files(model: SentenceEncoder, folder: Path) -> None:
    """Write everything that makes an encoder's folder a sentence encoder's.

    The names are those that every version of sentence-transformers reads.
    """
    hidden_size = model.architecture.hidden_size
    keys = {key: name == model.pooling for key, name in _POOLING_KEYS.items()}
    pooling = {"word_embedding_dimension": hidden_size, **keys, "include_prompt": True}
    modules: dict[str, dict[str, Any] | None] = {"Transformer": None, "Pooling": pooling}
    if model.head is not None:
        names = {ours: theirs for theirs, ours in _ACTIVATIONS.items()}
        modules["Dense"] = {
            "in_features": hidden_size,
            "out_features": model.projection_size,
            "bias": model.projection_bias,
            "activation_function": names[model.projection_activation],
        }
    if model.normalize:
        modules["Normalize"] = {}
    listed = []
    for number, (name, config) in enumerate(modules.items()):
        place = "" if config is None else f"{number}_{name}"
        kind = f"sentence_transformers.models.{name}"
        listed.append({"idx": number, "name": str(number), "path": place, "type": kind})
        if config is not None:
            (folder / place).mkdir()
            _write_json(folder / place / "config.json", config)
        if name == "Dense":
            tensors = {
                name: np.ascontiguousarray(np.asarray(variable.value).T, dtype=np.float32)
                for name, variable in _projection_variables(model).items()
            }
            weights = folder / place / "model.safetensors"
            save_file(tensors, weights, metadata={"format": "pt"})
            # safetensors lets the owner alone read; a served model is read by others.
            shutil.copymode(folder / place / "config.json", weights)
    _write_json(folder / MODULES_FILE, listed)
    length = {"max_seq_length": model.max_length, "do_lower_case": False}
    _write_json(folder / _LENGTH_FILE, length)
    settings = {
        "prompts": model.prompts,
        "default_prompt_name": model.default_prompt,
        "similarity_fn_name": "cosine",
    }
    _write_json(folder / _SETTINGS_FILE, settings)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
