"""The two jobs that make a model: distil a student from a teacher, pretrain a teacher.

Both read as the same story: open the run, load what is learnt from, build what learns, train,
save. A run that was stopped goes on by itself: the data is a function of the step's number, and
a checkpoint holds all the rest.
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from tf_distilbert.config.data import DataConfig
from tf_distilbert.config.jobs import DistillConfig, PretrainConfig
from tf_distilbert.console.lines import say
from tf_distilbert.data.records import Records
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.pair import PREDICTING, lacks_head
from tf_distilbert.distillation.pretrainer import MaskedLMPretrainer
from tf_distilbert.distillation.student import Teacher, make_student
from tf_distilbert.distillation.trimming import trimmed_to
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.encoders import load_to_pretrain
from tf_distilbert.model_files.folder import load_model, load_task_model, written_task
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.masked_language_model import MaskedLanguageModel
from tf_distilbert.models.sentence_encoder import SentenceEncoder
from tf_distilbert.runs.batches import masked_lm_batches
from tf_distilbert.runs.job import Job
from tf_distilbert.runs.loop import train_to_the_end
from tf_distilbert.runs.records import load_or_learn_vocabulary, load_records
from tf_distilbert.runs.student_start import start_student, with_trimmed_vocabulary
from tf_distilbert.runs.teacher_vectors import teacher_vectors
from tf_distilbert.tokenization.tokenizer import Tokenizer
from tf_distilbert.training import runtime
from tf_distilbert.training.strategy import chief_first

Vectors = tuple[np.ndarray | None, np.ndarray | None]
"""A teacher's of what is trained on, and of what is held out."""


@runtime.kept_precision()
def distill(config: DistillConfig, console: Console | None = None) -> Path:
    """Distil a student from a teacher.

    Args:
        config: everything; see `load_config`.
        console: where progress is shown, by default stderr.

    Returns:
        The folder of the finished student.

    Raises:
        UserError: teacher, text, settings or output are at fault; or the loss is not finite.
        Interrupted: a signal came; everything is saved.
    """
    job = Job.open(config, console)
    with job.at_work():
        with job.strategy.scope():
            teacher = load_teacher(config, job.console)
            _check_rows(teacher, config.data)
            shape, objective = asdict(config.student), asdict(config.loss) | job.trainer_arguments
            vocabulary = shape.pop("vocabulary")
            student, start = make_student(teacher, **shape)
            if start is None:  # it may have kept a part of the teacher's tokens
                teacher = trimmed_to(teacher, student.tokenizer)
            _check_rows(student, config.data, "student.initialize_from: ")
            distiller = Distiller(teacher, student, **objective)
            if vocabulary:  # all that does not fit is refused by now, before the text is read
                pair = with_trimmed_vocabulary(teacher, student, vocabulary, job, config.data)
                teacher, student = pair
                distiller = Distiller(teacher, student, **objective)
        records, held_out = _load_records(job, config.data, student.tokenizer)
        if start and not job.run.has_checkpoint:
            start_student(teacher, student, start, records, job)
        vectors: Vectors = (None, None)
        if distiller.compares_vectors_alone:
            vectors = _teacher_vectors(teacher, config.teacher, records, held_out, job)
        del teacher  # the distiller may hold it in fewer bytes
        batches = masked_lm_batches(distiller, records, held_out, config, vectors)
        train_to_the_end(distiller, batches, job)
        return job.finish(student, "distill")


@runtime.kept_precision()
def pretrain(config: PretrainConfig, console: Console | None = None) -> Path:
    """Train a BERT by masked language modelling alone, from scratch or from an existing one.

    Args:
        config: everything; see `load_config`.
        console: where progress is shown, by default stderr.

    Returns:
        The folder of the finished model.

    Raises:
        UserError: text, model, settings or output are at fault; or the loss is not finite.
        Interrupted: a signal came; everything is saved.
    """
    job = Job.open(config, console)
    with job.at_work():
        if config.initialize_from:
            with job.strategy.scope():
                model, has_new_head = load_to_pretrain(config.initialize_from)
                model.check_length(config.data.sequence_length)
            records, held_out = _load_records(job, config.data, model.tokenizer)
            if has_new_head and not job.run.before:
                say(
                    job.console,
                    f"{config.initialize_from}: has no masked-LM head; a new one is trained, which "
                    "begins with the identity, the word embeddings and the words' frequencies",
                )
            if has_new_head:
                _start_from_frequencies(model, records)
        else:
            learn = partial(load_or_learn_vocabulary, config.data, job.run.data)
            tokenizer = chief_first(job.strategy, learn)
            records, held_out = _load_records(job, config.data, tokenizer)
            architecture = Architecture(len(tokenizer.vocabulary), **asdict(config.model))
            with job.strategy.scope():
                model = MaskedLanguageModel(architecture, tokenizer)
                _start_from_frequencies(model, records)
        with job.strategy.scope():
            trainer = MaskedLMPretrainer(model, **job.trainer_arguments)
        batches = masked_lm_batches(trainer, records, held_out, config)
        train_to_the_end(trainer, batches, job)
        return job.finish(model, "pretrain")


def load_teacher(config: DistillConfig, console: Console) -> Teacher:
    """Load the teacher of a distillation with the head that its terms need.

    The head of a task, which no term needs, is left out, and that is said.

    Raises:
        UserError: it cannot be loaded, or has not the head.
    """
    path, loss = config.teacher, config.loss
    written = written_task(path)
    if written in (None, "masked_lm"):
        if loss.embedding_weight and written:
            raise UserError(
                f"{path}: predicts words and gives no vectors of texts, which "
                "loss.embedding_weight needs; give a sentence encoder"
            )
        return load_task_model(path, "embedding") if loss.embedding_weight else load_model(path)
    term = next((term for term in PREDICTING if getattr(loss, f"{term}_weight")), None)
    if term:
        raise UserError(f"{path}: {lacks_head(term)}")
    if written == "embedding" or loss.embedding_weight:
        return load_task_model(path, "embedding")
    if written != "encoder":
        say(console, f"{path}: its head, for {written.replace('_', ' ')}, is left out")
    return load_task_model(path, "encoder")


def _teacher_vectors(
    teacher: Teacher, path: str, records: Records, held_out: Records | None, job: Job
) -> Vectors:
    assert isinstance(teacher, SentenceEncoder)  # others have no vectors to compare
    train, *others = (
        teacher_vectors(teacher, path, each, job) for each in (records, held_out) if each
    )
    return train, others[0] if others else None


def _load_records(
    job: Job, data: DataConfig, tokenizer: Tokenizer | None
) -> tuple[Records, Records | None]:
    assert tokenizer is not None  # `load_model` gives its models one
    folder = job.run.data
    return job.load(lambda progress: load_records(data, tokenizer, folder, progress=progress))


def _check_rows(model: Teacher, data: DataConfig, of: str = "") -> None:
    """See that a model takes rows as the data has them; `of` says which model does not."""
    try:
        model.check_length(data.sequence_length)
        if data.packing:
            model.check_packing()
    except UserError as error:
        raise UserError(f"{of}{error}") from None


def _start_from_frequencies(model: MaskedLanguageModel, records: Records) -> None:
    """Let an untrained head predict words by frequency, which it would learn first anyway."""
    counts = records.token_counts + 1.0
    model.head.output_bias.assign(np.log(counts / counts.sum()))
