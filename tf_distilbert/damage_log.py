"""The damaged sequences that a run skipped: named in a file, counted, told to the user."""

import errno
import json
import os
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from tf_distilbert.data.damaged import DamagedSequence, DamagedSequences
from tf_distilbert.errors import explain_write_errors

DAMAGE_FILE = "damaged.jsonl"


class DamageLog:
    """Appends every damaged sequence that was found to ``damaged.jsonl`` of a run directory.

    A line is ``{"path", "record", "offset", "reason"}``, see `DamagedSequence`. Several processes
    may write to one file, and a run that is resumed goes on with it: each sequence counts once,
    whoever found it, and however often.

    Args:
        folder: the run directory; must exist.
        damaged: where to look for new ones, one for each of the run's records.
        console: where the first one of the run is told.
    """

    def __init__(self, folder: Path, damaged: Iterable[DamagedSequences], console: Console) -> None:
        self._path = folder / DAMAGE_FILE
        self._sources = list(damaged)
        self._seen = [0] * len(self._sources)
        self._console = console
        self._known: dict[tuple[str, int], str] = {}
        self._position = 0
        self._told = self.count > 0

    @property
    def count(self) -> int:
        """How many sequences are known to be damaged, those found by other processes included."""
        self._read()
        return len(self._known)

    def note(self) -> int:
        """Write down what was found since the last call, and give the count.

        Raises:
            UserError: the file cannot be written.
        """
        self._read()
        for i, source in enumerate(self._sources):
            found = source.since(self._seen[i])
            self._write([damaged for damaged in found if _key(damaged) not in self._known])
            self._seen[i] += len(found)
        if self._known and not self._told:
            self._told = True
            first = next(iter(self._known.values()))
            self._console.print(
                f"{first}; it is skipped, as are all such; {self._path} names them",
                markup=False,
                soft_wrap=True,
            )
        return len(self._known)

    def summary(self) -> str | None:
        """Say in a line how many sequences were skipped; None if none was."""
        count = self.note()
        if not count:
            return None
        sequences = "1 damaged sequence was" if count == 1 else f"{count:,} damaged sequences were"
        return f"{sequences} skipped; {self._path} names {'it' if count == 1 else 'them'}"

    def _read(self) -> None:
        """Take in the lines that this or another process has added since the last time."""
        if not self._path.exists():
            return
        with open(self._path, "rb") as file:
            file.seek(self._position)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._position += len(whole) + len(newline)
        for line in whole.splitlines():
            try:
                values = json.loads(line)
                self._know(DamagedSequence(Path(values.pop("path")), **values))
            except (ValueError, KeyError, TypeError):
                continue  # torn by a kill or a full disk; the sequence will be found again

    def _write(self, found: list[DamagedSequence]) -> None:
        if not found:
            return
        with explain_write_errors(self._path):
            # Each line by one write at the file's end, so that those of other processes stay whole.
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    os.write(descriptor, b"\n")  # ends a line that was torn
                for damaged in found:
                    path, record = _key(damaged)
                    line = damaged._asdict() | {"path": path, "record": record}
                    content = json.dumps(line).encode() + b"\n"
                    if os.write(descriptor, content) < len(content):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    self._know(damaged)
            finally:
                os.close(descriptor)

    def _know(self, damaged: DamagedSequence) -> None:
        self._known.setdefault(_key(damaged), str(damaged))


def _key(damaged: DamagedSequence) -> tuple[str, int]:
    """Which sequence it is, from whatever folder the run was started."""
    return os.path.abspath(damaged.path), damaged.record
