"""What `fit` adds to the callbacks that it is given."""

import math
import time
from collections.abc import Iterable

import keras


def prepare_callbacks(
    callbacks: Iterable[keras.callbacks.Callback] | keras.callbacks.Callback | None,
    metrics: Iterable[keras.metrics.Metric],
    throughput: "Throughput",
    *,
    with_bar: bool = False,
) -> list[keras.callbacks.Callback]:
    """Give the callbacks of a `fit`: the trainer's own first, then those given, the bar last.

    Of those with the mode ``auto``, as EarlyStopping, the mode is set here: Keras knows only of its
    own metrics which way is better.

    Args:
        callbacks: as `fit` takes them.
        metrics: of the trainer.
        throughput: of the trainer.
        with_bar: whether `fit` shows a progress bar.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    given = [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else [*(callbacks or [])]
    modes = {metric.name: getattr(metric, "mode", None) for metric in metrics}
    for callback in given:
        monitor = getattr(callback, "monitor", None) or ""
        mode = modes.get(str(monitor).removeprefix("val_"))
        if mode and getattr(callback, "mode", None) == "auto":
            callback.mode = mode
    has_bar = any(isinstance(callback, keras.callbacks.ProgbarLogger) for callback in given)
    bar = [ShortBar()] if with_bar and not has_bar else []
    return [throughput, ShowNotFinite(given), *given, *bar]


class ShortBar(keras.callbacks.ProgbarLogger):
    """Keras's progress bar, of the logs that say how the model learns; the history has all."""

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Show the means of the epoch up to now."""
        super().on_train_batch_end(batch, _shown(logs))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Show the epoch's means and what was measured on the validation data."""
        super().on_epoch_end(epoch, _shown(logs))


_NOT_SHOWN = ("gradient_norm", "padding_share")
_ONLY_IF_ANY = "skipped_updates"


def _shown(logs: dict | None) -> dict:
    return {
        name: value
        for name, value in (logs or {}).items()
        if name not in _NOT_SHOWN and (name != _ONLY_IF_ANY or float(value))
    }


class Throughput(keras.callbacks.Callback):
    """Replaces the metric `tokens` (a running sum) by `tokens_per_second` in the logs.

    The clock runs from the epoch's first batch, or from `restart`, to the last batch: the time of
    a validation at the epoch's end does not count, that of writing a checkpoint does.
    """

    def restart(self) -> None:
        """Start the clock, as the sum of tokens starts from 0."""
        self._start, self._rate = time.perf_counter(), 0.0

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
        if self._is_wanted and float(self.model.signals["losses_not_finite"]):
            logs["loss"] = math.nan
