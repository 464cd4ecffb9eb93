"""What a benchmark shows: a table on the terminal, and everything in a JSON file."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tf_distilbert.errors import UserError, explain_write_errors

_WIDTH = 120


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


def print_result(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    result: dict[str, Any],
    notes: Sequence[str] = (),
) -> None:
    """Print the table, what stands beside it, and who could not take part."""
    console = _console()
    machine = result["machine"]
    memory = f", {machine['memory_bytes'] / 1e9:.0f} GB" if machine["memory_bytes"] else ""
    instructions = f" ({', '.join(machine['instructions'])})" if machine["instructions"] else ""
    console.print(f"{machine['processor']}{instructions}, {machine['cores']} cores{memory}")
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for note in notes:
        console.print(note, soft_wrap=True)
    for entry in result["competitors"]:
        if entry.get("failure"):
            console.print(
                f"{entry['name']}: failed: {entry['failure']}", markup=False, soft_wrap=True
            )
    for name, reason in result.get("missing", {}).items():
        console.print(f"{name}: not measured: {reason}", markup=False, soft_wrap=True)


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
