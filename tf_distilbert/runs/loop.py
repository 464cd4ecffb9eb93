"""The loop of a run: from its newest checkpoint, or from the start, to the last step.

The data is a function of the step's number, and a checkpoint holds all the rest; so a run that was
stopped, wherever and however often, ends as if it had not been.
"""

import json
import math
from contextlib import ExitStack
from functools import partial

import keras
from rich.console import Console

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.config.training import TrainConfig
from tf_distilbert.data.pipeline import reveal_user_errors
from tf_distilbert.errors import Interrupted, UserError, explain_write_errors
from tf_distilbert.runs.batches import TrainingBatches
from tf_distilbert.runs.checkpoints import Checkpoints
from tf_distilbert.runs.directory import RunDirectory
from tf_distilbert.runs.logs import DamageLog, RunLog, read_log
from tf_distilbert.runs.monitor import Interruption, Monitor
from tf_distilbert.runs.tensorboard import StepProfile, WeightHistograms
from tf_distilbert.training.optimizer import AdamW, WarmupThenDecay
from tf_distilbert.training.strategy import (
    Strategy,
    is_chief,
    num_replicas,
    num_workers,
    sum_over_workers,
)
from tf_distilbert.training.trainer import MaskedMeanTrainer


def train_to_the_end(
    trainer: MaskedMeanTrainer,
    batches: TrainingBatches,
    config: TrainConfig,
    run: RunDirectory,
    console: Console,
) -> None:
    """Train from the newest checkpoint, or from the start, to the last step.

    Args:
        trainer: what is trained; compiled here.
        batches: what it learns from.
        config: how.
        run: the run's directory.
        console: where progress is shown.

    Raises:
        UserError: the loss is not finite, or data or checkpoints are at fault.
        Interrupted: a signal came; everything is saved.
    """
    strategy = trainer.strategy
    chief = is_chief(strategy)
    schedule = _compile(trainer, config, batches.total_steps)
    checkpoints = Checkpoints(
        run.checkpoints,
        trainer,
        data=batches.identity,
        batch_size=batches.batch_size,
        keep=config.keep_checkpoints,
        read_only=not chief,
    )
    warn = partial(console.print, markup=False, soft_wrap=True)
    progress = checkpoints.restore(warn)
    _check_same_step(strategy, progress.step, run)
    steps_left = batches.total_steps - progress.step
    _announce(console, strategy, batches, steps_left)
    if steps_left <= 0:
        return
    log = RunLog(
        run.path,
        progress.step,
        warn,
        read_only=not chief,
        validates_first=progress.step == 0 or progress.validation_due,
    )
    damage, interruption = DamageLog(run.path, batches.damaged, console), Interruption()
    monitor = Monitor(
        log,
        damage,
        checkpoints,
        console,
        progress,
        schedule=schedule,
        total_steps=batches.total_steps,
        log_every=config.log_every,
        validate_every=config.validate_every,
        checkpoint_every=config.checkpoint_every,
        validate=batches.validate,
        max_skipped_updates=config.max_skipped_updates,
        write_batch=partial(_write_batch, run, batches) if chief else lambda step: None,
        interruption=interruption,
        alone=num_workers(strategy) == 1,
    )
    stream = batches.make_stream(progress.step)
    # One long Keras epoch: the monitor counts steps, the stream counts passes over the data.
    with interruption, log, monitor, ExitStack() as stack, reveal_user_errors():
        callbacks: list[keras.callbacks.Callback] = [monitor]
        if chief and config.histogram_every:
            every = config.histogram_every
            callbacks.insert(0, WeightHistograms(log, every, progress.step, batches.total_steps))
        if chief and config.profile_steps:
            first, last = config.profile_steps
            profile = StepProfile(run.tensorboard, (first, last), progress.step)
            callbacks.insert(0, stack.enter_context(profile))
        try:
            trainer.fit(stream, steps_per_epoch=steps_left, verbose=0, callbacks=callbacks)
        except Interrupted:
            # No worker leaves while the chief still saves: its end could be the chief's.
            sum_over_workers(strategy, 0.0)
            raise
    _report_losses(run, damage, console)


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


def _check_same_step(strategy: Strategy, step: int, run: RunDirectory) -> None:
    workers = num_workers(strategy)
    if sum_over_workers(strategy, step) != step * workers:
        raise UserError(
            f"{run.checkpoints}: the {workers} workers find different checkpoints there; the "
            "output must be in a folder that all of them see"
        )


def _announce(
    console: Console, strategy: Strategy, batches: TrainingBatches, steps_left: int
) -> None:
    replicas = num_replicas(strategy)
    devices = f" on {replicas} devices" if replicas > 1 else ""
    console.print(
        f"{steps_left:,} of {batches.total_steps:,} steps of {batches.description}, in "
        f"{keras.config.dtype_policy().name}{devices}"
    )


def _write_batch(run: RunDirectory, batches: TrainingBatches, step: int) -> None:
    """Write down what the batch of a step was made of, for replay."""
    batch = {"step": step, **batches.describe_batch(step)}
    with explain_write_errors(run.not_finite):
        run.not_finite.mkdir(exist_ok=True)
    write_atomically(run.not_finite / f"step-{step:08d}.json", json.dumps(batch).encode())


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
