"""The frame of every kind of benchmark: who takes part, on what machine, and what is shown of it.

A result is a table on the terminal, and everything in a JSON file.
"""

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tf_distilbert.benchmark.flops import PRECISIONS, measure_matrix_peak
from tf_distilbert.benchmark.timing import Measurement, measure
from tf_distilbert.benchmark.worker import Competitor, system_bytes, system_table
from tf_distilbert.console.lines import say
from tf_distilbert.errors import UserError, explain_write_errors
from tf_distilbert.training.runtime import usable_cores

INSTALL_HINT = "pip install 'tf_distilbert[benchmark]'"
PACKAGES = (
    *("tf_distilbert", "tensorflow", "keras", "keras-nlp", "tensorflow-text", "numpy"),
    *("jax", "torch", "transformers", "tokenizers", "onnxruntime"),
)
# Which matrix instructions there are decides how fast bfloat16 is.
_NOTABLE_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_tile")
_WIDTH = 120

Measured = list[tuple[Competitor, Measurement]]


class Benchmark:
    """What all kinds do before and after they measure.

    Args:
        kind: as the command line calls it.
        json_path: file to which the result is written, too.
        only: names of competitors; all by default.

    Attributes:
        say: takes lines on what goes on.

    Raises:
        UserError: that file cannot be written.
    """

    def __init__(self, kind: str, json_path: str | None, only: Sequence[str] | None) -> None:
        check_json_path(json_path)
        self._kind, self._json_path, self._only = kind, json_path, only
        self.say = progress_sayer()

    def choose(self, listed: Sequence[Competitor]) -> list[Competitor]:
        """Find out on what machine, and who of those listed takes part; see `choose`."""
        self._competitors, self._missing = choose(listed, self._only)
        self._machine = describe_machine()
        return self._competitors

    def measure(self, rounds: int, **options: Any) -> Measured:
        """Time who takes part; see `measure`."""
        found = measure(self._competitors, rounds, say=self.say, **options)
        return list(zip(self._competitors, found, strict=True))

    def measure_with_peak(
        self, quick: bool, rounds: int, **options: Any
    ) -> tuple[Measured, dict[str, float]]:
        """Time who takes part, and the matrix peak before and after; give that by precision."""
        self.say("matrix peak")
        peak = measure_matrix_peak(quick)
        measured = self.measure(rounds, **options)
        again = measure_matrix_peak(quick)
        return measured, {p: max(peak[p], again[p]) for p in PRECISIONS}

    def finish(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        entries: Sequence[dict[str, Any]],
        settings: dict[str, Any],
        *,
        finished: bool,
        nobody: str = "no competitor finished",
        notes: Sequence[str] = (),
        **facts: Any,
    ) -> dict[str, Any]:
        """Write the result, and print the table and who could not take part.

        Args:
            title, columns, rows: of the table.
            entries: what the JSON file says of each competitor.
            settings: what it says of how they were measured.
            finished: whether anybody has finished.
            nobody: what is said if not.
            notes: lines below the table.
            **facts: what else the JSON file says.

        Returns:
            What the JSON file holds.

        Raises:
            UserError: nobody has finished, or the file cannot be written.
        """
        head = {"kind": self._kind, "machine": self._machine, "settings": settings}
        result = {**head, **facts, "competitors": entries, "missing": self._missing}
        write_result(self._json_path, result)
        console = _console()
        console.print(_machine_text(self._machine))
        table = Table(title=title, title_justify="left")
        for i, column in enumerate(columns):
            table.add_column(column, justify="right" if i else "left", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        console.print(table)
        for note in notes:
            say(console, note)
        failures = {e["name"]: f"failed: {e['failure']}" for e in entries if e["failure"]}
        reasons = {name: f"not measured: {reason}" for name, reason in self._missing.items()}
        for name, reason in (failures | reasons).items():
            say(console, f"{name}: {reason}")
        if not finished:
            raise UserError(f"{nobody}; the reasons are above")
        return result


def choose(
    competitors: Sequence[Competitor], only: Sequence[str] | None = None
) -> tuple[list[Competitor], dict[str, str]]:
    """Find out who takes part.

    Args:
        competitors: all that there are.
        only: names; all by default.

    Returns:
        Those who can, and of the others name to reason.

    Raises:
        UserError: a name is unknown, or one that was asked for lacks a package.
    """
    names = [competitor.name for competitor in competitors]
    unknown = [name for name in only or () if name not in names]
    if unknown:
        raise UserError(f"--only {unknown[0]}: no such competitor; use {', '.join(names)}")
    chosen = [c for c in competitors if not only or c.name in only]
    reasons = {
        c.name: f"{' and '.join(c.missing)} not installed; {INSTALL_HINT}"
        for c in chosen
        if c.missing
    }
    if only and reasons:
        name, reason = next(iter(reasons.items()))
        raise UserError(f"--only {name}: {reason}")
    return [c for c in chosen if c.name not in reasons], reasons


def describe_machine() -> dict[str, Any]:
    """Give processor, cores, memory, load and versions, as far as the system tells."""
    processor = system_table("cpuinfo")
    flags = processor.get("flags", "").split()
    return {
        "processor": processor.get("model name") or platform.processor() or platform.machine(),
        "instructions": [flag for flag in _NOTABLE_FLAGS if flag in flags],
        "cores": usable_cores(),
        "memory_bytes": system_bytes("meminfo", "MemTotal"),
        "load_average": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _machine_text(machine: dict[str, Any]) -> str:
    memory = f", {machine['memory_bytes'] / 1e9:.0f} GB" if machine["memory_bytes"] else ""
    instructions = f" ({', '.join(machine['instructions'])})" if machine["instructions"] else ""
    return f"{machine['processor']}{instructions}, {machine['cores']} cores{memory}"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_json_path(path: str | None) -> None:
    """See that a result can be written here, before minutes are spent on it.

    Raises:
        UserError: it cannot.
    """
    if path and (Path(path).is_dir() or not Path(path).parent.is_dir()):
        raise UserError(f"{path}: cannot be written; give a file in a folder that exists")


def write_result(path: str | None, result: dict[str, Any]) -> None:
    """Write a result as JSON, if a path is given."""
    if path:
        with explain_write_errors(Path(path)):  # in place: it may be /dev/stdout
            Path(path).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def progress_sayer() -> Callable[[str], None]:
    """Make the function that says on stderr what goes on."""
    console = Console(file=sys.stderr, highlight=False)
    return lambda line: console.print(f"  {line}", style="dim")


def _console() -> Console:
    console = Console(highlight=False)
    # In a file or a pipe nothing tells a width; the tables need this one.
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)


def seconds_text(quartiles: tuple[float, float, float] | None) -> str:
    """Write median and quartiles in a unit that suits them: ``2.10 s (2.05 to 2.20)``."""
    if not quartiles:
        return "-"
    unit, factor = ("s", 1.0) if quartiles[1] >= 1 else ("ms", 1000.0)
    first, median, third = (_three_digits(factor * value) for value in quartiles)
    return f"{median} {unit} ({first} to {third})"


def number_text(value: float | None, unit: str = "") -> str:
    """Write a figure with three digits or with thousands separators; a dash for none."""
    return "-" if value is None else f"{_three_digits(value)}{unit}"


def memory_text(value: float | None) -> str:
    """Write bytes as GB."""
    return "-" if value is None else f"{value / 1e9:.2f} GB"


def _three_digits(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
