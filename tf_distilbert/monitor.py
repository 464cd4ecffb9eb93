"""What happens between the steps of a run: progress bar, log, validation, checkpoints, alarm."""

import math
from typing import Any

import keras
import tensorflow as tf
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tf_distilbert.checkpoints import Checkpoints
from tf_distilbert.errors import UserError
from tf_distilbert.logs import RunLog


class Monitor(keras.callbacks.Callback):
    """Watches over a run; see the module.

    Args:
        log: where figures are written.
        checkpoints: where the run is saved.
        console: where progress is shown.
        first_step, total_steps: updates made before, and in all.
        log_every, validate_every, checkpoint_every: in updates.
        validation: held-out batches, if any.
        best: best held-out loss so far.
    """

    def __init__(
        self,
        log: RunLog,
        checkpoints: Checkpoints,
        console: Console,
        *,
        first_step: int,
        total_steps: int,
        log_every: int,
        validate_every: int,
        checkpoint_every: int,
        validation: tf.data.Dataset | None,
        best: float | None,
    ) -> None:
        super().__init__()
        self.log, self.checkpoints, self.console = log, checkpoints, console
        self.step, self.total_steps = first_step, total_steps
        self.log_every, self.validate_every = log_every, validate_every
        self.checkpoint_every = checkpoint_every
        self.validation = validation
        self.best = best

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Show the progress bar."""
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  {task.fields[rate]} tokens/s"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.progress.add_task(
            "training", total=self.total_steps, completed=self.step, loss="-", rate="-"
        )
        self.progress.start()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Report, validate and save when it is time."""
        self.step += 1
        last = self.step == self.total_steps
        if not math.isfinite(logs["loss"]) or not math.isfinite(logs["gradient_norm"]):
            self.stop_on_non_finite_loss()
        if last or self.step % self.log_every == 0:
            self.report({name: float(value) for name, value in logs.items()})
        self.progress.update(self.task, completed=self.step)
        if self.validation and (last or self.step % self.validate_every == 0):
            self.validate()
        if last or self.step % self.checkpoint_every == 0:
            self.checkpoints.save(self.step, {"best_validation_loss": self.best})

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leave the terminal as it was."""
        self.progress.stop()

    def report(self, figures: dict[str, float]) -> None:
        """Write the means since the last report, then start new ones."""
        figures["learning_rate"] = float(self.model.optimizer.learning_rate)
        self.log.write(self.step, "train", figures)
        self.progress.update(
            self.task, loss=f"{figures['loss']:.3f}", rate=f"{figures['tokens_per_second']:,.0f}"
        )
        if not self.console.is_terminal:
            self.console.print(
                f"step {self.step}/{self.total_steps}  loss {figures['loss']:.4f}  "
                f"{figures['tokens_per_second']:,.0f} tokens/s"
            )
        self.model.reset_metrics()

    def validate(self) -> None:
        """Compute the held-out figures."""
        figures = self.model.evaluate(self.validation, verbose=0, return_dict=True)
        for name in ("tokens", "gradient_norm"):
            figures.pop(name, None)
        self.log.write(self.step, "validation", figures)
        self.best = min(figures["loss"], self.best if self.best is not None else math.inf)
        shown = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
        self.console.print(f"step {self.step}  held out: {shown}", highlight=False)
        self.model.reset_metrics()

    def stop_on_non_finite_loss(self) -> None:
        """End the run before a spoilt model is saved."""
        # The loss was made by the weights after the step before: saved there, they may be spoilt.
        if len(self.checkpoints.saved()) > 1:
            self.checkpoints.discard(self.step - 1)
        saved = self.checkpoints.saved()
        kept = f"the last good checkpoint is {saved[-1]}" if saved else "there is no checkpoint yet"
        raise UserError(
            f"the loss is not finite at step {self.step}; {kept}; "
            "lower train.learning_rate or train.clip_norm and resume"
        )
