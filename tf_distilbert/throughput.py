"""Tokens per second, measured where the clock is: outside the compiled step."""

import time

import keras


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
        """Add the figure since the clock was started."""
        self._rate = float(logs.pop("tokens")) / (time.perf_counter() - self._start)
        logs["tokens_per_second"] = self._rate

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Put the figure of the epoch's last batch into its history."""
        logs.pop("tokens", None)
        logs["tokens_per_second"] = self._rate
