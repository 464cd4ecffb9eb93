"""What a run writes down while it trains: one JSON line and TensorBoard scalars per report."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.errors import explain_write_errors


class RunLog:
    """Writes figures to ``log.jsonl`` and ``tensorboard/`` of a run directory.

    Args:
        folder: the run directory.
        first_step: what is in the log beyond this step is dropped: a resumed run writes it again.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        self._path = folder / "log.jsonl"
        self._drop_after(first_step)
        self._writer = tf.summary.create_file_writer(str(folder / "tensorboard"))

    def write(self, step: int, kind: str, figures: Mapping[str, float]) -> None:
        """Write one report.

        Args:
            step: updates made so far.
            kind: ``train`` or ``validation``.
            figures: name to value.
        """
        line = {"step": step, "kind": kind, "time": round(time.time(), 3), **figures}
        with (
            explain_write_errors(self._path),
            open(self._path, "a", encoding="utf-8") as file,
        ):
            file.write(json.dumps(line) + "\n")
        with self._writer.as_default(step):
            for name, value in figures.items():
                tf.summary.scalar(f"{kind}/{name}", value)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()  # flushes what TensorBoard has not seen yet

    def _drop_after(self, step: int) -> None:
        if not self._path.exists():
            return
        lines = self._path.read_text("utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        write_atomically(self._path, "".join(line + "\n" for line in kept).encode())


def read_log(folder: Path, kind: str) -> list[dict]:
    """Give the reports of one kind from a run directory, in order."""
    lines = (folder / "log.jsonl").read_text("utf-8").splitlines()
    return [report for report in map(json.loads, lines) if report["kind"] == kind]
