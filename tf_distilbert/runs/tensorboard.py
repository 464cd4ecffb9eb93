"""What a run writes for TensorBoard alone: a profile of a few steps, histograms of the weights."""

from pathlib import Path
from typing import Any

import keras

from tf_distilbert.backend import devices
from tf_distilbert.runs.logs import RunLog


class StepProfile(keras.callbacks.Callback):
    """Profiles some steps, and puts the trace where TensorBoard looks for it.

    It is to be the first callback, so that no validation and no checkpoint is in the trace, and a
    context, so that an error on the way leaves no profiler at work. Of steps that are made in one
    execution, all are profiled. A resumed run that is past the first step profiles the rest.

    Args:
        folder: of TensorBoard's files; the trace goes to ``plugins/profile/``.
        steps: the first and the last one, from 1.
        first_step: steps of the run made before.
    """

    def __init__(self, folder: Path, steps: tuple[int, int], first_step: int) -> None:
        super().__init__()
        self.folder, self.first_step = folder, first_step
        self.first, self.last = steps
        self.active = False

    def __enter__(self) -> "StepProfile":
        return self

    def __exit__(self, *_: object) -> None:
        if self.active:
            self.stop()

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Begin with the execution that has the first step in it."""
        done = self.first_step + batch
        begins = self.first <= done + self.model.steps_per_execution
        if begins and done < self.last and not self.active:
            self.start()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """End with the last step; its metrics are known, so that the device is done."""
        if self.active and self.first_step + batch + 1 >= self.last:
            self.stop()

    def start(self) -> None:
        """Begin to trace what this process and its devices do."""
        devices.start_profile(self.folder)
        self.active = True

    def stop(self) -> None:
        """Write the trace."""
        self.active = False
        devices.stop_profile()


class WeightHistograms(keras.callbacks.Callback):
    """Writes a histogram of every trained weight as ``weights/NAME``.

    Args:
        log: of the run.
        every: in steps.
        first_step: steps made before.
        total_steps: of the run; after the last one histograms are written, too.
    """

    def __init__(self, log: RunLog, every: int, first_step: int, total_steps: int) -> None:
        super().__init__()
        self.log, self.every = log, every
        self.first_step, self.total_steps = first_step, total_steps

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write where a new run starts from."""
        if self.first_step == 0:
            self.write(0)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Write when it is time."""
        step = self.first_step + batch + 1
        if step % self.every == 0 or step == self.total_steps:
            self.write(step)

    def write(self, step: int) -> None:
        """Write the weights as they are after a step."""
        self.model.settle()
        # Without the model's name, in which Keras may count the models of the process.
        named = {v.path.partition("/")[2]: v for v in self.model.trainable_variables}
        values = {f"weights/{name}": variable.numpy() for name, variable in named.items()}
        self.log.write_histograms(step, values)
