"""Metrics that add up over steps, held alike by every replica.

Keras's own metrics keep a sum on each replica and add them when they are read. What a step of ours
has is summed over the replicas already, together with the gradients; so here every replica holds
the whole, reading costs nothing, and a checkpoint has every bit.
"""

from collections.abc import Mapping

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
    """How often in a row it was given 1 rather than 0, up to now: a reset leaves it alone."""

    def update_state(self, value: Tensor) -> None:
        """Add 1, or begin again at 0."""
        self.total.assign((self.total + 1.0) * value)

    def reset_state(self) -> None:
        """Do nothing: epochs and windows of a log do not end it."""


class RunningMean(keras.metrics.Metric):
    """The weighted mean of what it was given since it was reset: float32 scalar.

    Args:
        name: of the metric.
        mode: which is better, the ``min`` or the ``max``, as Keras's callbacks call it; None where
            neither is.
    """

    def __init__(self, name: str, mode: str | None = None) -> None:
        super().__init__(name=name)
        self.total, self.weight = _variable("total"), _variable("weight")
        self.mode = mode

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

    mode = "min"

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
