"""Calls into Python that tf.data's threads make, counted so that a program can end.

A thread that asks for Python's lock while the interpreter is taken down never gets it, and an
iterator that is taken down waits for its threads. So a program that ends with such an iterator
alive would hang. Before that, what reads ahead is given the time to fill its buffers: then no
thread is in Python any more, as nothing takes batches from them.
"""

import atexit
import threading
import time
from collections.abc import Callable
from typing import Any

QUIET_SECONDS, LONGEST_WAIT = 0.1, 10.0


class ReaderCalls:
    """Counts calls of the functions that it wraps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._last_end: float | None = None

    def counted(self, function: Callable) -> Callable:
        """Give a function that does the same, and is counted while it does."""

        def call(*arguments: Any) -> Any:
            with self._lock:
                self._running += 1
            try:
                return function(*arguments)
            finally:
                with self._lock:
                    self._running -= 1
                    self._last_end = time.monotonic()

        return call

    def wait(self) -> None:
        """Return when no call was running for a moment, or when that takes too long."""
        if self._last_end is None and not self._running:
            return
        start = time.monotonic()  # the next call may be waiting for the lock that we hold
        while time.monotonic() < start + LONGEST_WAIT:
            quiet_since = max(start, self._last_end or start)
            if not self._running and time.monotonic() - quiet_since > QUIET_SECONDS:
                return
            time.sleep(QUIET_SECONDS / 10)


READER_CALLS = ReaderCalls()
atexit.register(READER_CALLS.wait)
