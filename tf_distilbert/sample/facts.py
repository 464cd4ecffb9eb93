"""How facts and their wordings are written down; the facts themselves are in ``facts_*.py``.

A *table* is a block of comma-separated lines under a line of field names. A *wording* is a
sentence with those names in braces. A *kind* of fact joins the two: every row of the table told
in every wording of the kind.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from string import Formatter
from typing import Any

Fact = dict[str, str]
"""One row of a table: the names of the fields and their values."""

MISSING = "-"
"""Stands in a table where there is nothing (or nothing simple) to say."""


@dataclass(frozen=True)
class Kind:
    """One kind of fact, such as the capitals of countries, and all the ways to tell it.

    Attributes:
        name: Identifies the kind, such as ``capital``.
        theme: The kinds of one theme share documents, such as ``countries``.
        subject: The field that names what the fact is about, such as ``country``.
        facts: The rows that have a value in every field which the wordings use.
        wordings: Format strings; ``{field!a}`` puts "a" or "an" before the value.
    """

    name: str
    theme: str
    subject: str
    facts: tuple[Fact, ...]
    wordings: tuple[str, ...]


class _SentenceFormatter(Formatter):
    """``str.format`` with one more conversion: ``!a`` for the indefinite article."""

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        """Return ``value``, with its article where the wording asks for one."""
        if conversion == "a":
            return with_article(value)
        return super().convert_field(value, conversion)


_FORMATTER = _SentenceFormatter()


def kinds(theme: str, subject: str, rows: Iterable[Fact], text: str) -> tuple[Kind, ...]:
    """Return the kinds of facts that ``text`` tells about the rows of a table.

    The name of each kind stands in brackets above its wordings. A row that lacks a value which
    the kind speaks of is no fact of that kind.
    """
    _, *names_and_wordings = re.split(r"^\[(.+)\]$", text, flags=re.MULTILINE)
    named = zip(names_and_wordings[::2], names_and_wordings[1::2], strict=True)
    rows = tuple(rows)
    return tuple(
        _kind(name, theme, subject, rows, tuple(wordings.strip().splitlines()))
        for name, wordings in named
    )


def table(text: str) -> tuple[Fact, ...]:
    """Return the rows of a block of comma-separated lines, the first of which names the fields."""
    names, *rows = [
        [cell.strip() for cell in line.split(",")] for line in text.strip().splitlines()
    ]
    return tuple(dict(zip(names, row, strict=True)) for row in rows)


def with_next(rows: tuple[Fact, ...], step: int = 1) -> tuple[Fact, ...]:
    """Return the rows, each with the fields of the row ``step`` further on as ``other_...``.

    The last rows go on with the first ones, so that a week or a year closes.
    """
    followers = rows[step:] + rows[:step]
    return tuple(
        row | {f"other_{name}": value for name, value in follower.items()}
        for row, follower in zip(rows, followers, strict=True)
    )


def with_article(noun: str) -> str:
    """Return the noun after the indefinite article that its sound asks for."""
    vowel_sound = noun[0].lower() in "aeiou" and not noun.startswith(("uni", "use", "eu", "one"))
    return f"an {noun}" if vowel_sound or noun.startswith("hour") else f"a {noun}"


def tell(wording: str, fact: Fact) -> str:
    """Return the wording filled in with the fact, each of its sentences with a capital letter."""
    text = _FORMATTER.vformat(wording, (), fact)
    return re.sub(r"(^|[.?!] )([a-z])", lambda match: match[1] + match[2].upper(), text)


def _kind(
    name: str, theme: str, subject: str, rows: tuple[Fact, ...], wordings: tuple[str, ...]
) -> Kind:
    fields = sorted({field for wording in wordings for field in _fields(wording)} | {subject})
    facts = [{field: row[field] for field in fields} for row in rows]
    complete = tuple(fact for fact in facts if MISSING not in fact.values())
    return Kind(name, theme, subject, complete, wordings)


def _fields(wording: str) -> list[str]:
    return [field for _, field, _, _ in _FORMATTER.parse(wording) if field is not None]
