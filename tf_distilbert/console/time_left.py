"""What a user sees on stderr while something is measured: how far it is, and how long it takes."""

import time

import keras
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tf_distilbert.console.lines import duration, say

EVERY_SECONDS = 10.0
"""A console that is no terminal gets a line as often."""


class TimeLeft:
    """A bar that is gone when all is done; where there is no terminal, a line now and then.

    Use it as a context.

    Args:
        console: where it is shown; None: nowhere.
        what: is done, for people.
        total: of its parts; None: nobody knows, and only a terminal shows that it is under way.
    """

    def __init__(self, console: Console | None, what: str, total: int | None = None) -> None:
        self.console = console or Console(quiet=True)
        self.what, self.total, self.done = what, total, 0
        counts = [MofNCompleteColumn(), TimeRemainingColumn()] if total else [TimeElapsedColumn()]
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            *counts,
            console=self.console,
            transient=True,
            disable=self.console.quiet or not self.console.is_terminal,
        )
        self._task = self._bar.add_task(what, total=total)

    def __enter__(self) -> "TimeLeft":
        self._start = self._said = time.perf_counter()
        self._bar.start()
        if self.total and not self.console.is_terminal:
            say(self.console, f"{self.what}: {self.total:,} batches")
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self) -> None:
        """Count one part as done."""
        self.done += 1
        self._bar.advance(self._task)
        now = time.perf_counter()
        if self.console.is_terminal or not self.total or now - self._said < EVERY_SECONDS:
            return
        self._said = now
        left = (now - self._start) / self.done * (self.total - self.done)
        counts = f"{self.done:,} of {self.total:,} batches"
        say(self.console, f"{self.what}: {counts}, about {duration(left)} left")

    def callback(self) -> keras.callbacks.Callback:
        """Give what counts the batches of a Keras evaluation."""
        return keras.callbacks.LambdaCallback(on_test_batch_end=lambda batch, logs: self.advance())
