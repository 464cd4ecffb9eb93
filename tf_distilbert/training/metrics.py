"""Metrics that add up over steps, held alike by every replica; and tokens per second.

Keras's own metrics keep a sum on each replica and add them when they are read. What a step of ours
has is summed over the replicas already, together with the gradients; so here every replica holds
the whole, reading costs nothing, and a checkpoint has every bit.
"""

import math
import time
from collections.abc import Iterable, Mapping

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
    """The weighted mean of what it was given since it was reset: float32 scalar.

    Args:
        name: of the metric.
        direction: ``up`` or ``down``, which way is better: what Keras's callbacks take in their
            mode ``auto``. None where neither is.
    """

    def __init__(self, name: str, direction: str | None = None) -> None:
        super().__init__(name=name)
        self.total, self.weight = _variable("total"), _variable("weight")
        if direction:
            self._direction = direction

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


class WeightedSum(keras.metrics.Metric):
    """The loss: a weighted sum of the means of its terms; it has no numbers of its own.

    Args:
        name: of the metric.
        means: of the terms.
        weights: of the terms, by their names.
    """

    _direction = "down"

    def __init__(
        self, name: str, means: Mapping[str, RunningMean], weights: Mapping[str, float]
    ) -> None:
        super().__init__(name=name)
        # A closure: as attributes, the variables of the means would count twice.
        self._terms = lambda: [(weight, means[name]) for name, weight in weights.items()]

    def update_state(self) -> None:
        """Do nothing: the means are updated."""

    def reset_state(self) -> None:
        """Do nothing: the means are reset."""

    def result(self) -> Tensor:
        """Give the sum."""
        return sum(weight * mean.result() for weight, mean in self._terms())


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


class ShowNotFinite(keras.callbacks.Callback):
    """Shows `keras.callbacks.TerminateOnNaN` a loss that is not finite.

    The logs leave it out, as its update is skipped; this one puts it into those of its batch.

    Args:
        others: the callbacks that follow.
    """

    def __init__(self, others: Iterable[keras.callbacks.Callback]) -> None:
        super().__init__()
        wants_it = keras.callbacks.TerminateOnNaN
        self._is_wanted = any(isinstance(callback, wants_it) for callback in others)

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        """Replace the mean loss, if somebody looks at it."""
        if self._is_wanted and not math.isfinite(loss := float(self.model.signals["loss_of_step"])):
            logs["loss"] = loss
