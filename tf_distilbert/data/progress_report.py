"""What `prepare` tells its user."""

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tf_distilbert.data.records import Records


class ProgressReport:
    """What the user sees on stderr: a bar while it works, if that is a terminal, then one line.

    Args:
        enabled: whether anything is shown.
        sources: what `text.fingerprint` says of them.
        with_bar: whether somebody calls `advance` meanwhile.
    """

    def __init__(self, enabled: bool, sources: list[list[Any]], *, with_bar: bool = True) -> None:
        sizes = [size for _, size, _ in sources]
        self._console = Console(stderr=True, quiet=not enabled, soft_wrap=True, highlight=False)
        self._bar = Progress(
            TextColumn("preparing"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[speed]:.1f} MB/s"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not (enabled and with_bar and sys.stderr.isatty()),
        )
        self._task = self._bar.add_task("", total=None if None in sizes else sum(sizes), speed=0.0)
        self._num_text_bytes = 0
        self._seconds = 0.0

    def __enter__(self) -> "ProgressReport":
        self._start = time.perf_counter()
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        self._seconds = time.perf_counter() - self._start

    def advance(self, num_source_bytes: int, num_text_bytes: int = 0) -> None:
        """Count bytes of the sources as done and bytes of text as tokenised in this run."""
        self._num_text_bytes += num_text_bytes
        speed = self._num_text_bytes / 1e6 / (time.perf_counter() - self._start)
        self._bar.update(self._task, advance=num_source_bytes, speed=speed)

    def say(self, line: str) -> None:
        """Print one line."""
        self._console.print(line, markup=False)

    def say_already(self, records: Records) -> None:
        """Print that an earlier run has done it all."""
        self.say(f"{records.path}: already prepared, {len(records):,} sequences; nothing to do")

    def summarise(self, records: Records) -> None:
        """Print what the folder holds and how fast this run was."""
        fill = records.num_tokens / (records.num_sequences * records.sequence_length)
        self.say(
            f"{records.path}: {records.num_sequences:,} sequences, {records.num_tokens:,} tokens, "
            f"{fill:.1%} filled; dropped {join_counts(records.manifest['num_dropped'])}; "
            f"{records.manifest['num_invalid_lines']:,} invalid lines; "
            f"{self._num_text_bytes / 1e6 / max(self._seconds, 1e-9):.1f} MB/s"
        )


def join_counts(counts: dict[str, int]) -> str:
    """Write numbers before their names: ``4 short, 1 unknown``."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
