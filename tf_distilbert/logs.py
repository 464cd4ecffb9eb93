"""What a run writes down while it trains: one JSON line and TensorBoard scalars per report."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.util.event_pb2 import Event

from tf_distilbert.atomic_writes import publish, write_atomically
from tf_distilbert.errors import UserError


class RunLog:
    """Writes figures to ``log.jsonl`` and ``tensorboard/`` of a run directory.

    Where a line cannot be written (the disk is full), it is kept and written with the next one.

    Args:
        folder: the run directory.
        first_step: what is in the log beyond this step is dropped: a resumed run writes it again.
        validates_first: so is the validation of this very step, which is about to be made again.
        warn: is told, once in a row, that nothing can be written.
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
        self._writer = tf.summary.create_noop_writer()
        if not read_only:
            again = first_step if validates_first else None
            _drop_lines_after(self._path, first_step, again)
            _drop_events_after(folder / "tensorboard", first_step, again)
            self._writer = tf.summary.create_file_writer(str(folder / "tensorboard"))

    def write(self, step: int, kind: str, figures: Mapping[str, float]) -> None:
        """Write one report.

        Args:
            step: steps made so far.
            kind: ``train`` or ``validation``.
            figures: name to value.
        """
        if self._read_only:
            return
        line = {"step": step, "kind": kind, "time": round(time.time(), 3), **figures}
        self._waiting.append(json.dumps(line) + "\n")
        problem = self._write_waiting()
        if problem and len(self._waiting) == 1:
            self._warn(f"{self._path}: cannot be written ({problem}); it is tried again")
        with self._writer.as_default(step):
            for name, value in figures.items():
                tf.summary.scalar(f"{kind}/{name}", value)

    def write_histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Write how numbers are distributed, for TensorBoard alone.

        Args:
            step: steps made so far.
            values: name to any numbers.
        """
        with self._writer.as_default(step):
            for name, numbers in values.items():
                tf.summary.histogram(name, numbers)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()  # flushes what TensorBoard has not seen yet
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


def read_log(folder: Path, kind: str) -> list[dict]:
    """Give the reports of one kind from a run directory, in order.

    A last line that is torn, as a kill leaves it, is left out.

    Raises:
        UserError: another line is broken, or the log cannot be read; names it.
    """
    path = folder / "log.jsonl"
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    reports = []
    for number, line in enumerate(lines, 1):
        try:
            report = json.loads(line)
            if report["kind"] == kind:
                reports.append(report)
        except (ValueError, KeyError, TypeError):
            if number < len(lines):
                raise UserError(f"{path}: line {number} is broken; remove it") from None
    return reports


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


def _drop_lines_after(path: Path, step: int, validated_again: int | None) -> None:
    if not path.exists():
        return

    def keeps(line: dict) -> bool:
        again = line["kind"] == "validation" and line["step"] == validated_again
        return line["step"] <= step and not again

    lines = path.read_text("utf-8").splitlines()
    kept = [line for line in lines if line.endswith("}") and keeps(json.loads(line))]
    write_atomically(path, "".join(line + "\n" for line in kept).encode())


def _drop_events_after(folder: Path, step: int, validated_again: int | None) -> None:
    def keeps(event: Event) -> bool:
        of_validation = any(value.tag.startswith("validation/") for value in event.summary.value)
        return event.step <= step and not (of_validation and event.step == validated_again)

    for path in folder.glob("events.*"):
        records = list(_whole_records(path))
        kept = [record for record in records if keeps(Event.FromString(record))]
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
