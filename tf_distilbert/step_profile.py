"""What a few steps of a run spend their time on: a profile that TensorBoard's plugin shows."""

from pathlib import Path
from typing import Any

import keras


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
        """End with the last step; its figures are known, so that the device is done."""
        if self.active and self.first_step + batch + 1 >= self.last:
            self.stop()

    def start(self) -> None:
        """Begin to trace what this process and its devices do."""
        if keras.backend.backend() == "jax":
            import jax

            jax.profiler.start_trace(str(self.folder))
        else:
            import tensorflow as tf

            tf.profiler.experimental.start(str(self.folder))
        self.active = True

    def stop(self) -> None:
        """Write the trace."""
        self.active = False
        if keras.backend.backend() == "jax":
            import jax

            jax.profiler.stop_trace()
        else:
            import tensorflow as tf

            tf.profiler.experimental.stop()
