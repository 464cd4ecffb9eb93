"""The two jobs that make a model: distil a student from a teacher, pretrain a teacher.

Both read as the same story: open the run, load what is learnt from, build what learns, train,
save. A run that was stopped goes on by itself: the data is a function of the step's number, and
a checkpoint holds all the rest.
"""

import math
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
from rich.console import Console

from tf_distilbert import runtime
from tf_distilbert.architecture import Architecture
from tf_distilbert.checkpoints import Checkpoints
from tf_distilbert.config import (
    DistillConfig,
    PretrainConfig,
    TrainConfig,
    resolve_steps,
)
from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.data.pipeline import (
    evaluation_dataset,
    masked_lm_dataset,
    reveal_user_errors,
)
from tf_distilbert.data.records import Records
from tf_distilbert.data.row_packing import PackedRecords
from tf_distilbert.distiller import Distiller
from tf_distilbert.logs import RunLog, read_log
from tf_distilbert.masked_language_model import MaskedLanguageModel
from tf_distilbert.model_folder import load_model, save_model
from tf_distilbert.monitor import Monitor
from tf_distilbert.optimization import AdamW, WarmupThenDecay
from tf_distilbert.pretrainer import MaskedLMPretrainer
from tf_distilbert.provenance import write_provenance
from tf_distilbert.run_data import load_data, load_or_learn_vocabulary
from tf_distilbert.run_directory import RunDirectory
from tf_distilbert.student import build_student
from tf_distilbert.trainer import MaskedMeanTrainer


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
    """
    console = console or Console(stderr=True)
    run = RunDirectory(config.output)
    run.check(config)
    runtime.set_precision_and_seed(config.train.precision, config.train.seed)
    teacher = load_model(config.teacher)
    teacher.check_length(config.data.sequence_length)
    if config.data.packing:
        teacher.check_packing()
    student = build_student(teacher, **asdict(config.student))
    distiller = Distiller(
        teacher, student, micro_batches=config.train.micro_batches, **asdict(config.loss)
    )
    del teacher  # the distiller may hold it in fewer bytes
    records, held_out = load_data(config.data, student.tokenizer, run.data)
    run.create(config)
    _train(distiller, records, held_out, config, run, console)
    return _finish(student, config, run, console)


@runtime.kept_precision()
def pretrain(config: PretrainConfig, console: Console | None = None) -> Path:
    """Train a BERT from scratch by masked language modelling alone.

    Args:
        config: everything; see `load_config`.
        console: where progress is shown, by default stderr.

    Returns:
        The folder of the finished model.

    Raises:
        UserError: text, settings or output are at fault; or the loss is not finite.
    """
    console = console or Console(stderr=True)
    run = RunDirectory(config.output)
    run.check(config)
    runtime.set_precision_and_seed(config.train.precision, config.train.seed)
    tokenizer = load_or_learn_vocabulary(config.data, run.data)
    records, held_out = load_data(config.data, tokenizer, run.data)
    architecture = Architecture(len(tokenizer.vocabulary), **asdict(config.model))
    model = MaskedLanguageModel(architecture, tokenizer)
    _start_from_frequencies(model, records)
    run.create(config)
    trainer = MaskedLMPretrainer(model, micro_batches=config.train.micro_batches)
    _train(trainer, records, held_out, config, run, console)
    return _finish(model, config, run, console)


def _train(
    trainer: MaskedMeanTrainer,
    records: Records,
    held_out: Records | None,
    config: DistillConfig | PretrainConfig,
    run: RunDirectory,
    console: Console,
) -> None:
    """Train from the newest checkpoint, or from the start, to the last step."""
    train = config.train
    masker = TokenMasker.for_records(records, seed=train.seed, **asdict(config.data.masking))
    if config.data.packing:
        records = PackedRecords(records)
    total_steps = resolve_steps(train, records.num_sequences, records.num_tokens)
    schedule = WarmupThenDecay(
        train.learning_rate, math.ceil(train.warmup_share * total_steps), total_steps
    )
    trainer.compile(_optimizer(train, schedule), jit_compile=_jit_compile(train))
    checkpoints = Checkpoints(run.checkpoints, trainer, records.identity, train.keep_checkpoints)
    first_step = checkpoints.restore()
    batch_tokens = train.global_batch_size * records.num_tokens / records.num_sequences
    console.print(
        f"{total_steps - first_step:,} of {total_steps:,} steps of {train.global_batch_size} "
        f"sequences, about {batch_tokens:,.0f} tokens each, in {keras.config.dtype_policy().name}"
    )
    if first_step >= total_steps:
        return
    stream = masked_lm_dataset(
        records,
        masker,
        train.global_batch_size,
        seed=train.seed,
        first_step=first_step,
        num_steps=total_steps - first_step,
    )
    log = RunLog(run.path, first_step)
    monitor = Monitor(
        log,
        checkpoints,
        console,
        schedule=schedule,
        first_step=first_step,
        total_steps=total_steps,
        log_every=train.log_every,
        validate_every=train.validate_every,
        checkpoint_every=train.checkpoint_every,
        validation=_validation(held_out, train),
    )
    # One long Keras epoch: the monitor counts updates, the stream counts passes over the data.
    with log, monitor, reveal_user_errors():
        trainer.fit(stream, verbose=0, callbacks=[monitor])


def _optimizer(config: TrainConfig, schedule: WarmupThenDecay) -> AdamW:
    return AdamW(
        schedule,
        beta_1=config.beta_1,
        beta_2=config.beta_2,
        epsilon=config.epsilon,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
    )


def _jit_compile(config: TrainConfig) -> bool | str:
    return "auto" if config.jit_compile is None else config.jit_compile


def _validation(held_out: Records | None, config: TrainConfig) -> object:
    if held_out is None:
        return None
    # Masked as an evaluation masks, whatever training does: figures of all runs compare.
    return evaluation_dataset(
        held_out, TokenMasker.for_records(held_out), config.validation_batch_size
    )


def _finish(
    model: MaskedLanguageModel,
    config: DistillConfig | PretrainConfig,
    run: RunDirectory,
    console: Console,
) -> Path:
    save_model(model, run.model, overwrite=True)
    verb = "distill" if isinstance(config, DistillConfig) else "pretrain"
    validations = read_log(run.path, "validation")
    write_provenance(run.model, verb, asdict(config), validations[-1] if validations else None)
    console.print(f"the model is in {run.model}")
    return run.model


def _start_from_frequencies(model: MaskedLanguageModel, records: Records) -> None:
    """Let the untrained model predict words by frequency, which it would learn first anyway."""
    counts = records.token_counts + 1.0
    model.head.output_bias.assign(np.log(counts / counts.sum()))
