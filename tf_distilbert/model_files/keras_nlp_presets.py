"""keras-nlp's presets: teachers that bring a trained masked-LM head, encoders from any of them.

A preset is a folder that keras-nlp's ``save_to_preset`` wrote, or the name of one that it
downloads. keras-nlp's own presets are backbones: a masked-LM model made from one predicts noise.
The same models, head included, are on the Hugging Face Hub.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_distilbert.errors import UserError
from tf_distilbert.model_files.keras_nlp_models import (
    FAMILIES,
    KerasNlpMaskedLanguageModel,
    architecture_of,
    read_values,
    tokenizer_of,
)
from tf_distilbert.models.encoder import Encoder
from tf_distilbert.tokenization.tokenizer import Tokenizer

if TYPE_CHECKING:  # it takes seconds to import
    import keras_nlp

PREFIX = "keras_nlp://"

WITH_HEAD = {
    "bert_tiny_en_uncased": "hf://google/bert_uncased_L-2_H-128_A-2",
    "bert_small_en_uncased": "hf://google/bert_uncased_L-4_H-512_A-8",
    "bert_medium_en_uncased": "hf://google/bert_uncased_L-8_H-512_A-8",
    "bert_base_en_uncased": "hf://google-bert/bert-base-uncased",
    "bert_base_en": "hf://google-bert/bert-base-cased",
    "bert_base_zh": "hf://google-bert/bert-base-chinese",
    "bert_base_multi": "hf://google-bert/bert-base-multilingual-cased",
    "bert_large_en_uncased": "hf://google-bert/bert-large-uncased",
    "bert_large_en": "hf://google-bert/bert-large-cased",
    "distil_bert_base_en_uncased": "hf://distilbert/distilbert-base-uncased",
    "distil_bert_base_en": "hf://distilbert/distilbert-base-cased",
    "distil_bert_base_multi": "hf://distilbert/distilbert-base-multilingual-cased",
    "roberta_base_en": "hf://FacebookAI/roberta-base",
    "roberta_large_en": "hf://FacebookAI/roberta-large",
}
"""keras-nlp's presets, none of which has a masked-LM head, and the same models with theirs."""


def is_preset(path: str | Path) -> bool:
    """Tell whether this is keras-nlp's: ``keras_nlp://...``, or a folder that says so."""
    if str(path).startswith(PREFIX):
        return True
    try:
        config = json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "registered_name" in config


def load_preset(name_or_folder: str | Path) -> KerasNlpMaskedLanguageModel:
    """Load a preset with a trained masked-LM head, to be a teacher (or a student).

    Args:
        name_or_folder: a folder that ``save_to_preset`` of a ``BertMaskedLM``,
            ``DistilBertMaskedLM`` or ``RobertaMaskedLM`` wrote, or the name of such a preset,
            ``keras_nlp://kaggle://OWNER/MODEL/keras/VARIATION``.

    Raises:
        UserError: it has no masked-LM head (none of keras-nlp's own presets has), is of another
            kind, damaged or unknown, or cannot be fetched.
    """
    name = _name(name_or_folder)
    if not Path(name).is_dir() and name in WITH_HEAD:
        _refuse_without_head(name, WITH_HEAD[name])  # no need to download it
    folder = _resolve(name)
    _check_family(folder)
    task_class = _class_name(folder / "task.json")
    if not task_class.endswith("MaskedLM") or not (folder / "task.weights.h5").exists():
        known = [WITH_HEAD[part] for part in folder.parts if part in WITH_HEAD]
        _refuse_without_head(name, known[0] if known else "hf://OWNER/NAME")
    import keras_nlp

    with _explain_load_errors(folder):
        task = getattr(keras_nlp.models, task_class).from_preset(str(folder), compile=False)
    return KerasNlpMaskedLanguageModel(task)


def load_preset_encoder(name_or_folder: str | Path) -> tuple[Encoder, Tokenizer]:
    """Load a preset's backbone as an encoder of ours, for fine-tuning; a head is not needed.

    Args:
        name_or_folder: a folder, or ``keras_nlp://bert_base_en_uncased`` or another name.

    Returns:
        The encoder and its tokenizer. The pooler of a BERT is left behind.

    Raises:
        UserError: as `load_preset`, but for the head.
    """
    folder = _resolve(_name(name_or_folder))
    family = _check_family(folder)
    with _explain_load_errors(folder):
        backbone, preprocessor = _load_parts(folder, family)
    encoder = Encoder(architecture_of(backbone), name="encoder")
    encoder.build()
    values = read_values(backbone)
    for variable in encoder.weights:
        variable.assign(values[variable.path])
    tokenizer = tokenizer_of(preprocessor)
    assert tokenizer is not None  # a preset's preprocessor has one
    return encoder, tokenizer


def _load_parts(folder: Path, family: str) -> tuple["keras_nlp.models.Backbone", Any]:
    import keras_nlp

    backbone = getattr(keras_nlp.models, f"{family}Backbone").from_preset(str(folder))
    preprocessor = getattr(keras_nlp.models, f"{family}MaskedLMPreprocessor")
    return backbone, preprocessor.from_preset(str(folder))


def _name(name_or_folder: str | Path) -> str:
    return str(name_or_folder).removeprefix(PREFIX)


def _resolve(name: str) -> Path:
    """Give the local folder of a preset, downloading it (once, cached) if it has a name."""
    folder = Path(name)
    if not folder.is_dir():
        folder = _download(name)
    if not is_preset(folder):
        raise UserError(
            f"{folder}: is no keras-nlp preset, its config.json names no class of Keras's; "
            "give a folder that save_to_preset wrote"
        )
    return folder


def _download(name: str) -> Path:
    import kagglehub
    import keras_nlp

    backbones = [getattr(keras_nlp.models, f"{family}Backbone") for family in FAMILIES]
    handles = {n: p["kaggle_handle"] for b in backbones for n, p in b.presets.items()}
    handle = handles.get(name, name)
    if not handle.startswith("kaggle://"):
        raise UserError(
            f"{name}: no such folder, nor a preset of keras-nlp's; give the folder of a preset, or "
            f"{PREFIX}NAME with one of {', '.join(WITH_HEAD)}"
        )
    try:
        return Path(kagglehub.model_download(handle.removeprefix("kaggle://")))
    except (OSError, ValueError) as error:  # those of requests and kagglehub are among them
        raise UserError(
            f"{PREFIX}{name}: cannot be fetched ({_reason(error)}); download the preset elsewhere "
            "and give its folder"
        ) from None


def _check_family(folder: Path) -> str:
    name = _class_name(folder / "config.json")
    if name.removesuffix("Backbone") not in FAMILIES:
        raise UserError(
            f"{folder}: is a {name}; use one of {', '.join(f'{f}Backbone' for f in FAMILIES)}"
        )
    return name.removesuffix("Backbone")


def _class_name(path: Path) -> str:
    """Give the class that a preset's file describes, without its package; '' if no such file."""
    if not path.exists():
        return ""
    with _explain_load_errors(path.parent):
        return json.loads(path.read_text(encoding="utf-8"))["registered_name"].split(">")[-1]


def _refuse_without_head(name: str, instead: str) -> None:
    raise UserError(
        f"{name}: the preset has no trained masked-LM head, so what it predicts would be noise; "
        f"use the same model with its head, {instead}"
    )


@contextmanager
def _explain_load_errors(folder: Path) -> Iterator[None]:
    """Turn what keras-nlp raises at a damaged preset, which is of any kind, into one line."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"{folder}: the preset cannot be read ({_reason(error)}); save or download it again"
        ) from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
