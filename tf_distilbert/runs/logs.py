"""What a run writes down while it trains: metrics by step, and the sequences that were damaged."""

import errno
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from rich.console import Console
from tensorflow.core.util.event_pb2 import Event

from tf_distilbert.atomic_writes import publish, write_atomically
from tf_distilbert.console.lines import say
from tf_distilbert.data.shard_files import DamagedSequence, DamagedSequences
from tf_distilbert.errors import UserError, explain_write_errors


class RunLog:
    """Writes metrics to ``log.jsonl`` and ``tensorboard/`` of a run directory.

    For TensorBoard each kind of report is a run of its own, ``tensorboard/train`` and
    ``tensorboard/validation``, as Keras's callback has it: what has one name is in one chart.

    Where a line cannot be written (the disk is full), it is kept and written with the next one.

    Args:
        folder: the run directory.
        first_step: what is in the log beyond this step is dropped: a resumed run writes it again.
        validates_first: so is the validation of this very step, which is about to be made again.
        warn: is told, once in a row, that nothing can be written; and of broken lines that are
            dropped, too.
        read_only: write nothing; for all workers but the chief.
    """

    def __init__(
        self,
        folder: Path,
        first_step: int,
        warn: Callable[[str], None] = print,
        read_only: bool = False,
        validates_first: bool = False,
    ) -> None:
        self._path, self._warn, self._read_only = folder / "log.jsonl", warn, read_only
        self._waiting: list[str] = []
        self._boards = folder / "tensorboard"
        self._writers: dict[str, tf.summary.SummaryWriter] = {}
        if not read_only:
            again = first_step if validates_first else None
            _drop_lines_after(self._path, first_step, again, warn)
            _drop_events_after(self._boards, first_step, again)

    def write(self, step: int, kind: str, metrics: Mapping[str, float]) -> None:
        """Write one report.

        Args:
            step: steps made so far.
            kind: ``train`` or ``validation``.
            metrics: name to value.
        """
        if self._read_only:
            return
        line = {"step": step, "kind": kind, "time": round(time.time(), 3), **metrics}
        self._waiting.append(json.dumps(line) + "\n")
        problem = self._write_waiting()
        if problem and len(self._waiting) == 1:
            self._warn(f"{self._path}: cannot be written ({problem}); it is tried again")
        with self._writer(kind).as_default(step):
            for name, value in metrics.items():
                tf.summary.scalar(name, value)

    def write_histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Write how numbers are distributed, for TensorBoard alone.

        Args:
            step: steps made so far.
            values: name to any numbers.
        """
        if self._read_only:
            return
        with self._writer("train").as_default(step):
            for name, numbers in values.items():
                tf.summary.histogram(name, numbers)

    def _writer(self, kind: str) -> tf.summary.SummaryWriter:
        if kind not in self._writers:
            self._writers[kind] = tf.summary.create_file_writer(str(self._boards / kind))
        return self._writers[kind]

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers.values():
            writer.close()  # flushes what TensorBoard has not seen yet
        if self._waiting and (problem := self._write_waiting()):
            number = len(self._waiting)
            self._warn(f"{self._path}: {number} reports are lost, it cannot be written ({problem})")

    def _write_waiting(self) -> str | None:
        """Write what is waiting, all of it or nothing; give the reason if that fails."""
        try:
            _append(self._path, "".join(self._waiting))
        except OSError as error:
            return error.strerror
        self._waiting = []
        return None


def read_log(
    folder: Path, kind: str, warn: Callable[[str], None] | None = None
) -> list[dict[str, Any]]:
    """Give the reports of one kind from a run directory, in order.

    A last line that is torn, as a kill leaves it, is left out.

    Args:
        folder: the run directory.
        kind: ``train`` or ``validation``.
        warn: is told of another line that is broken, which is then left out, too.

    Raises:
        UserError: the log cannot be read; or another line is broken, and nobody is to be told.
    """
    reports = _read_reports(folder / "log.jsonl", warn)
    return [report for _, report in reports if report["kind"] == kind]


def _read_reports(
    path: Path, warn: Callable[[str], None] | None
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Give every line of a log with what it says; see `read_log`."""
    try:
        lines = path.read_bytes().splitlines() if path.exists() else []
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    for number, line in enumerate(lines, 1):
        report = _parse(line)
        if report is not None:
            yield line, report
        elif number < len(lines):
            if warn is None:
                raise UserError(f"{path}: line {number} is broken; remove it")
            warn(f"{path}: line {number} is broken; it is left out")


def _parse(line: bytes) -> dict[str, Any] | None:
    """Give a report; None for a line that is none."""
    try:
        report = json.loads(line.decode())
        whole = isinstance(report["step"], int) and isinstance(report["kind"], str)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return report if whole else None


def _append(path: Path, text: str) -> None:
    """Append to a file, all of it or nothing; when this returns, it is on the disk."""
    with open(path, "ab") as file:
        end = file.tell()
        try:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            os.truncate(path, end)
            raise


def _drop_lines_after(
    path: Path, step: int, validated_again: int | None, warn: Callable[[str], None]
) -> None:
    if not path.exists():
        return

    def keeps(report: dict[str, Any]) -> bool:
        again = report["kind"] == "validation" and report["step"] == validated_again
        return report["step"] <= step and not again

    kept = [line for line, report in _read_reports(path, warn) if keeps(report)]
    write_atomically(path, b"".join(line + b"\n" for line in kept))


def _drop_events_after(folder: Path, step: int, validated_again: int | None) -> None:
    def keeps(event: Event, kind: str) -> bool:
        again = kind == "validation" and event.step == validated_again
        return event.step <= step and not again

    for path in folder.glob("*/events.*"):
        records = list(_whole_records(path))
        kept = [r for r in records if keeps(Event.FromString(r), path.parent.name)]
        if len(kept) < len(records):
            # Left behind by a kill, a name with "tfevents" would be read by TensorBoard.
            partial = path.with_name("rewritten.partial")
            with tf.io.TFRecordWriter(str(partial)) as writer:
                for record in kept:
                    writer.write(record)
            publish(partial, path)


def _whole_records(path: Path) -> Iterator[bytes]:
    """Read a file of records up to where a kill may have torn it."""
    try:
        yield from tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    except tf.errors.DataLossError:
        return


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
            say(self._console, f"{first}; it is skipped, as are all such; {self._path} names them")
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
            except (ValueError, KeyError, TypeError, AttributeError):
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
