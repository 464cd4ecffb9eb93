"""The loop of a run: from its newest checkpoint, or from the start, to the last step.

The data is a function of the step's number, and a checkpoint holds all the rest; so a run that was
stopped, wherever and however often, ends as if it had not been.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import keras
import numpy as np
from rich.console import Console

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.checkpoints import Checkpoints
from tf_distilbert.config import DistillConfig, PretrainConfig, TrainConfig, resolve_steps
from tf_distilbert.damage_log import DamageLog
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
from tf_distilbert.errors import UserError, explain_write_errors
from tf_distilbert.interruption import Interruption
from tf_distilbert.logs import RunLog, read_log
from tf_distilbert.monitor import Monitor
from tf_distilbert.optimization import AdamW, WarmupThenDecay
from tf_distilbert.run_directory import RunDirectory
from tf_distilbert.strategy import (
    Strategy,
    is_chief,
    num_replicas,
    num_workers,
    sum_over_workers,
)
from tf_distilbert.trainer import MaskedMeanTrainer


def train_to_the_end(
    trainer: MaskedMeanTrainer,
    records: Records,
    held_out: Records | None,
    config: DistillConfig | PretrainConfig,
    run: RunDirectory,
    console: Console,
) -> None:
    """Train from the newest checkpoint, or from the start, to the last step.

    Args:
        trainer: what is trained; compiled here.
        records, held_out: what it learns from, and what it is measured on, if anything.
        config: of the run.
        run: its directory.
        console: where progress is shown.

    Raises:
        UserError: the loss is not finite, or data or checkpoints are at fault.
        Interrupted: a signal came; everything is saved.
    """
    train, strategy = config.train, trainer.strategy
    chief = is_chief(strategy)
    masker = TokenMasker.for_records(records, seed=train.seed, **asdict(config.data.masking))
    if config.data.packing:
        records = PackedRecords(records)
    total_steps = resolve_steps(train, records.num_sequences, records.num_tokens)
    schedule = _compile(trainer, train, total_steps)
    checkpoints = Checkpoints(
        run.checkpoints,
        trainer,
        data=records.identity,
        batch_size=train.global_batch_size,
        keep=train.keep_checkpoints,
        read_only=not chief,
    )
    warn = partial(console.print, markup=False, soft_wrap=True)
    progress = checkpoints.restore(warn)
    _check_same_step(strategy, progress.step, run)
    steps_left = total_steps - progress.step
    _announce(console, strategy, train, records, total_steps, steps_left)
    if steps_left <= 0:
        return
    make_stream = partial(
        masked_lm_dataset,
        records,
        masker,
        train.global_batch_size,
        seed=train.seed,
        first_step=progress.step,
        num_steps=steps_left,
    )
    stream = distributed_dataset(strategy, lambda n, parts: make_stream(num_parts=n, parts=parts))
    log = RunLog(
        run.path,
        progress.step,
        warn,
        read_only=not chief,
        validates_first=progress.step == 0 or progress.validation_due,
    )
    sources = [records.damaged, *([held_out.damaged] if held_out else [])]
    damage, interruption = DamageLog(run.path, sources, console), Interruption()
    monitor = Monitor(
        log,
        damage,
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
        interruption=interruption,
        alone=num_workers(strategy) == 1,
    )
    # One long Keras epoch: the monitor counts steps, the stream counts passes over the data.
    with interruption, log, monitor, reveal_user_errors():
        trainer.fit(stream, steps_per_epoch=steps_left, verbose=0, callbacks=[monitor])
    _report_losses(run, damage, console)


def _check_same_step(strategy: Strategy, step: int, run: RunDirectory) -> None:
    workers = num_workers(strategy)
    if sum_over_workers(strategy, step) != step * workers:
        raise UserError(
            f"{run.checkpoints}: the {workers} workers find different checkpoints there; the "
            "output must be in a folder that all of them see"
        )


def _report_losses(run: RunDirectory, damage: DamageLog, console: Console) -> None:
    """Say at the end what the run had to do without."""
    skipped = round(sum(report["skipped_updates"] for report in read_log(run.path, "train")))
    if skipped:
        line = f"{skipped} updates were not finite and were skipped; see {run.not_finite}"
        console.print(line, markup=False, soft_wrap=True)
    try:
        summary = damage.summary()
    except UserError as error:  # no reason to lose the model, which is saved next
        summary = str(error)
    if summary:
        console.print(summary, markup=False, soft_wrap=True)


def _announce(
    console: Console,
    strategy: Strategy,
    train: TrainConfig,
    records: Records | PackedRecords,
    total_steps: int,
    steps_left: int,
) -> None:
    tokens = train.global_batch_size * records.num_tokens / records.num_sequences
    replicas = num_replicas(strategy)
    devices = f" on {replicas} devices" if replicas > 1 else ""
    console.print(
        f"{steps_left:,} of {total_steps:,} steps of {train.global_batch_size} sequences, about "
        f"{tokens:,.0f} tokens each, in {keras.config.dtype_policy().name}{devices}"
    )


def _compile(trainer: MaskedMeanTrainer, config: TrainConfig, total_steps: int) -> WarmupThenDecay:
    """Give the trainer its optimizer; the learning rate follows what is returned."""
    warmup_steps = math.ceil(config.warmup_share * total_steps)
    schedule = WarmupThenDecay(config.learning_rate, warmup_steps, total_steps)
    with trainer.scope():
        optimizer = AdamW(
            schedule,
            beta_1=config.beta_1,
            beta_2=config.beta_2,
            epsilon=config.epsilon,
            weight_decay=config.weight_decay,
            clip_norm=config.clip_norm,
        )
        trainer.compile(
            optimizer,
            jit_compile="auto" if config.jit_compile is None else config.jit_compile,
            steps_per_execution=config.steps_per_execution,
        )
    return schedule


def _validation(
    trainer: MaskedMeanTrainer, held_out: Records | None, config: TrainConfig
) -> Callable[[list[keras.callbacks.Callback]], dict[str, float]] | None:
    """Give what measures the held-out text, if there is any."""
    if held_out is None:
        return None
    strategy = trainer.strategy
    batch_size = config.validation_batch_size * num_replicas(strategy)
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
    places = np.arange(first, first + config.global_batch_size)
    epochs, indices = visiting_order(places, len(records), config.seed)
    batch = {"step": step, "epochs": epochs.tolist(), "indices": indices.numpy().tolist()}
    with explain_write_errors(run.not_finite):
        run.not_finite.mkdir(exist_ok=True)
    write_atomically(run.not_finite / f"step-{step:08d}.json", json.dumps(batch).encode())
