"""An encoder without the head that it came with, if any, and a new head on it."""

from pathlib import Path
from typing import Any

import numpy as np

from tf_distilbert.errors import UserError
from tf_distilbert.model_files.folder import copy_encoder, load_model, read_folder, resolve_folder
from tf_distilbert.model_files.google_checkpoint import is_google_checkpoint
from tf_distilbert.model_files.hf_weights import has_head, read_encoder_tensors, read_pooler
from tf_distilbert.model_files.keras_nlp_presets import is_preset, load_preset_encoder
from tf_distilbert.model_files.task_config import TASK_MODELS, default_head_dropout, read_task
from tf_distilbert.models.encoder import Encoder
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.models.masked_language_model import MaskedLanguageModel
from tf_distilbert.tokenization.tokenizer import Tokenizer


def load_encoder(path: str | Path) -> tuple[Encoder, Tokenizer]:
    """Load an encoder without its head, to be fine-tuned.

    Args:
        path: as `load_model` takes, but with any head or none: a bare ``BertModel``, a fine-tuned
            classifier, any keras-nlp preset such as ``keras_nlp://bert_base_en_uncased``.

    Returns:
        The encoder in float32 under the current Keras precision policy, and its tokenizer.

    Raises:
        UserError: as `load_model`.
    """
    if is_preset(path):
        return load_preset_encoder(path)
    folder = resolve_folder(path)
    architecture, tensors, tokenizer = read_folder(folder)
    encoder = Encoder(architecture, name="encoder")
    encoder.build()
    read_encoder_tensors(encoder, tensors, source=str(folder))
    return encoder, tokenizer


def load_with_new_head(
    path: str | Path, task: str, head_dropout: float | None = None, **settings: Any
) -> EncoderModel:
    """Load an encoder and put an untrained head on it.

    The pooler of a pre-trained BERT, a part of a classifier's head, is kept.

    Args:
        path: as `load_encoder` takes.
        task: a key of `TASK_MODELS`.
        head_dropout: before the output; by default as the encoder's authors have it.
        **settings: of the task's model: its labels, for example.

    Raises:
        UserError: as `load_model`.
    """
    tensors: dict[str, np.ndarray] = {}
    if is_preset(path):
        encoder, tokenizer = load_preset_encoder(path)
        architecture = encoder.architecture
    else:
        folder = resolve_folder(path)
        architecture, tensors, tokenizer = read_folder(folder)
    if head_dropout is None:
        head_dropout = default_head_dropout(task, architecture)
    made = TASK_MODELS[task]
    model = made(architecture, tokenizer=tokenizer, head_dropout=head_dropout, **settings)
    if is_preset(path):
        copy_encoder(encoder, model)
    else:
        read_encoder_tensors(model.encoder, tensors, source=str(folder))
        read_pooler(model, tensors, source=str(folder))
    return model


def load_to_pretrain(path: str | Path) -> tuple[MaskedLanguageModel, bool]:
    """Load a model to train on as a masked language model, with a new head where it has none.

    The head of a bare ``BertModel``, a sentence encoder or a classifier begins with the identity as
    its transform and the word embeddings as its output table. So its first predictions come from
    what the last hidden states have in common with the embeddings. What each word's bias is, the
    caller says.

    Args:
        path: as `load_encoder` takes, but no keras-nlp preset.

    Returns:
        The model, and whether its head is new.

    Raises:
        UserError: as `load_model`; or it is a keras-nlp preset.
    """
    if is_preset(path):
        raise UserError(f"{path}: a keras-nlp preset cannot be trained on; give another model")
    folder = resolve_folder(path)
    if is_google_checkpoint(folder) or read_task(folder) == "masked_lm":
        return load_model(folder), False
    architecture, tensors, tokenizer = read_folder(folder)
    if has_head(tensors, "masked_lm"):
        return load_model(folder), False
    model = MaskedLanguageModel(architecture, tokenizer)
    read_encoder_tensors(model.encoder, tensors, source=str(folder))
    model.head.transform.kernel.assign(np.eye(architecture.hidden_size, dtype="float32"))
    return model, True
