"""The model that a fine-tuning begins with: an encoder that has read much, and a head."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.tasks import Task
from tf_distilbert.model_files.encoders import load_encoder, load_with_new_head
from tf_distilbert.model_files.folder import copy_encoder, load_task_model, written_task
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.models.sentence_encoder import SentenceEncoder

MODEL_OF_KIND = {
    "classification": "sequence_classification",
    "regression": "sequence_classification",
    "token_classification": "token_classification",
    "question_answering": "question_answering",
    "similarity": "embedding",
    "retrieval": "embedding",
}
"""Which of `task_config.TASK_MODELS` learns a kind of task."""


def task_for_model(task: Task, path: str | Path) -> Task:
    """Give a task as a model does it: STS-B is a similarity for a sentence encoder, for others a
    regression.

    Args:
        task: any.
        path: of the model.

    Raises:
        UserError: the folder is none of a model.
    """
    if task.name == "stsb" and written_task(path) == MODEL_OF_KIND["similarity"]:
        return replace(task, kind="similarity")
    return task


def start_model(
    path: str, kind: str, labels: Sequence[str], head_dropout: float | None = None
) -> EncoderModel:
    """Load a model to be fine-tuned.

    Its head is kept if it is one for the kind of task and the labels; otherwise it is a new one.
    What is no sentence encoder yet becomes one that gives the mean.

    Args:
        path: as `load_model` takes, with any head or none.
        kind: of the task; a key of `MODEL_OF_KIND`.
        labels: the names of the classes; of a regression or of questions none.
        head_dropout: before the output; by default as its authors have it.

    Raises:
        UserError: the folder is none of a model.
    """
    name, head = MODEL_OF_KIND[kind], head_of(kind, labels)
    if name == SentenceEncoder.task and written_task(path) != name:
        encoder, tokenizer = load_encoder(path)
        mean = SentenceEncoder(encoder.architecture, tokenizer)
        copy_encoder(encoder, mean)
        return mean
    if written_task(path) == name:
        model = load_task_model(path, name)
        if has_head(model, kind, labels):
            return _with_dropout(model, head_dropout)
    return load_with_new_head(path, name, head_dropout, **head)


def head_of(kind: str, labels: Sequence[str]) -> dict[str, Any]:
    """Give the settings of the head that a kind of task needs."""
    if kind == "regression":
        return {"problem": "regression", "labels": ("LABEL_0",)}
    if kind == "classification":
        return {"problem": "single_label", "labels": tuple(labels)}
    return {"labels": tuple(labels)} if kind == "token_classification" else {}


def has_head(model: EncoderModel, kind: str, labels: Sequence[str]) -> bool:
    """Whether a model of the kind's class has the head that a task needs; any name will do for
    the one number of a regression."""
    needed = head_of(kind, labels)
    if kind == "regression":
        del needed["labels"]
    return all(getattr(model, name) == value for name, value in needed.items())


def load_teacher(path: str, kind: str) -> EncoderModel:
    """Load a model that was fine-tuned on a task.

    Raises:
        UserError: it was not.
    """
    name = MODEL_OF_KIND[kind]
    found = written_task(path)
    if found != name:
        raise UserError(
            f"{path}: the teacher's head is for {found or 'nothing'}, the task needs {name}; "
            "fine-tune the teacher on the task first"
        )
    return load_task_model(path, name)


def _with_dropout(model: EncoderModel, head_dropout: float | None) -> EncoderModel:
    if head_dropout is not None:
        model.head_dropout = model.head.dropout.rate = head_dropout
    return model
