"""What ``config.json`` of a Hugging Face folder says of a model's head."""

import re
from pathlib import Path
from typing import Any

from tf_distilbert.errors import UserError
from tf_distilbert.json_file import read_json
from tf_distilbert.model_files.sentence_files import (
    MODULES_FILE,
    encoder_folder,
    read_sentence_settings,
)
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.models.masked_language_model import MaskedLanguageModel
from tf_distilbert.models.sentence_encoder import SentenceEncoder
from tf_distilbert.models.task_models import QuestionAnswerer, SequenceClassifier, TokenClassifier
from tf_distilbert.tokenization.tokenizer import Tokenizer

TASK_MODELS: dict[str, type[EncoderModel]] = {
    made.task: made
    for made in (
        MaskedLanguageModel,
        SequenceClassifier,
        TokenClassifier,
        QuestionAnswerer,
        SentenceEncoder,
        EncoderModel,
    )
}

# How the names of Hugging Face's classes end, after Bert, DistilBert or Roberta.
_ENDINGS = {
    "ForMaskedLM": "masked_lm",
    "ForPreTraining": "masked_lm",
    "ForSequenceClassification": "sequence_classification",
    "ForTokenClassification": "token_classification",
    "ForQuestionAnswering": "question_answering",
    "Model": "encoder",
}
_PREFIXES = {"bert": "Bert", "distilbert": "DistilBert", "roberta": "Roberta"}

_PROBLEMS = {
    "single_label_classification": "single_label",
    "multi_label_classification": "multi_label",
    "regression": "regression",
}

# Where each family keeps the dropout of a head, and what its authors' default is; None: that of
# the hidden states.
_DROPOUT = {
    ("sequence_classification", "distilbert"): ("seq_classif_dropout", 0.2),
    ("question_answering", "distilbert"): ("qa_dropout", 0.1),
    ("sequence_classification", "bert"): ("classifier_dropout", None),
    ("token_classification", "bert"): ("classifier_dropout", None),
    ("sequence_classification", "roberta"): ("classifier_dropout", None),
    ("token_classification", "roberta"): ("classifier_dropout", None),
}


def read_task(folder: Path) -> str | None:
    """Find out which task a folder's model is for.

    Returns:
        A key of `TASK_MODELS`: ``embedding`` if there is a ``modules.json``; None if nothing is
        said.

    Raises:
        UserError: ``config.json`` is missing or broken, or names a head that is not supported.
    """
    path = encoder_folder(folder) / "config.json"
    names = read_json(path).get("architectures")
    if (folder / MODULES_FILE).exists():
        return SentenceEncoder.task
    if not names:
        return None
    name = str(names[0] if isinstance(names, list) else names)
    ending = re.sub("^(Bert|DistilBert|Roberta)", "", name)
    if ending not in _ENDINGS:
        raise UserError(
            f"{path}: architectures says {name}, whose head none of our models has; "
            f"those of {', '.join(f'...{ending}' for ending in _ENDINGS)} can be loaded"
        )
    return _ENDINGS[ending]


def make_task_model(
    folder: Path, task: str, architecture: Architecture, tokenizer: Tokenizer
) -> EncoderModel:
    """Make the untrained model of a task with the labels that ``config.json`` names.

    A sentence encoder's settings are those of its modules; see `read_sentence_settings`.

    Raises:
        UserError: labels, problem or dropout are not in order.
    """
    if task == SentenceEncoder.task:
        settings = read_sentence_settings(folder, architecture, tokenizer)
        return SentenceEncoder(architecture, tokenizer, **settings)
    path = encoder_folder(folder) / "config.json"
    config = read_json(path)
    settings = {}
    if task in ("sequence_classification", "token_classification"):
        settings["labels"] = _labels(config, path)
    if task == "sequence_classification":
        problem = config.get("problem_type")
        if problem is not None and problem not in _PROBLEMS:
            raise UserError(f"{path}: problem_type {problem!r}: use {', '.join(_PROBLEMS)}")
        settings["problem"] = _PROBLEMS[problem] if problem is not None else None
    if task not in ("masked_lm", "encoder"):
        settings["head_dropout"] = _head_dropout(config, path, task, architecture)
    return TASK_MODELS[task](architecture, tokenizer=tokenizer, **settings)


def task_config(model: EncoderModel) -> dict[str, Any]:
    """Give what ``config.json`` says of a model's head; the counterpart of `make_task_model`."""
    family, task = model.architecture.family, model.task
    head = "encoder" if task == SentenceEncoder.task else task
    ending = next(ending for ending, name in _ENDINGS.items() if name == head)
    config: dict[str, Any] = {"architectures": [_PREFIXES[family] + ending]}
    if task in ("sequence_classification", "token_classification"):
        config["id2label"] = {str(i): label for i, label in enumerate(model.labels)}
        config["label2id"] = {label: i for i, label in enumerate(model.labels)}
    if task == "sequence_classification":
        names = {ours: theirs for theirs, ours in _PROBLEMS.items()}
        config["problem_type"] = names[model.problem]
    if (task, family) in _DROPOUT:
        config[_DROPOUT[task, family][0]] = model.head_dropout
    return config


def _labels(config: dict[str, Any], path: Path) -> list[str]:
    """The names of the classes; where there are none, Hugging Face's: LABEL_0, LABEL_1."""
    names = config.get("id2label")
    if names is None:
        count = config.get("num_labels", 2)
        if type(count) is not int or count < 1:
            raise UserError(f"{path}: num_labels is {count!r}; it must be a number of classes")
        return [f"LABEL_{i}" for i in range(count)]
    if not isinstance(names, dict) or set(names) != set(map(str, range(len(names)))):
        raise UserError(f"{path}: the keys of id2label are not 0, 1, 2, ...; write them so")
    labels = [str(names[str(i)]) for i in range(len(names))]
    if not labels or len(set(labels)) < len(labels):
        raise UserError(f"{path}: two classes of id2label have one name; name them differently")
    return labels


def default_head_dropout(task: str, architecture: Architecture) -> float:
    """Give the dropout of a head as its authors have it where nothing is said."""
    if (task, architecture.family) in _DROPOUT:
        _, default = _DROPOUT[task, architecture.family]
        return architecture.dropout if default is None else default
    # DistilBERT's token classifier has that of its hidden states, BERT's answerer none.
    return architecture.dropout if task == "token_classification" else 0.0


def _head_dropout(
    config: dict[str, Any], path: Path, task: str, architecture: Architecture
) -> float:
    key, _ = _DROPOUT.get((task, architecture.family), (None, None))
    value = config.get(key) if key else None
    if value is None:
        return default_head_dropout(task, architecture)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise UserError(f"{path}: {key} is {value!r}; it must be in [0, 1)")
    return float(value)
