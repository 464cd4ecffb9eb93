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
from tf_distilbert.optimization import WarmupThenDecay


class Monitor(keras.callbacks.Callback):
    """Watches over a run; see the module.

    Args:
        log: where figures are written.
        checkpoints: where the run is saved.
        console: where progress is shown.
        schedule: learning rate by the number of updates made.
        first_step, total_steps: updates made before, and in all.
        log_every, validate_every, checkpoint_every: in updates.
        validation: held-out batches, if any; their figures come before the first update, too.
    """

    def __init__(
        self,
        log: RunLog,
        checkpoints: Checkpoints,
        console: Console,
        *,
        schedule: WarmupThenDecay,
        first_step: int,
        total_steps: int,
        log_every: int,
        validate_every: int,
        checkpoint_every: int,
        validation: tf.data.Dataset | None,
    ) -> None:
        super().__init__()
        self.log, self.checkpoints, self.console = log, checkpoints, console
        self.step, self.total_steps = first_step, total_steps
        self.log_every, self.validate_every = log_every, validate_every
        self.checkpoint_every = checkpoint_every
        self.validation = validation
        self.schedule = schedule

    def __enter__(self) -> "Monitor":
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
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()  # after an error, too: it has hidden the cursor

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Measure where a new run starts from."""
        if self.validation is not None and self.step == 0:
            self.validate()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Report, validate and save when it is time."""
        self.step += 1
        if not math.isfinite(logs["loss"]) or not math.isfinite(logs["gradient_norm"]):
            self.stop_on_non_finite_loss()
        validates = self.validation is not None and self._is_due(self.validate_every)
        if validates or self._is_due(self.log_every):  # validating starts new means
            self.report({name: float(value) for name, value in logs.items()})
        self.progress.update(self.task, completed=self.step)
        if validates:
            self.validate()
        if self._is_due(self.checkpoint_every):
            self.checkpoints.save(self.step)

    def report(self, figures: dict[str, float]) -> None:
        """Write the means since the last report, then start new ones."""
        figures["learning_rate"] = float(self.schedule(self.step - 1))
        self.log.write(self.step, "train", figures)
        rate = f"{figures['tokens_per_second']:,.0f}"
        self.progress.update(self.task, loss=f"{figures['loss']:.3f}", rate=rate)
        if not self.console.is_terminal:
            loss = f"loss {figures['loss']:.4f}"
            self.console.print(f"step {self.step}/{self.total_steps}  {loss}  {rate} tokens/s")
        self.model.start_new_means()

    def validate(self) -> None:
        """Compute the held-out figures."""
        figures = self.model.evaluate(self.validation, verbose=0, return_dict=True)
        self.log.write(self.step, "validation", figures)
        shown = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
        self.console.print(f"step {self.step}  held out: {shown}", soft_wrap=True)
        self.model.start_new_means()

    def stop_on_non_finite_loss(self) -> None:
        """End the run before a spoilt model is saved."""
        # The loss was made by the weights after the step before. Saved there, they are no good:
        # the same batch comes again, and so would the same loss.
        self.checkpoints.discard(self.step - 1)
        saved = self.checkpoints.saved()
        remedy = "lower train.learning_rate or train.clip_norm"
        if saved:
            end = f"the last good checkpoint is {saved[-1]}; {remedy} and go on with --resume"
        else:
            end = f"there is no good checkpoint; {remedy} and start again with --overwrite"
        raise UserError(f"the loss is not finite at step {self.step}; {end}")

    def _is_due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.total_steps
