"""A table of a report, as text; the page makes HTML of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows with a heading each.

    Attributes:
        caption: says what it shows, for those who cannot see where it stands.
        columns: headings, that of the row headings first.
        rows: heading and cells.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]


def number(value: object) -> str:
    """Write a number so that six digits of it are there.

    Example:
        >>> number(0.123456789), number(12), number(None)
        ('0.123457', '12', '')
    """
    if value is None:
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return "not finite"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}"


def table_of(
    caption: str, names: Sequence[str], facts: Sequence[Mapping[str, str]], first: str = ""
) -> Table:
    """Put facts side by side, one column each; a fact that one of them lacks is an empty cell.

    Args:
        caption: of the table.
        names: of the columns.
        facts: for each column heading of the row to cell.
        first: the heading of the row headings.
    """
    headings = list(dict.fromkeys(heading for column in facts for heading in column))
    rows = [(heading, [column.get(heading, "") for column in facts]) for heading in headings]
    return Table(caption, [first, *names], rows)
