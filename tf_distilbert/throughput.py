"""Tokens per second, measured where the clock is: outside the compiled step."""

import time

import keras


class Throughput(keras.callbacks.Callback):
    """Replaces the metric `tokens` (a running sum) by `tokens_per_second` in the logs."""

    def restart(self) -> None:
        """Start the clock, as the sum of tokens starts from 0."""
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Add the figure since the metrics were reset."""
        self._replace(logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Add the figure for the epoch; validation's token sum has no use."""
        self._replace(logs)
        (logs or {}).pop("val_tokens", None)
        (logs or {}).pop("val_gradient_norm", None)

    def _replace(self, logs: dict | None) -> None:
        if logs and "tokens" in logs:
            elapsed = time.perf_counter() - self._start
            logs["tokens_per_second"] = float(logs.pop("tokens")) / elapsed
