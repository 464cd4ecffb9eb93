"""SIGTERM (preemption) and SIGINT (Ctrl-C): noted, so that a run can end after its step."""

import signal
import threading
from types import FrameType
from typing import Any


class Interruption:
    """Notes the first SIGTERM or SIGINT while it is entered; a second one acts at once.

    Attributes:
        number: of the signal that came; None if none did.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # others cannot set handlers
            for number in (signal.SIGTERM, signal.SIGINT):
                self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self.__exit__()
