"""Models on disk: Hugging Face folders, in and out. There is no format of our own.

A folder holds ``config.json``, ``model.safetensors``, ``vocab.txt`` and ``tokenizer_config.json``;
`transformers` opens what is written here, and what it writes is opened here.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes  # noqa: F401  registers bfloat16 with NumPy, which safetensors then reads
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tf_distilbert.architecture import DISTILBERT_EPSILON, Architecture
from tf_distilbert.atomic_writes import whole_folder
from tf_distilbert.errors import UserError
from tf_distilbert.hf_weights import read_tensors, write_tensors
from tf_distilbert.masked_language_model import MaskedLanguageModel
from tf_distilbert.tokenizer import Tokenizer, check_vocabulary, read_vocabulary

# Hugging Face's names of activations; its "gelu" is the one with erf.
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}

# Our name of an architecture's number beside its key in config.json.
_BERT_KEYS = (
    ("vocabulary_size", "vocab_size"),
    ("hidden_size", "hidden_size"),
    ("num_layers", "num_hidden_layers"),
    ("num_heads", "num_attention_heads"),
    ("intermediate_size", "intermediate_size"),
    ("max_positions", "max_position_embeddings"),
    ("num_segments", "type_vocab_size"),
    ("activation", "hidden_act"),
    ("layer_norm_epsilon", "layer_norm_eps"),
    ("dropout", "hidden_dropout_prob"),
    ("attention_dropout", "attention_probs_dropout_prob"),
    ("initializer_range", "initializer_range"),
)
_DISTILBERT_KEYS = (
    ("vocabulary_size", "vocab_size"),
    ("hidden_size", "dim"),
    ("num_layers", "n_layers"),
    ("num_heads", "n_heads"),
    ("intermediate_size", "hidden_dim"),
    ("max_positions", "max_position_embeddings"),
    ("activation", "activation"),
    ("dropout", "dropout"),
    ("attention_dropout", "attention_dropout"),
    ("initializer_range", "initializer_range"),
)
_KEYS = {"bert": _BERT_KEYS, "distilbert": _DISTILBERT_KEYS}
_FILES = [
    "config.json",
    "model.safetensors",
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
]
_CLASS_NAMES = {"bert": "BertForMaskedLM", "distilbert": "DistilBertForMaskedLM"}


def load_model(path: str | Path) -> MaskedLanguageModel:
    """Load a masked language model from a Hugging Face folder.

    Args:
        path: folder of a ``BertForMaskedLM``, ``BertForPreTraining`` or ``DistilBertForMaskedLM``,
            or ``hf://OWNER/NAME`` on the Hugging Face Hub; weights in float32, float16 or bfloat16.

    Returns:
        The model in float32 under the current Keras precision policy, its tokenizer attached.

    Raises:
        UserError: the folder or a file in it is missing, broken or of another kind; names it.

    Example:
        >>> teacher = tf_distilbert.load_model("hf://google-bert/bert-base-uncased")
        >>> teacher.architecture.num_layers
        12
    """
    path = resolve_folder(path)
    architecture = read_architecture(path)
    tokenizer = load_tokenizer(path)
    if len(tokenizer.vocabulary) != architecture.vocabulary_size:
        raise UserError(
            f"{path}: its vocabulary has {len(tokenizer.vocabulary)} tokens, config.json says "
            f"vocab_size {architecture.vocabulary_size}; one of them belongs to another model"
        )
    tensors = _read_safetensors(path / "model.safetensors")
    model = MaskedLanguageModel(architecture, tokenizer)
    read_tensors(model, tensors, source=str(path))
    return model


def save_model(model: MaskedLanguageModel, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a model as a Hugging Face folder that `transformers` opens, masked-LM head included.

    Args:
        model: its tokenizer must be attached.
        path: the folder; it appears only when complete.
        overwrite: replace what is there.

    Raises:
        UserError: the folder exists and is not empty, or cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path}: exists already; choose another folder or remove it")
    if model.tokenizer is None:
        raise UserError("the model has no tokenizer to save; set model.tokenizer first")
    with whole_folder(path) as folder:
        _write_files(model, folder)


def resolve_folder(path: str | Path) -> Path:
    """Give the local folder of a model, downloading it (once, cached) if it is ``hf://...``.

    Raises:
        UserError: no such folder, or the Hub cannot be reached and has not been before.
    """
    name = str(path)
    if name.startswith("hf://"):
        return _download(name)
    if not Path(path).is_dir():
        raise UserError(f"{path}: no such model folder; give its path, or hf://OWNER/NAME")
    return Path(path)


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name.removeprefix("hf://"), allow_patterns=_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{name}: cannot be fetched ({reason}); download the folder elsewhere and give its path"
        ) from None


def read_architecture(path: Path) -> Architecture:
    """Read ``config.json`` of a model folder.

    Raises:
        UserError: missing, no JSON, a key missing, or a model type that is none of ours.
    """
    config = _read_json(path / "config.json")
    family = config.get("model_type")
    if family not in _KEYS:
        raise UserError(
            f"{path / 'config.json'}: model_type {family!r} is not supported; "
            f"use one of {', '.join(_KEYS)}"
        )
    numbers = {ours: config[theirs] for ours, theirs in _KEYS[family] if theirs in config}
    if str(numbers.get("activation", "gelu")) not in _ACTIVATIONS:
        raise UserError(
            f"{path / 'config.json'}: activation {numbers['activation']!r} is not known"
        )
    numbers["activation"] = _ACTIVATIONS[numbers.get("activation", "gelu")]
    if family == "distilbert":
        numbers["num_segments"] = 0
        # Released DistilBERTs differ from their authors' defaults in depth alone.
        numbers.setdefault("num_layers", 6)
    if "vocabulary_size" not in numbers:
        raise UserError(f"{path / 'config.json'}: lacks vocab_size")
    try:
        return Architecture(family=family, **numbers)
    except UserError as error:
        raise UserError(f"{path / 'config.json'}: {error}") from None


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Make the tokenizer of a model folder.

    The vocabulary is ``vocab.txt``, or that in ``tokenizer.json``, which alone recent versions of
    `transformers` write; case is as ``tokenizer_config.json`` says, else as ``tokenizer.json``.

    Raises:
        UserError: a file is missing or broken, or the tokenizer is no WordPiece.
    """
    path = Path(path)
    settings = {}
    if (path / "tokenizer_config.json").exists():
        settings = _read_json(path / "tokenizer_config.json")
    if (path / "vocab.txt").exists():
        vocabulary = read_vocabulary(path / "vocab.txt")
        return Tokenizer(vocabulary, settings.get("do_lower_case", True))
    if not (path / "tokenizer.json").exists():
        raise UserError(f"{path}: has neither a vocab.txt nor a tokenizer.json")
    fast = _read_json(path / "tokenizer.json")
    model = fast.get("model") or {}
    if model.get("type") != "WordPiece" or not isinstance(model.get("vocab"), dict):
        raise UserError(f"{path / 'tokenizer.json'}: is of type {model.get('type')}, not WordPiece")
    vocabulary = sorted(model["vocab"], key=model["vocab"].__getitem__)
    check_vocabulary(vocabulary, path / "tokenizer.json")
    return Tokenizer(vocabulary, settings.get("do_lower_case", _lower_case(fast.get("normalizer"))))


def _lower_case(normalizer: dict | None) -> bool:
    """Whether a normalizer of ``tokenizer.json``, or one of a sequence of them, folds case."""
    parts = (normalizer or {}).get("normalizers", [normalizer or {}])
    return any(part.get("lowercase", part.get("type") == "Lowercase") for part in parts)


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; this is no Hugging Face model folder") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no JSON object")
    return content


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        raise UserError(f"{path}: missing; save the model with safetensors")
    try:
        with safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: truncated or damaged ({error}); copy it again") from None


def _write_files(model: MaskedLanguageModel, folder: Path) -> None:
    _write_json(folder / "config.json", _hf_config(model.architecture, model.tokenizer))
    _write_json(folder / "tokenizer_config.json", _hf_tokenizer_config(model))
    (folder / "vocab.txt").write_text("\n".join(model.tokenizer.vocabulary) + "\n", "utf-8")
    save_file(write_tensors(model), folder / "model.safetensors", metadata={"format": "pt"})
    # safetensors lets the owner alone read; a served model is read by others.
    shutil.copymode(folder / "config.json", folder / "model.safetensors")


def _write_json(path: Path, content: Mapping) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _hf_config(architecture: Architecture, tokenizer: Tokenizer) -> dict:
    family = architecture.family
    if family == "distilbert" and architecture.layer_norm_epsilon != DISTILBERT_EPSILON:
        raise UserError(
            f"layer_norm_epsilon is {architecture.layer_norm_epsilon}; a DistilBERT folder "
            f"cannot hold it, its readers take {DISTILBERT_EPSILON}"
        )
    config = {
        "architectures": [_CLASS_NAMES[family]],
        "model_type": family,
        "pad_token_id": tokenizer.pad_id,
        "tie_word_embeddings": True,
    }
    for ours, theirs in _KEYS[family]:
        config[theirs] = getattr(architecture, ours)
    key = "activation" if family == "distilbert" else "hidden_act"
    if config[key] == "gelu_tanh":
        config[key] = "gelu_pytorch_tanh"
    if family == "distilbert":
        config["sinusoidal_pos_embds"] = False
    return config


def _hf_tokenizer_config(model: MaskedLanguageModel) -> dict:
    family = "Bert" if model.architecture.family == "bert" else "DistilBert"
    return {
        "tokenizer_class": f"{family}Tokenizer",
        "do_lower_case": model.tokenizer.lower_case,
        "model_max_length": model.architecture.max_positions,
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }
