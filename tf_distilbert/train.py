"""The two jobs that make a model: distil a student from a teacher, pretrain a teacher.

Both read as the same story: open the run, load what is learnt from, build what learns, train,
save. A run that was stopped goes on by itself: the data is a function of the step's number, and
a checkpoint holds all the rest.
"""

import json
import math
import signal
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console

from tf_distilbert import runtime
from tf_distilbert.architecture import Architecture
from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.checkpoints import Checkpoints
from tf_distilbert.config import DistillConfig, PretrainConfig, TrainConfig, resolve_steps
from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.data.pipeline import (
    distributed_dataset,
    evaluation_dataset,
    masked_lm_dataset,
    reveal_user_errors,
    visiting_order,
)
from tf_distilbert.data.records import Records
from tf_distilbert.data.row_packing import PackedRecords
from tf_distilbert.distiller import Distiller
from tf_distilbert.errors import Interrupted, UserError, explain_write_errors
from tf_distilbert.interruption import Interruption
from tf_distilbert.logs import RunLog, read_log
from tf_distilbert.masked_language_model import MaskedLanguageModel
from tf_distilbert.model_folder import load_model, save_model
from tf_distilbert.monitor import Monitor
from tf_distilbert.optimization import AdamW, WarmupThenDecay
from tf_distilbert.pretrainer import MaskedLMPretrainer
from tf_distilbert.provenance import write_provenance
from tf_distilbert.run_data import load_data, load_or_learn_vocabulary
from tf_distilbert.run_directory import RunDirectory
from tf_distilbert.strategy import (
    chief_first,
    explain_lost_workers,
    is_chief,
    make_strategy,
    num_workers,
    sum_over_workers,
)
from tf_distilbert.student import build_student
from tf_distilbert.tokenization.tokenizer import Tokenizer
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
        Interrupted: a signal came; everything is saved.
    """
    strategy, console, run = _open(config, console)
    with explain_lost_workers(strategy):
        with strategy.scope():
            teacher = load_model(config.teacher)
            teacher.check_length(config.data.sequence_length)
            if config.data.packing:
                teacher.check_packing()
            student = build_student(teacher, **asdict(config.student))
            distiller = Distiller(
                teacher, student, **_splitting(config.train, strategy), **asdict(config.loss)
            )
        del teacher  # the distiller may hold it in fewer bytes
        records, held_out = _load_data(config, student.tokenizer, run, strategy)
        _train(distiller, records, held_out, config, run, console)
        return _finish(student, config, run, strategy, console)


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
        Interrupted: a signal came; everything is saved.
    """
    strategy, console, run = _open(config, console)
    with explain_lost_workers(strategy):
        tokenizer = chief_first(strategy, lambda: load_or_learn_vocabulary(config.data, run.data))
        records, held_out = _load_data(config, tokenizer, run, strategy)
        architecture = Architecture(len(tokenizer.vocabulary), **asdict(config.model))
        with strategy.scope():
            model = MaskedLanguageModel(architecture, tokenizer)
            _start_from_frequencies(model, records)
            trainer = MaskedLMPretrainer(model, **_splitting(config.train, strategy))
        _train(trainer, records, held_out, config, run, console)
        return _finish(model, config, run, strategy, console)


def _open(
    config: DistillConfig | PretrainConfig, console: Console | None
) -> tuple[tf.distribute.Strategy, Console, RunDirectory]:
    """Connect the devices, before anything is computed, and see whether the run may start."""
    strategy = make_strategy(config.train.strategy)
    console = console or Console(stderr=True)
    if not is_chief(strategy):
        console = Console(quiet=True)
    run = RunDirectory(config.output)
    run.check(config)
    runtime.set_precision_and_seed(config.train.precision, config.train.seed)
    return strategy, console, run


def _splitting(config: TrainConfig, strategy: tf.distribute.Strategy) -> dict[str, int]:
    micro_batches = config.micro_batches(strategy.num_replicas_in_sync)
    return {"micro_batches": micro_batches, "seed": config.seed % 2**31}


def _load_data(
    config: DistillConfig | PretrainConfig,
    tokenizer: Tokenizer,
    run: RunDirectory,
    strategy: tf.distribute.Strategy,
) -> tuple[Records, Records | None]:
    """Load or prepare the data, then begin to write the run."""
    chief = is_chief(strategy)

    def load() -> tuple[Records, Records | None]:
        records = load_data(config.data, tokenizer, run.data, progress=chief)
        if chief:
            run.create(config)
        return records

    return chief_first(strategy, load)


def _train(
    trainer: MaskedMeanTrainer,
    records: Records,
    held_out: Records | None,
    config: DistillConfig | PretrainConfig,
    run: RunDirectory,
    console: Console,
) -> None:
    """Train from the newest checkpoint, or from the start, to the last step."""
    train, strategy = config.train, trainer.distribute_strategy
    chief = is_chief(strategy)
    masker = TokenMasker.for_records(records, seed=train.seed, **asdict(config.data.masking))
    if config.data.packing:
        records = PackedRecords(records)
    total_steps = resolve_steps(train, records.num_sequences, records.num_tokens)
    schedule = WarmupThenDecay(
        train.learning_rate, math.ceil(train.warmup_share * total_steps), total_steps
    )
    trainer.compile(
        _optimizer(train, schedule),
        jit_compile=_jit_compile(train),
        steps_per_execution=train.steps_per_execution,
    )
    checkpoints = Checkpoints(
        run.checkpoints,
        trainer,
        data=records.identity,
        batch_size=train.global_batch_size,
        keep=train.keep_checkpoints,
        read_only=not chief,
    )
    progress = checkpoints.restore(warn=partial(console.print, markup=False, soft_wrap=True))
    _check_same_step(strategy, progress.step, run)
    first_step, steps_left = progress.step, total_steps - progress.step
    _announce(console, strategy, train, records, total_steps, steps_left)
    if steps_left <= 0:
        return
    make_stream = partial(
        masked_lm_dataset,
        records,
        masker,
        train.global_batch_size,
        seed=train.seed,
        first_step=first_step,
        num_steps=steps_left,
    )
    stream = distributed_dataset(strategy, lambda n, parts: make_stream(num_parts=n, parts=parts))
    log = RunLog(run.path, first_step, partial(console.print, markup=False), read_only=not chief)
    monitor = Monitor(
        log,
        checkpoints,
        console,
        progress,
        schedule=schedule,
        total_steps=total_steps,
        log_every=train.log_every,
        validate_every=train.validate_every,
        checkpoint_every=train.checkpoint_every,
        validate=_validation(trainer, held_out, train),
        max_skipped_updates=train.max_skipped_updates,
        write_batch=partial(_write_batch, run, records, train) if chief else lambda step: None,
        interruption=(interruption := Interruption()),
        alone=num_workers(strategy) == 1,
    )
    # One long Keras epoch: the monitor counts steps, the stream counts passes over the data.
    with interruption, log, monitor, reveal_user_errors():
        trainer.fit(stream, steps_per_epoch=steps_left, verbose=0, callbacks=[monitor])
    if monitor.stopped:
        saved = checkpoints.saved()
        where = f"{saved[-1]} is saved" if saved else "nothing could be saved"
        raise Interrupted(
            f"stopped after step {progress.step} of {total_steps}; {where}",
            interruption.number or signal.SIGTERM,
        )


def _check_same_step(strategy: tf.distribute.Strategy, step: int, run: RunDirectory) -> None:
    workers = num_workers(strategy)
    if sum_over_workers(strategy, step) != step * workers:
        raise UserError(
            f"{run.checkpoints}: the {workers} workers find different checkpoints there; the "
            "output must be in a folder that all of them see"
        )


def _announce(
    console: Console,
    strategy: tf.distribute.Strategy,
    train: TrainConfig,
    records: Records | PackedRecords,
    total_steps: int,
    steps_left: int,
) -> None:
    tokens = train.global_batch_size * records.num_tokens / records.num_sequences
    replicas = strategy.num_replicas_in_sync
    devices = f" on {replicas} devices" if replicas > 1 else ""
    console.print(
        f"{steps_left:,} of {total_steps:,} steps of {train.global_batch_size} sequences, about "
        f"{tokens:,.0f} tokens each, in {keras.config.dtype_policy().name}{devices}"
    )


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


def _validation(
    trainer: MaskedMeanTrainer, held_out: Records | None, config: TrainConfig
) -> Callable[[list[keras.callbacks.Callback]], dict[str, float]] | None:
    """Give what measures the held-out text, if there is any."""
    if held_out is None:
        return None
    strategy = trainer.distribute_strategy
    batch_size = config.validation_batch_size * strategy.num_replicas_in_sync
    # Masked as an evaluation masks, whatever training does: figures of all runs compare.
    make = partial(evaluation_dataset, held_out, TokenMasker.for_records(held_out), batch_size)
    batches = distributed_dataset(strategy, lambda n, parts: make(num_parts=n, parts=parts))
    steps = -(-len(held_out) // batch_size)
    return lambda callbacks: trainer.evaluate(
        batches, steps=steps, callbacks=callbacks, verbose=0, return_dict=True
    )


def _write_batch(
    run: RunDirectory, records: Records | PackedRecords, config: TrainConfig, step: int
) -> None:
    """Write down what the batch of a step was made of, for replay."""
    first = (step - 1) * config.global_batch_size
    places = tf.range(first, first + config.global_batch_size, dtype=tf.int64)
    epochs, indices = visiting_order(places, len(records), config.seed)
    batch = {"step": step, "epochs": epochs.numpy().tolist(), "indices": indices.numpy().tolist()}
    with explain_write_errors(run.not_finite):
        run.not_finite.mkdir(exist_ok=True)
    write_atomically(run.not_finite / f"step-{step:08d}.json", json.dumps(batch).encode())


def _finish(
    model: MaskedLanguageModel,
    config: DistillConfig | PretrainConfig,
    run: RunDirectory,
    strategy: tf.distribute.Strategy,
    console: Console,
) -> Path:
    def save() -> None:
        if is_chief(strategy):
            save_model(model, run.model, overwrite=True)
            verb = "distill" if isinstance(config, DistillConfig) else "pretrain"
            validations = read_log(run.path, "validation")
            last = validations[-1] if validations else None
            write_provenance(run.model, verb, asdict(config), last)

    chief_first(strategy, save)
    skipped = round(sum(report.get("skipped_updates", 0) for report in read_log(run.path, "train")))
    if skipped:
        console.print(f"{skipped} updates were not finite and were skipped; see {run.not_finite}")
    console.print(f"the model is in {run.model}")
    return run.model


def _start_from_frequencies(model: MaskedLanguageModel, records: Records) -> None:
    """Let the untrained model predict words by frequency, which it would learn first anyway."""
    counts = records.token_counts + 1.0
    model.head.output_bias.assign(np.log(counts / counts.sum()))
