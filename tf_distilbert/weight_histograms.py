"""How the weights of what is trained are distributed, from time to time, for TensorBoard."""

from typing import Any

import keras

from tf_distilbert.logs import RunLog


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
