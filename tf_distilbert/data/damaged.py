"""Which sequences could not be read as they were written: found by readers, asked for by a run."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class DamagedSequence(NamedTuple):
    """A sequence whose bytes on disk are not the ones that were written.

    Attributes:
        path: the shard.
        record: its number in the shard, from 0.
        offset: the byte in the shard at which its ids begin.
        reason: what is wrong.
    """

    path: Path
    record: int
    offset: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: record {self.record} at byte {self.offset} is damaged ({self.reason})"


class DamagedSequences:
    """Each damaged sequence once, in the order of finding; any thread may add or read."""

    def __init__(self) -> None:
        self._found: list[DamagedSequence] = []
        self._known: set[tuple[Path, int]] = set()
        self._lock = threading.Lock()

    def add(self, damaged: DamagedSequence) -> None:
        """Note a sequence, unless it is known."""
        with self._lock:
            if damaged[:2] not in self._known:
                self._known.add(damaged[:2])
                self._found.append(damaged)

    def since(self, number: int) -> list[DamagedSequence]:
        """Give those that were found after the first `number` ones."""
        return self._found[number:]

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[DamagedSequence]:
        return iter(self.since(0))
