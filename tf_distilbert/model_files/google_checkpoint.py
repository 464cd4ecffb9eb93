"""Google's original BERT: a folder with ``bert_config.json`` and a TensorFlow 1 checkpoint.

Its variables are given under Hugging Face's names, so that one reader (`hf_weights`) serves both.
"""

import re
from pathlib import Path

import numpy as np

from tf_distilbert.errors import UserError
from tf_distilbert.json_file import read_json
from tf_distilbert.models.architecture import Architecture

_CONFIG = "bert_config.json"
_PREFIX = "bert_model.ckpt"

# Our name of an architecture's number beside its key in bert_config.json.
_KEYS = (
    ("vocabulary_size", "vocab_size"),
    ("hidden_size", "hidden_size"),
    ("num_layers", "num_hidden_layers"),
    ("num_heads", "num_attention_heads"),
    ("intermediate_size", "intermediate_size"),
    ("max_positions", "max_position_embeddings"),
    ("num_segments", "type_vocab_size"),
    ("activation", "hidden_act"),
)
# These do not change what the weights mean; where they lack, the original's defaults are ours.
_OPTIONAL_KEYS = (
    ("dropout", "hidden_dropout_prob"),
    ("attention_dropout", "attention_probs_dropout_prob"),
    ("initializer_range", "initializer_range"),
)

_ACTIVATIONS = {"gelu": "gelu_tanh", "relu": "relu"}

_LAYER_NORM_EPSILON = 1e-12  # a constant of the original code, in no bert_config.json

# The model's own variables, and what optimizers keep beside each of them.
_MODEL = re.compile(r"bert/.+|cls/(predictions|seq_relationship)/.+")
_SLOT = re.compile(
    r".*/(adam_[mv]|Adam(_\d+)?|AdamW(eightDecay)?.*|[lL][aA][mM][bB]_[mv]|Momentum)"
)

# The last part of a variable's name in Hugging Face's words; what is not here stays as it is.
_LAST_PART = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "output_weights": "weight",
    "output_bias": "bias",
    "word_embeddings": "word_embeddings.weight",
    "position_embeddings": "position_embeddings.weight",
    "token_type_embeddings": "token_type_embeddings.weight",
}


def is_google_checkpoint(folder: Path) -> bool:
    """Whether a folder is in the form of Google's releases and not of Hugging Face's."""
    folder = Path(folder)
    return (folder / _CONFIG).exists() and not (folder / "config.json").exists()


def read_google_checkpoint(folder: Path) -> tuple[Architecture, dict[str, np.ndarray]]:
    """Read a BERT as Google released it, with its masked-LM head and without optimizer slots.

    ``hidden_act`` "gelu" is read as what the original code makes of it, the tanh approximation.
    Hugging Face converted the same weights to the erf form: an activation differs by less than
    1e-3, and the outputs of ``bert-base-uncased`` there and here by what becomes of that.

    Args:
        folder: ``bert_config.json`` and one checkpoint: ``bert_model.ckpt.index``, or any single
            ``*.index``, with its ``.data-*`` files.

    Returns:
        The architecture, and the tensors in float32 under Hugging Face's names and in its
        orientation, as `hf_weights.read_tensors` takes them.

    Raises:
        UserError: a file is missing or damaged, or no such BERT; names it.
    """
    folder = Path(folder)
    return _read_config(folder / _CONFIG), _read_variables(_find_prefix(folder))


def _read_config(path: Path) -> Architecture:
    config = read_json(path)
    missing = [theirs for _, theirs in _KEYS if theirs not in config]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; copy it again")
    numbers = {ours: config[theirs] for ours, theirs in _KEYS + _OPTIONAL_KEYS if theirs in config}
    activation = str(numbers["activation"]).lower()
    if activation not in _ACTIVATIONS:
        raise UserError(
            f"{path}: hidden_act {numbers['activation']!r} is not known; "
            f"models with {' or '.join(_ACTIVATIONS)} can be read"
        )
    numbers["activation"] = _ACTIVATIONS[activation]
    try:
        return Architecture(family="bert", layer_norm_epsilon=_LAYER_NORM_EPSILON, **numbers)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _find_prefix(folder: Path) -> Path:
    """Give the path that the names of the checkpoint's files begin with; all of them are there."""
    indexes = sorted(path.name for path in folder.glob("*.index"))
    if f"{_PREFIX}.index" in indexes:
        indexes = [f"{_PREFIX}.index"]
    data = sorted(folder.glob("*.data-?????-of-?????"))
    if not indexes and data:
        index = data[0].with_suffix(".index")
        raise UserError(f"{index}: missing, its data ({data[0].name}) is there; copy it, too")
    if not indexes:
        raise UserError(
            f"{folder}: has no checkpoint ({_PREFIX}.index and {_PREFIX}.data-*); "
            "copy all files of the release"
        )
    if len(indexes) > 1:
        raise UserError(
            f"{folder}: has several checkpoints ({', '.join(indexes)}); "
            "leave the files of one of them there"
        )
    prefix = folder / indexes[0].removesuffix(".index")
    pattern = re.compile(re.escape(prefix.name) + r"\.data-(\d{5})-of-(\d{5})")
    found = [match for path in folder.iterdir() if (match := pattern.fullmatch(path.name))]
    if not found:
        raise UserError(f"{prefix}.index: its data ({prefix.name}.data-*) is missing; copy it, too")
    count = int(found[0][2])
    missing = sorted(set(range(count)) - {int(match[1]) for match in found})
    if missing:
        raise UserError(f"{prefix}.data-{missing[0]:05}-of-{count:05}: missing; copy it, too")
    return prefix


def _read_variables(prefix: Path) -> dict[str, np.ndarray]:
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(str(prefix))
        names = [
            name
            for name in sorted(reader.get_variable_to_shape_map())
            if _MODEL.fullmatch(name) and not _SLOT.fullmatch(name)
        ]
        tensors = dict(_converted(name, reader.get_tensor(name)) for name in names)
    # TensorFlow's reader says with Python's own exceptions what its OpErrors do not.
    except (tf.errors.OpError, RuntimeError, LookupError, ValueError) as error:
        reason = " ".join(str(getattr(error, "message", None) or error).split())[:200]
        raise UserError(
            f"{prefix}: truncated or damaged ({reason}); copy its files again"
        ) from None
    if not tensors:
        raise UserError(
            f"{prefix}.index: holds no variables of Google's BERT (bert/embeddings/... and so on); "
            "give the folder of a release, or a Hugging Face folder"
        )
    return tensors


def _converted(name: str, value: np.ndarray) -> tuple[str, np.ndarray]:
    """Name and value of a variable as PyTorch's `Linear` and `LayerNorm` keep them."""
    *parents, last = re.sub(r"/layer_(\d+)/", r"/layer/\1/", name).split("/")
    value = value.astype(np.float32, copy=False)
    if last == "kernel":  # [in, out] in TensorFlow; output_weights are [out, in] there already
        value = np.ascontiguousarray(value.T)
    return ".".join([*parents, _LAST_PART.get(last, last)]), value
