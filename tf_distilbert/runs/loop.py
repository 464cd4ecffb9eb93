"""The loop of a run: from its newest checkpoint, or from the start, to the last step.

The data is a function of the step's number, and a checkpoint holds all the rest; so a run that was
stopped, wherever and however often, ends as if it had not been.
"""

import json
import math
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import keras

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.config.training import TrainConfig
from tf_distilbert.console.lines import say
from tf_distilbert.errors import Interrupted, UserError, explain_write_errors
from tf_distilbert.runs.batches import TrainingBatches
from tf_distilbert.runs.checkpoints import Checkpoints
from tf_distilbert.runs.directory import RunDirectory
from tf_distilbert.runs.job import Job
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


def train_to_the_end(trainer: MaskedMeanTrainer, batches: TrainingBatches, job: Job) -> None:
    """Train from the newest checkpoint, or from the start, to the last step.

    Args:
        trainer: what is trained; compiled here.
        batches: what it learns from.
        job: how, and where it is written and shown.

    Raises:
        UserError: the loss is not finite, data or checkpoints are at fault, or the run has more
            steps already than it is to have.
        Interrupted: a signal came; everything is saved.
    """
    config, run, console, strategy = job.config.train, job.run, job.console, trainer.strategy
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
    warn = partial(say, console)
    progress = checkpoints.restore(warn)
    _check_same_step(strategy, progress.step, run)
    steps_left = batches.total_steps - progress.step
    new_length = _describe_new_length(run, batches, config, progress.step)
    _announce(job, batches, steps_left)
    if new_length:
        warn(new_length)
    if chief and run.before:
        run.write_config(job.config)
    if steps_left <= 0:  # `fit` ends with that, too: what is saved may be an average
        trainer.optimizer.finalize_variable_values(trainer.trainable_variables)
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
    with interruption, log, monitor, ExitStack() as stack:
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
    _report_losses(run, damage, warn)


def _schedule(config: TrainConfig, total_steps: int) -> WarmupThenDecay:
    warmup_steps = math.ceil(config.warmup_share * total_steps)
    return WarmupThenDecay(config.learning_rate, warmup_steps, total_steps)


def _compile(trainer: MaskedMeanTrainer, config: TrainConfig, total_steps: int) -> WarmupThenDecay:
    """Give the trainer its optimizer; the learning rate follows what is returned."""
    schedule = _schedule(config, total_steps)
    with trainer.scope():
        optimizer = AdamW(
            schedule,
            beta_1=config.beta_1,
            beta_2=config.beta_2,
            epsilon=config.epsilon,
            weight_decay=config.weight_decay,
            clip_norm=config.clip_norm,
            use_ema=config.ema_momentum is not None,
            ema_momentum=config.ema_momentum or 0.0,
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


def _describe_new_length(
    run: RunDirectory, batches: TrainingBatches, now: TrainConfig, made: int
) -> str | None:
    """Say what another length means for a run that goes on; None if it has the length it had.

    Raises:
        UserError: it has made more steps than that.
    """
    before, total = run.before, batches.total_steps
    if before is None or not made or _duration(before) == _duration(now):
        return None
    old_total = batches.steps_of(before)
    (old_key, was), (key, is_now) = _duration(before), _duration(now)
    if key != "train.steps":
        is_now = f"{is_now} ({total} steps)"
    if old_key != "train.steps":
        was = f"{was} ({old_total} steps)"
    if total < made:
        raise UserError(
            f"{run.path}: its run has made {made} steps, but {key} is {is_now}; give {made} steps "
            "or more, or choose another output"
        )
    if old_total == total:
        return None
    change = f"{old_key} was {was}, now {'' if key == old_key else f'{key} is '}{is_now}"
    if total == made:
        return f"{change}: all of these steps are made"
    rate, old_rate = (
        float(schedule(made)) for schedule in (_schedule(now, total), _schedule(before, old_total))
    )
    return (
        f"{change}: from step {made + 1} on the learning rate follows the schedule of {total} "
        f"steps ({_number(rate)}, was {_number(old_rate)})"
    )


def _duration(train: TrainConfig) -> tuple[str, str]:
    """Give the key that says how long a run is, and its value."""
    durations = {name: getattr(train, name) for name in ("steps", "epochs", "tokens")}
    return next((f"train.{name}", str(value)) for name, value in durations.items() if value)


def _number(rate: float) -> str:
    return f"{rate:.1e}" if rate else "0.0"


def _announce(job: Job, batches: TrainingBatches, steps_left: int) -> None:
    total, replicas = batches.total_steps, num_replicas(job.strategy)
    if steps_left <= 0:
        say(job.console, f"all {total:,} steps are done; there is nothing to train")
        return
    devices = f" on {replicas} devices" if replicas > 1 else ""
    left = "" if steps_left == total else f"{steps_left:,} of "
    steps = f"{left}{total:,} steps" + " left," * bool(left)
    precision = keras.config.dtype_policy().name
    say(job.console, f"{steps} of {batches.description}, in {precision}{devices}")


def _write_batch(run: RunDirectory, batches: TrainingBatches, step: int) -> None:
    """Write down what the batch of a step was made of, for replay."""
    batch = {"step": step, **batches.describe_batch(step)}
    with explain_write_errors(run.not_finite):
        run.not_finite.mkdir(exist_ok=True)
    write_atomically(run.not_finite / f"step-{step:08d}.json", json.dumps(batch).encode())


def _report_losses(run: RunDirectory, damage: DamageLog, warn: Callable[[str], None]) -> None:
    """Say at the end what the run had to do without."""
    reports = read_log(run.path, "train", warn)
    skipped = round(sum(report.get("skipped_updates", 0) for report in reports))
    if skipped:
        warn(f"{skipped} updates were not finite and were skipped; see {run.not_finite}")
    try:
        summary = damage.summary()
    except UserError as error:  # no reason to lose the model, which is saved next
        summary = str(error)
    if summary:
        warn(summary)
