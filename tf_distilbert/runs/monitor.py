"""What happens between the steps of a run: progress, log, validation, checkpoints, signals."""

import math
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import keras
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as ProgressBar

from tf_distilbert.console.lines import duration, say
from tf_distilbert.errors import Interrupted, NotFiniteError, UserError
from tf_distilbert.runs.checkpoints import Checkpoints, Progress
from tf_distilbert.runs.logs import DamageLog, RunLog
from tf_distilbert.training.optimizer import WarmupThenDecay
from tf_distilbert.training.update import updating

_EARLY_STEPS = 10
"""After so many steps a console that is no terminal hears of the run for the first time."""


class Interruption:
    """Notes the first SIGTERM or SIGINT while it is entered; a second one acts at once.

    Attributes:
        number: of the signal that came; None if none did.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # others cannot set handlers
            for number in (signal.SIGTERM, signal.SIGINT):
                self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self.__exit__()


class Monitor(keras.callbacks.Callback):
    """Watches over a run; see the module.

    Args:
        log: where metrics are written.
        damage: where sequences that could not be read are noted.
        checkpoints: where the run is saved.
        console: where progress is shown.
        progress: how far the run is.
        schedule: learning rate by the number of steps made.
        total_steps: how many there are in all.
        log_every, validate_every, checkpoint_every: in steps.
        validate: gives the held-out metrics, if there is held-out text; called with callbacks for
            the evaluation. They are measured before the first step, too.
        max_skipped_updates: after so many in a row the run ends.
        write_batch: is told of a step whose update was not finite, to write down its batch.
        interruption: asks the run to stop.
        alone: whether no other workers have to agree on that.
    """

    def __init__(
        self,
        log: RunLog,
        damage: DamageLog,
        checkpoints: Checkpoints,
        console: Console,
        progress: Progress,
        *,
        schedule: WarmupThenDecay,
        total_steps: int,
        log_every: int,
        validate_every: int,
        checkpoint_every: int,
        validate: Callable[[list[keras.callbacks.Callback]], dict[str, float]] | None,
        max_skipped_updates: int,
        write_batch: Callable[[int], None],
        interruption: Interruption,
        alone: bool,
    ) -> None:
        super().__init__()
        self.log, self.damage, self.checkpoints, self.console = log, damage, checkpoints, console
        self.progress = progress
        self.first_step, self.total_steps = progress.step, total_steps
        self.log_every, self.validate_every = log_every, validate_every
        self.checkpoint_every = checkpoint_every
        self.held_out_metrics = validate
        self.schedule = schedule
        self.max_skipped_updates, self.write_batch = max_skipped_updates, write_batch
        self.interruption, self.alone = interruption, alone
        self.held_out_loss = 0.0
        self.skipped_updates = 0  # of the log's window
        self.clock: tuple[int, float] | None = None  # a step, and when it was made

    def __enter__(self) -> "Monitor":
        self.bar = ProgressBar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  {task.fields[rate]} tokens/s"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        step = self.progress.step
        self.task = self.bar.add_task(
            "training", total=self.total_steps, completed=step, loss="-", rate="-"
        )
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()  # after an error, too: it has hidden the cursor

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure where a new run starts from; bring back what Keras has just reset."""
        starts = self.progress.step == 0
        if self.held_out_metrics and (starts or self.progress.validation_due):
            self.validate()
            if self._is_interrupted():
                self.stop()
        if not starts:
            self.checkpoints.restore_metrics()
        self.skipped_updates = self.model.skipped_updates

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Tell the other workers that this one was asked to stop."""
        if self.interruption.number and not self.alone:
            self.model.request_stop()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """Report, validate and save when it is time; stop when asked to."""
        before, step = self.progress.step, self.first_step + batch + 1
        self.progress.step = step
        signals = {name: float(value) for name, value in self.model.signals.items()}
        skipped = round(signals["skipped_in_a_row"])
        all_stop = signals["stop_requested"] > 0 and step < self.total_steps
        in_all = round(float(logs["skipped_updates"]))
        if in_all > self.skipped_updates:
            for suspect in range(before + 1, step + 1):  # several, if made in one execution
                self.write_down(suspect)
        self.skipped_updates = in_all
        # One bad batch at the very end is no reason to throw the run away; several are.
        if skipped >= (2 if step == self.total_steps else self.max_skipped_updates):
            self.end_as_not_finite(skipped)
        validates = bool(self.held_out_metrics) and self._is_due(self.validate_every)
        due = validates or self._is_due(self.log_every)  # validating starts new means
        self.show(before, logs, due)
        if due:
            self.report({name: float(value) for name, value in logs.items()})
        self.progress.validation_due = validates
        improved = validates and not all_stop and self.validate()
        if step == self.total_steps and not math.isfinite(self.held_out_loss):
            self.end_as_not_finite(skipped)
        stops = all_stop or self._is_interrupted()
        # Weights that make no finite loss may be spoilt: they push no good checkpoint out.
        if (improved or stops or self._is_due(self.checkpoint_every)) and not skipped:
            self.save()
        if stops:
            self.stop()

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Break an evaluation off that a signal came into: it can be made again."""
        if self._is_interrupted():
            self.model.stop_evaluating = True

    def show(self, before: int, logs: dict[str, Any], due: bool) -> None:
        """Show how far the run is: in the bar after every step, else at reports and once before."""
        step, skipped = self.progress.step, not logs["tokens_per_second"]
        loss = "- (updates skipped)" if skipped else f"{float(logs['loss']):.4f}"
        rate = f"{logs['tokens_per_second']:,.0f}"
        self.bar.update(self.task, completed=step, loss=loss, rate=rate)
        now = time.monotonic()
        self.clock = self.clock or (step, now)  # the first step compiles, and says nothing
        early = before < self.first_step + _EARLY_STEPS <= step
        if self.console.is_terminal or not (due or early):
            return
        since, start = self.clock
        seconds = (now - start) / max(1, step - since) * (self.total_steps - step)
        left = f"  {duration(seconds)} left" if since < step < self.total_steps else ""
        say(self.console, f"step {step}/{self.total_steps}  loss {loss}  {rate} tokens/s{left}")

    def report(self, metrics: dict[str, float]) -> None:
        """Write the means since the last report, then start new ones."""
        step = self.progress.step
        if not metrics["tokens_per_second"]:  # each update was skipped: these are means of nothing
            metrics = {"skipped_updates": metrics["skipped_updates"]}
        metrics["learning_rate"] = float(self.schedule(step - 1))
        metrics["skipped_sequences"] = self.note_damage()
        self.log.write(step, "train", metrics)
        self._start_new_means()

    def validate(self) -> bool:
        """Compute the held-out metrics; tell whether the loss was never as low."""
        assert self.held_out_metrics is not None
        self.model.settle()
        with updating(self.model.optimizer).averages_in_place():
            metrics = self.held_out_metrics([self])
        self._start_new_means()
        if self._is_interrupted():
            return False
        progress, self.held_out_loss = self.progress, metrics["loss"]
        progress.validation_due = False
        self.log.write(progress.step, "validation", metrics)
        shown = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        say(self.console, f"step {progress.step}  held out: {shown}")
        if progress.best_loss is not None and not metrics["loss"] < progress.best_loss:
            return False
        progress.best_step, progress.best_loss = progress.step, metrics["loss"]
        return True

    def stop(self) -> None:
        """End the run before its last step, because a signal came here or to another worker."""
        saved = self.checkpoints.saved()
        where = f"{saved[-1]} is saved" if saved else "nothing is saved"
        raise Interrupted(
            f"stopped after step {self.progress.step} of {self.total_steps}; {where}",
            self.interruption.number or signal.SIGTERM,
        )

    def save(self) -> None:
        """Write a checkpoint; if that fails, say so and go on with the old ones."""
        try:
            self.checkpoints.save(self.progress)
        except UserError as error:
            say(self.console, f"step {self.progress.step}: no checkpoint: {error}")

    def note_damage(self) -> int:
        """Write down the sequences that could not be read, if there is room, and count them."""
        try:
            return self.damage.note()
        except UserError as error:
            say(self.console, f"step {self.progress.step}: {error}")
            return self.damage.count

    def write_down(self, step: int) -> None:
        """Write down the batch of an update that was skipped, if there is room for it."""
        try:
            self.write_batch(step)
        except UserError as error:
            say(self.console, f"step {step}: not finite: {error}")

    def end_as_not_finite(self, in_a_row: int) -> None:
        """End the run before a spoilt model is saved."""
        first = self.progress.step - in_a_row + 1
        # The loss was made by the weights after the step before. Saved there, they are no good:
        # whatever batch comes, the loss is not finite.
        self.checkpoints.discard_from(first - 1)
        saved = self.checkpoints.saved()
        remedy = "lower train.learning_rate or train.clip_norm"
        if saved:
            end = f"the last good checkpoint is {saved[-1]}; {remedy} and go on with --resume"
        else:
            end = f"there is no good checkpoint; {remedy} and start again with --overwrite"
        updates = f"{in_a_row} updates in a row were skipped; " if in_a_row > 1 else ""
        raise NotFiniteError(
            f"the loss or its gradient is not finite at step {first}; {updates}{end}"
        )

    def _start_new_means(self) -> None:
        self.model.start_new_means()
        self.skipped_updates = 0

    def _is_interrupted(self) -> bool:
        # Several workers stop after the same step, when all know of it.
        # What is left after the last step is no training: it is finished.
        at_work = self.progress.step < self.total_steps
        return self.alone and at_work and self.interruption.number is not None

    def _is_due(self, every: int) -> bool:
        return self.progress.step % every == 0 or self.progress.step == self.total_steps
