"""Metrics that add up over steps, held alike by every replica; and tokens per second.

Keras's own metrics keep a sum on each replica and add them when they are read. What a step of ours
has is summed over the replicas already, together with the gradients; so here every replica holds
the whole, reading costs nothing, and a checkpoint has every bit.
"""

import time

import keras
from keras import KerasTensor as Tensor
from keras import ops


class RunningSum(keras.metrics.Metric):
    """The sum of what it was given since it was reset: float32 scalar."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.total = _variable("total")

    def update_state(self, value: Tensor) -> None:
        """Add a number that all replicas have alike."""
        self.total.assign_add(ops.cast(value, "float32"))

    def result(self) -> Tensor:
        """Give the sum."""
        return ops.convert_to_tensor(self.total)


class Streak(RunningSum):
    """How often in a row it was given 1 rather than 0, to this day: a reset leaves it alone."""

    def update_state(self, value: Tensor) -> None:
        """Add 1, or begin again at 0."""
        self.total.assign((self.total + 1.0) * value)

    def reset_state(self) -> None:
        """Do nothing: epochs and windows of a log do not end it."""


class RunningMean(keras.metrics.Metric):
    """The weighted mean of what it was given since it was reset: float32 scalar."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.total, self.weight = _variable("total"), _variable("weight")

    def update_state(self, value: Tensor, weight: Tensor) -> None:
        """Add a number that all replicas have alike, with its weight.

        At weight 0 the number may be anything, not even a NaN has influence.
        """
        weight = ops.cast(weight, "float32")
        self.total.assign_add(ops.where(weight > 0, value * weight, 0.0))
        self.weight.assign_add(weight)

    def result(self) -> Tensor:
        """Give the mean; 0 if all weights were 0."""
        weight = ops.convert_to_tensor(self.weight)
        return ops.divide_no_nan(ops.convert_to_tensor(self.total), weight)


def _variable(name: str) -> keras.Variable:
    return keras.Variable(
        "zeros",  # not 0.0: JAX would take that for another type, and compile a second time
        shape=(),
        dtype="float32",
        trainable=False,
        name=name,
        aggregation="only_first_replica",
    )


class Throughput(keras.callbacks.Callback):
    """Replaces the metric `tokens` (a running sum) by `tokens_per_second` in the logs.

    The clock runs from the epoch's first batch, or from `restart`, to the last batch: the time of
    a validation at the epoch's end does not count, that of writing a checkpoint does.
    """

    def restart(self) -> None:
        """Start the clock, as the sum of tokens starts from 0."""
        self._start = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the clock; Keras has just reset the metrics."""
        self.restart()

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        """Add the metric since the clock was started."""
        self._rate = float(logs.pop("tokens")) / (time.perf_counter() - self._start)
        logs["tokens_per_second"] = self._rate

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Put the metric of the epoch's last batch into its history."""
        logs.pop("tokens", None)
        logs["tokens_per_second"] = self._rate
