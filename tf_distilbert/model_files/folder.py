"""Models on disk, from wherever users have them: in and out.

What is written is always a Hugging Face folder: ``config.json``, ``model.safetensors`` and the
tokenizer's files. `transformers` opens it. There is no format of our own.
"""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tf_distilbert.assets import asset
from tf_distilbert.atomic_writes import whole_folder
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.google_checkpoint import is_google_checkpoint, read_google_checkpoint
from tf_distilbert.model_files.hf_weights import read_tensors, write_tensors
from tf_distilbert.model_files.hub import download
from tf_distilbert.model_files.keras_nlp_models import KerasNlpMaskedLanguageModel
from tf_distilbert.model_files.keras_nlp_presets import (
    PREFIX,
    is_preset,
    load_preset,
    load_preset_encoder,
)
from tf_distilbert.model_files.model_config import check_tokenizer, model_config, read_architecture
from tf_distilbert.model_files.sentence_files import (
    SentenceModules,
    encoder_folder,
    read_projection_weights,
    write_sentence_files,
)
from tf_distilbert.model_files.task_config import (
    TASK_MODELS,
    make_task_model,
    read_task,
    task_config,
)
from tf_distilbert.model_files.weight_files import read_weights
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.encoder import Encoder
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.models.masked_language_model import MaskedLanguageModel
from tf_distilbert.models.sentence_encoder import SentenceEncoder
from tf_distilbert.tokenization.folder import read_tokenizer
from tf_distilbert.tokenization.tokenizer import Tokenizer

SAMPLE_TEACHER = "saved_models/sample_teacher"
"""The small teacher that comes along; found by this name from anywhere."""

_CONFIGS = (".json", ".yaml")  # of models, of runs


def load_model(path: str | Path) -> MaskedLanguageModel | KerasNlpMaskedLanguageModel:
    """Load a masked language model: a teacher, a student, or any other.

    Args:
        path: one of

            - a folder of Hugging Face's ``BertForMaskedLM``, ``BertForPreTraining``,
              ``RobertaForMaskedLM`` or ``DistilBertForMaskedLM``, weights in safetensors or
              ``pytorch_model.bin``, whole or sharded, in float32, float16 or bfloat16;
            - such a folder on the Hub, ``hf://OWNER/NAME`` or ``hf://OWNER/NAME@REVISION``;
            - a run directory of this project, whose ``model/`` is meant;
            - a folder of Google's original BERT: ``bert_config.json``, ``bert_model.ckpt.*``;
            - a keras-nlp preset with a trained masked-LM head: a folder, or ``keras_nlp://NAME``.

    Returns:
        The model in float32 under the current Keras precision policy, its tokenizer attached.

    Raises:
        UserError: the folder or a file in it is missing, broken or of another kind; names it.

    Example:
        >>> teacher = tf_distilbert.load_model("hf://google-bert/bert-base-uncased")
        >>> teacher.architecture.num_layers
        12
    """
    if is_preset(path):
        return load_preset(path)
    folder = resolve_folder(path)
    architecture, tensors, tokenizer = read_folder(folder)
    model = MaskedLanguageModel(architecture, tokenizer)
    read_tensors(model, tensors, source=str(folder))
    return model


def load_task_model(
    path: str | Path, task: str | None = None
) -> EncoderModel | KerasNlpMaskedLanguageModel:
    """Load a model with the head that its folder has.

    Args:
        path: a Hugging Face folder, local or ``hf://...``, of ``BertFor...``, ``DistilBertFor...``
            or ``RobertaFor...`` with ``MaskedLM``, ``SequenceClassification``,
            ``TokenClassification``, ``QuestionAnswering``, or of the bare ``...Model``; or, for a
            masked language model or a bare encoder, anything that `load_model` takes.
        task: ``masked_lm``, ``sequence_classification``, ``token_classification``,
            ``question_answering``, ``embedding`` or ``encoder``; by default what the folder says:
            ``embedding`` if it has a ``modules.json``, else what ``config.json`` says. An
            ``encoder`` can be had of any of them, and of an encoder an ``embedding``: the mean.

    Returns:
        A `MaskedLanguageModel` (of a keras-nlp preset as `load_model` gives it),
        `SequenceClassifier`, `TokenClassifier`, `QuestionAnswerer`, `SentenceEncoder` or
        `EncoderModel` in float32 under the current Keras precision policy, its tokenizer attached.

    Raises:
        UserError: as `load_model`; the folder has not the head of the task.

    Example:
        >>> model = tf_distilbert.load_task_model("path/to/distilbert-sst2")
        >>> model.labels
        ('NEGATIVE', 'POSITIVE')
    """
    if task not in (None, *TASK_MODELS):
        raise UserError(f"task {task!r}: use one of {', '.join(TASK_MODELS)}")
    if is_preset(path):
        if task == "encoder":
            encoder, tokenizer = load_preset_encoder(path)
            model = EncoderModel(encoder.architecture, tokenizer)
            copy_encoder(encoder, model)
            return model
        if task in (None, "masked_lm"):
            return load_preset(path)
        raise UserError(
            f"{path}: a keras-nlp preset is read for masked_lm or encoder alone, not for {task}"
        )
    folder = resolve_folder(path)
    architecture, tensors, tokenizer = read_folder(folder)
    if is_google_checkpoint(folder):
        task = task or "masked_lm"
        model = TASK_MODELS[task](architecture)
    else:
        written = read_task(folder)
        if task not in (None, "encoder", written) and written not in (None, "encoder"):
            raise UserError(
                f"{folder}: its head is for {written}, not for {task}; leave out --task, or give "
                "--task encoder"
            )
        task = task or written
        if task is None:
            raise UserError(
                f"{folder / 'config.json'}: does not say which head the model has "
                f"(architectures); say it with --task: {', '.join(TASK_MODELS)}"
            )
        model = make_task_model(folder, task, architecture, tokenizer)
    model.tokenizer = tokenizer
    read_tensors(model, tensors, source=str(folder))
    if isinstance(model, SentenceEncoder):
        read_projection_weights(model, folder)
    return model


def written_task(path: str | Path) -> str | None:
    """Tell for which task a folder's model has a head.

    Returns:
        See `load_task_model`; None if it does not say, as a preset or a bare checkpoint.

    Raises:
        UserError: there is no such folder, or its head is not supported.
    """
    if is_preset(path):
        return None
    folder = resolve_folder(path)
    return None if is_google_checkpoint(folder) else read_task(folder)


def weights_digest(path: str | Path) -> str:
    """Tell a model's weights from all others: a SHA-256 of its files of tensors.

    Of a preset with a name, which does not change, of the name.

    Raises:
        UserError: there is no such folder.
    """
    digest = hashlib.sha256()
    if str(path).startswith(PREFIX):
        digest.update(str(path).encode())
        return digest.hexdigest()
    folder = resolve_folder(path)
    modules = SentenceModules.read(folder)
    places = {folder, *(modules.folders.values() if modules else ())}
    for file in sorted(file for place in places if place.is_dir() for file in place.iterdir()):
        if file.suffix in (".safetensors", ".bin", ".h5") or ".ckpt." in file.name:
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Load the tokenizer alone.

    Args:
        path: what `load_model` or `load_encoder` takes.

    Returns:
        A `WordPieceTokenizer`, or RoBERTa's or Japanese BERT's, with the same methods.

    Raises:
        UserError: as `load_model`.
    """
    if is_preset(path):
        return load_preset_encoder(path)[1]
    return read_tokenizer(encoder_folder(resolve_folder(path)))


def copy_encoder(encoder: Encoder, model: EncoderModel) -> None:
    """Give a model the weights of an encoder of its architecture."""
    for own, given in zip(model.encoder.weights, encoder.weights, strict=True):
        own.assign(given)


def read_folder(folder: Path) -> tuple[Architecture, dict[str, np.ndarray], Tokenizer]:
    """Read the parts of a model: architecture, tensors by their names on disk, tokenizer.

    Raises:
        UserError: a file is missing or broken, or they do not fit each other.
    """
    folder = encoder_folder(folder)
    if is_google_checkpoint(folder):
        architecture, tensors = read_google_checkpoint(folder)
    else:
        architecture, tensors = read_architecture(folder), read_weights(folder)
    tokenizer = read_tokenizer(folder)
    check_tokenizer(architecture, tokenizer, source=str(folder))
    return architecture, tensors, tokenizer


def resolve_folder(path: str | Path) -> Path:
    """Give the local folder of a model, downloading it (once, cached) if it is ``hf://...``.

    Args:
        path: the folder; ``hf://...``; or a run directory, whose ``model/`` is meant.

    Raises:
        UserError: no such folder, a run that has no model yet, or the Hub cannot be reached and has
            not been before.
    """
    if str(path).startswith("hf://"):
        return download(str(path))
    if str(path) and Path(path).is_dir():
        return _model_of_a_run(Path(path))
    if Path(path) == Path(SAMPLE_TEACHER):
        return asset(SAMPLE_TEACHER)  # from elsewhere than a checkout
    if Path(path).exists() or Path(f"{path}.index").exists():
        raise UserError(f"{path}: is no folder; give the folder that it is in")
    raise UserError(f"{path}: no such model folder; give its path, or hf://OWNER/NAME")


def _model_of_a_run(folder: Path) -> Path:
    """Give the folder itself, or the model in it if it is a run directory."""
    if (folder / "config.json").exists() or not (folder / "config.yaml").exists():
        inner = sorted(p.parent.name for p in folder.glob("*/config.*") if p.suffix in _CONFIGS)
        if inner and not any(path.is_file() for path in folder.iterdir()):
            raise UserError(
                f"{folder}: is no model folder, but a folder of {', '.join(inner[:5])}; give one "
                f"of these, for example {folder / inner[0]}"
            )
        return folder
    if not (folder / "model").is_dir():
        raise UserError(
            f"{folder}: is a run that has no model yet; let it end, with --resume if it was stopped"
        )
    return folder / "model"


def save_model(model: EncoderModel, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a model as a Hugging Face folder that `transformers` opens, its head included.

    Args:
        model: its tokenizer must be attached.
        path: the folder; it appears only when complete.
        overwrite: replace what is there.

    Raises:
        UserError: the model is keras-nlp's, which ``keras_nlp_task().save_to_preset(...)`` saves;
            it has no tokenizer, or another's; the folder exists and is not empty, or cannot be
            written.
    """
    path = Path(path)
    if not isinstance(model, EncoderModel):
        raise UserError(
            "a keras-nlp model is saved by model.keras_nlp_task().save_to_preset(FOLDER)"
        )
    if path.exists() and not overwrite and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path}: exists already; choose another folder or remove it")
    if model.tokenizer is None:
        raise UserError("the model has no tokenizer to save; set model.tokenizer first")
    config = task_config(model) | model_config(model.architecture, model.tokenizer)
    with whole_folder(path) as folder:
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        model.tokenizer.save(folder, model.architecture.max_positions)
        if isinstance(model, SentenceEncoder):
            write_sentence_files(model, folder)
        save_file(write_tensors(model), folder / "model.safetensors", metadata={"format": "pt"})
        # safetensors lets the owner alone read; a served model is read by others.
        shutil.copymode(folder / "config.json", folder / "model.safetensors")
