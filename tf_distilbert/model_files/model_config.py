"""``config.json`` of a Hugging Face folder: an `Architecture` in their words."""

from pathlib import Path
from typing import Any

from tf_distilbert.errors import UserError
from tf_distilbert.json_file import read_json
from tf_distilbert.models.architecture import DISTILBERT_EPSILON, Architecture
from tf_distilbert.tokenization.tokenizer import Tokenizer

# Hugging Face's names of activations; its "gelu" is the one with erf.
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
_WRITTEN_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh", "relu": "relu"}

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
_KEYS = {"bert": _BERT_KEYS, "distilbert": _DISTILBERT_KEYS, "roberta": _BERT_KEYS}
_POSITIONS = "max_position_embeddings"
_ROBERTA_PAD_ID = 1


def read_architecture(folder: Path) -> Architecture:
    """Read ``config.json`` of a model folder.

    Raises:
        UserError: missing, no JSON, a key missing, or a model type that is not supported.
    """
    path = folder / "config.json"
    config = read_json(path)
    family = str(config.get("model_type"))
    if family not in _KEYS:
        raise UserError(
            f"{path}: model_type {family!r} is not supported; use one of {', '.join(_KEYS)}"
        )
    numbers = {ours: config[theirs] for ours, theirs in _KEYS[family] if theirs in config}
    if config.get("is_decoder"):
        raise UserError(f"{path}: is_decoder is true; only encoders can be loaded")
    activation = str(numbers.get("activation", "gelu"))
    # RoBERTa's head has its own gelu, whatever its layers have.
    if activation not in (_ACTIVATIONS if family != "roberta" else ("gelu",)):
        raise UserError(
            f"{path}: activation {activation!r} is not known for {family}; "
            f"models with {', '.join(_ACTIVATIONS)} can be loaded"
        )
    numbers["activation"] = _ACTIVATIONS[activation]
    if family == "distilbert":
        numbers["num_segments"] = 0
        # Released DistilBERTs differ from their authors' defaults in depth alone.
        numbers.setdefault("num_layers", 6)
    if family == "roberta":
        pad_id, positions = config.get("pad_token_id", _ROBERTA_PAD_ID), config.get(_POSITIONS, 512)
        if type(pad_id) is not int or type(positions) is not int or pad_id < 0:
            raise UserError(f"{path}: pad_token_id and {_POSITIONS} must be whole numbers")
        numbers["reserved_positions"] = pad_id + 1
        numbers["max_positions"] = positions - (pad_id + 1)
    if "vocabulary_size" not in numbers:
        raise UserError(f"{path}: lacks vocab_size; copy it again")
    try:
        return Architecture(family=family, **numbers)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def check_tokenizer(architecture: Architecture, tokenizer: Tokenizer, source: str) -> None:
    """See that a model can be this tokenizer's.

    Raises:
        UserError: it has another number of tokens; or a RoBERTa, whose positions begin after the
            padding's id, has another one.
    """
    if len(tokenizer.vocabulary) != architecture.vocabulary_size:
        raise UserError(
            f"{source}: its vocabulary has {len(tokenizer.vocabulary)} tokens, its configuration "
            f"says vocab_size {architecture.vocabulary_size}; one of them is another model's"
        )
    if architecture.family == "roberta" and architecture.reserved_positions != tokenizer.pad_id + 1:
        raise UserError(
            f"{source}: its positions begin after {architecture.reserved_positions - 1}, but "
            f"{tokenizer.special_tokens.pad} is {tokenizer.pad_id}; one of them is another model's"
        )


def model_config(architecture: Architecture, tokenizer: Tokenizer) -> dict[str, Any]:
    """Give what ``config.json`` says of a model of this architecture, its head aside.

    Raises:
        UserError: a folder of this family cannot hold the architecture.
    """
    family = architecture.family
    check_tokenizer(architecture, tokenizer, "the model")
    if family == "distilbert" and architecture.layer_norm_epsilon != DISTILBERT_EPSILON:
        raise UserError(
            f"layer_norm_epsilon is {architecture.layer_norm_epsilon}; a DistilBERT folder "
            f"cannot hold it, its readers take {DISTILBERT_EPSILON}"
        )
    config = {
        "model_type": family,
        "pad_token_id": tokenizer.pad_id,
        "tie_word_embeddings": True,
        **{theirs: getattr(architecture, ours) for ours, theirs in _KEYS[family]},
    }
    config["activation" if family == "distilbert" else "hidden_act"] = _WRITTEN_ACTIVATIONS[
        architecture.activation
    ]
    config["max_position_embeddings"] += architecture.reserved_positions
    if family == "distilbert":
        config["sinusoidal_pos_embds"] = False
    if family == "roberta":
        config |= {"bos_token_id": tokenizer.start_id, "eos_token_id": tokenizer.end_id}
    return config
