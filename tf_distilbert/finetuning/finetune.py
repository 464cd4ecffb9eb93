"""Fine-tuning: from a model that has read much to one that does a task."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import cast

import numpy as np
from rich.console import Console

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.config.finetuning import FinetuneConfig, TaskLossConfig
from tf_distilbert.console.lines import say
from tf_distilbert.console.time_left import TimeLeft
from tf_distilbert.distillation.trimming import trimmed_to
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.batches import task_batches
from tf_distilbert.finetuning.encoding import EncodedSplit, encode_split
from tf_distilbert.finetuning.examples import Example, TextExample
from tf_distilbert.finetuning.predictions import predictor
from tf_distilbert.finetuning.ranking_files import queries_of_pairs
from tf_distilbert.finetuning.sentence_rows import encode_sentence_splits
from tf_distilbert.finetuning.sentence_trainer import SentenceTrainer
from tf_distilbert.finetuning.splits import read_split, with_labels
from tf_distilbert.finetuning.start_model import load_teacher, start_model, task_for_model
from tf_distilbert.finetuning.tasks import Task, find_task
from tf_distilbert.finetuning.trainer import TaskTrainer
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.models.sentence_encoder import SentenceEncoder
from tf_distilbert.runs.directory import SCORES_FILE
from tf_distilbert.runs.job import Job
from tf_distilbert.runs.loop import train_to_the_end
from tf_distilbert.training import runtime
from tf_distilbert.training.strategy import is_chief
from tf_distilbert.training.trainer import MaskedMeanTrainer


@runtime.kept_precision()
def finetune(
    config: FinetuneConfig, console: Console | None = None, *, model_stays: bool = True
) -> dict[str, dict[str, float]]:
    """Fine-tune a model on a task, with a teacher or without, and measure it.

    The run directory gets what `distill` writes (resolved configuration, log, checkpoints, model),
    and ``scores.json``.

    Args:
        config: everything; see `FinetuneConfig`.
        console: where progress is shown, by default stderr.
        model_stays: whether the model's folder is kept, and is to be named.

    Returns:
        For each validation split of the task its metrics, and ``score``, the mean of the main ones.

    Raises:
        UserError: task, data, model, teacher, settings or output are at fault; or the loss is not
            finite.
        Interrupted: a signal came; everything is saved.
    """
    task = task_for_model(find_task(config.task, columns=asdict(config.columns)), config.model)
    _check_settings(config, task)
    task = with_labels(task, config.data)
    job = Job.open(config, console)
    with job.at_work():
        with TimeLeft(job.console, f"reading {task.name}"):
            examples = _read(config, task, partial(say, job.console))
        with job.strategy.scope():
            model, teacher, trainer = _start(config, task, job)
        with TimeLeft(job.console, f"tokenizing {task.name}"):
            splits = job.load(lambda _: _encode(config, task, examples, model, teacher))
        teacher = None  # the trainer may hold it in fewer bytes
        held_out = [name for name in splits if name != "train"]
        predict = predictor(model)
        train, measured = splits["train"], splits[held_out[0]]
        batches = task_batches(trainer, predict, train, measured, config.train)
        train_to_the_end(trainer, batches, job)
        job.finish(model, "finetune", stays=model_stays)
        scores = {}
        for name in held_out:
            batch_size = config.train.validation_batch_size
            own = predict(splits[name], batch_size, job.console).scores()
            scores[name] = {"score": task.main_score(own), **own}
        if is_chief(job.strategy):
            content = json.dumps(scores, indent=2) + "\n"
            write_atomically(job.run.path / SCORES_FILE, content.encode())
        return scores


_OF_SENTENCES = ("similarity", "matryoshka")
"""The settings of the loss that are those of sentence encoders."""


def _check_settings(config: FinetuneConfig, task: Task) -> None:
    """Refuse settings of sentence encoders for other models, and the other way round."""
    usual = TaskLossConfig()
    given = [key for key in _OF_SENTENCES if getattr(config.loss, key) != getattr(usual, key)]
    if not task.by_vectors and given:
        raise UserError(
            f"loss.{given[0]} is for tasks by vectors, {task.name} is none for {config.model}; "
            "leave it out"
        )
    if task.kind == "retrieval" and "similarity" in given:
        raise UserError("loss.similarity is for pairs with scores, not for retrieval; leave it out")
    for key in ("teacher", "head_dropout") if task.by_vectors else ():
        if getattr(config, key) is not None:
            raise UserError(f"{key} is not for {task.name}, a task by vectors; leave it out")


def _start(
    config: FinetuneConfig, task: Task, job: Job
) -> tuple[EncoderModel, EncoderModel | None, MaskedMeanTrainer]:
    """Load the model, and the teacher, if there is one, and make the trainer."""
    model = start_model(config.model, task.kind, task.labels, config.head_dropout)
    loss = asdict(config.loss)
    of_sentences = {key: loss.pop(key) for key in _OF_SENTENCES}
    if isinstance(model, SentenceEncoder):
        if config.max_length is not None:
            model.check_length(config.max_length)
            model.max_length = config.max_length
        objective = of_sentences["similarity"]
        if task.kind == "retrieval":
            objective = "in_batch_negatives"
        arguments = {"matryoshka": of_sentences["matryoshka"], **job.trainer_arguments}
        return model, None, SentenceTrainer(model, objective, **arguments)
    teacher = load_teacher(config.teacher, task.kind) if config.teacher else None
    if teacher is not None:  # the student may have kept a part of its tokens
        teacher = trimmed_to(teacher, model.tokenizer)
    return model, teacher, TaskTrainer(model, teacher, **job.trainer_arguments, **loss)


def _read(
    config: FinetuneConfig, task: Task, warn: Callable[[str], None]
) -> dict[str, Sequence[Example]]:
    """Read what is learnt from, and what is measured on."""
    train = read_split(task, config.data, "train", warn)
    if not config.validation_share:
        splits = {
            name: read_split(task, config.data, name, warn) for name in task.validation_splits
        }
        return {"train": train, **splits}
    count = max(1, round(config.validation_share * len(train)))
    if count >= len(train):
        raise UserError(
            f"validation_share is {config.validation_share}: of {len(train)} rows none is left to "
            "learn from; give a smaller share"
        )
    # The same rows for all seeds and models.
    order = np.random.default_rng(0).permutation(len(train))
    held_out, kept = ([train[i] for i in np.sort(part)] for part in np.split(order, [count]))
    if task.kind == "retrieval":
        return {"train": kept, "held_out": queries_of_pairs(cast(list[TextExample], held_out))}
    return {"train": kept, "held_out": held_out}


def _encode(
    config: FinetuneConfig,
    task: Task,
    examples: Mapping[str, Sequence[Example]],
    model: EncoderModel,
    teacher: EncoderModel | None,
) -> dict[str, EncodedSplit]:
    if isinstance(model, SentenceEncoder):
        rows = encode_sentence_splits(task, examples, model)
        return {name: EncodedSplit(task, examples[name], rows[name]) for name in examples}
    encode = partial(
        encode_split, teacher=teacher, max_length=config.max_length, stride=config.doc_stride
    )
    return {name: encode(task, found, model) for name, found in examples.items()}
