"""Tables of examples: CSV, TSV and JSON Lines with named columns, CoNLL's words and labels."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.files import is_text, read_lines, unpacked_name

TABLE_ENDINGS = (".csv", ".tsv", ".jsonl")

_MAX_FIELD_BYTES = 1 << 26
"""Of a field of a CSV file; Python's own limit of 128 KiB is less than a long document."""


@dataclass
class Table:
    """A file of rows.

    Attributes:
        path: of the file.
        columns: their names; of JSON Lines those of the first row.
        rows: each with its line's number and its values by column, read as they are asked for.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Iterator[tuple[int, Mapping[str, Any]]]

    def require(self, columns: Sequence[str]) -> None:
        """Check that there are columns of these names.

        Raises:
            UserError: names those that are missing and those that there are.
        """
        missing = [repr(name) for name in columns if name not in self.columns]
        if missing:
            raise UserError(
                f"{self.path}: has no column {', '.join(missing)}; its columns are "
                f"{', '.join(map(repr, self.columns))}: name the right one"
            )


def value_of(row: Mapping[str, Any], name: str, where: str) -> Any:
    """Give what a row has in a column; of JSON Lines each row has columns of its own.

    Args:
        row: of a `Table`.
        name: of the column.
        where: file and line, for the message.

    Raises:
        UserError: it has no such column.
    """
    if name not in row:
        raise UserError(f"{where} has no {name!r}, it has {', '.join(map(repr, row))}; add it")
    return row[name]


def text_of(row: Mapping[str, Any], name: str, where: str) -> str:
    """Give the text that a row has in a column; see `value_of`.

    Raises:
        UserError: it has no such column, or no text there.
    """
    text = value_of(row, name, where)
    if not isinstance(text, str) or not is_text(text):
        raise UserError(f"{where}: {name!r} is no text; write one between quotation marks")
    return text


def read_table(path: Path) -> Table:
    """Read a table by its file's ending: quoted CSV (RFC 4180), TSV or JSON Lines.

    In a TSV file a quotation mark is a character as any other. All may be packed.

    Raises:
        UserError: the file is empty or, as rows are read, one is not in its format.
    """
    name = unpacked_name(path)
    if name.endswith(".csv"):
        return _read_csv(path)
    if name.endswith(".jsonl"):
        return _read_json_lines(path)
    return read_tsv(path)


def read_tsv(
    path: Path, columns: Sequence[str] | None = None, broken: list[int] | None = None
) -> Table:
    """Read tab-separated values without quoting, as GLUE's files are.

    Args:
        path: of the file.
        columns: their names if the file does not begin with them.
        broken: gets the numbers of lines that have not as many values as there are columns, which
            are then left out; by default such a line is an error.

    Raises:
        UserError: the file is empty or, as rows are read, one has too few or too many values.
    """
    lines = read_lines(path)
    if columns is None:
        _, first = next(lines, (0, None))
        if first is None:
            raise _empty(path)
        columns = first.split("\t")
    return Table(path, tuple(columns), _tsv_rows(path, lines, columns, broken))


def _tsv_rows(
    path: Path,
    lines: Iterator[tuple[int, str]],
    columns: Sequence[str],
    broken: list[int] | None,
) -> Iterator[tuple[int, Mapping[str, str]]]:
    for number, line in lines:
        values = line.split("\t")
        if not line:
            continue
        if len(values) == len(columns):
            yield number, dict(zip(columns, values, strict=True))
        elif broken is None:
            raise _uneven(path, number, values, columns)
        else:
            broken.append(number)


def _read_csv(path: Path) -> Table:
    rows = _csv_rows(path)
    _, columns = next(rows, (0, None))
    if columns is None:
        raise _empty(path)

    def named() -> Iterator[tuple[int, Mapping[str, str]]]:
        for number, values in rows:
            if len(values) != len(columns):
                raise _uneven(path, number, values, columns)
            yield number, dict(zip(columns, values, strict=True))

    return Table(path, tuple(columns), named())


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not empty, with the numbers of the lines that they begin in."""
    reader = csv.reader((f"{line}\n" for _, line in read_lines(path)), strict=True)
    while True:
        number, limit = reader.line_num + 1, csv.field_size_limit(_MAX_FIELD_BYTES)
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise UserError(
                f"{path}: line {number} has broken quoting ({error}); a field with a comma, a "
                'quotation mark or a line break is written "so, and a mark in it as """'
            ) from None
        finally:
            csv.field_size_limit(limit)
        if row is None:
            return
        if row:
            yield number, row


def _read_json_lines(path: Path) -> Table:
    rows = _json_rows(path)
    first = next(rows, None)
    if first is None:
        raise _empty(path)

    def all_rows() -> Iterator[tuple[int, Mapping[str, Any]]]:
        yield first
        yield from rows

    return Table(path, tuple(first[1]), all_rows())


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: line {number} is not JSON ({error}); mend the line") from None
        if not isinstance(row, dict):
            raise UserError(
                f'{path}: line {number} is no JSON object; each must be {{"column": value, ...}}'
            )
        yield number, row


def _empty(path: Path) -> UserError:
    return UserError(f"{path}: is empty; it must begin with the names of its columns")


def _uneven(path: Path, number: int, values: Sequence[str], columns: Sequence[str]) -> UserError:
    return UserError(
        f"{path}: line {number} has {len(values)} values where there are {len(columns)} columns; "
        "mend the line"
    )


CONLL_ENDINGS = (".conll", ".txt")

_DOCUMENT = "-DOCSTART-"

Sentence = tuple[int, list[str], list[str] | None]


def read_sentences(path: Path) -> Iterator[Sentence]:
    """Read sentences.

    Columns are divided by spaces or tabs; the first one is the word, the last one the label, what
    is between is left out. In a file of one column there are no labels. Lines of ``-DOCSTART-``
    are left out.

    Args:
        path: of the file; may be packed.

    Returns:
        Of each sentence the number of its first line, its words, a line each, and its labels (or
        None).

    Raises:
        UserError: a line has a word without a label, or a label, unlike the lines before it.
    """
    number = 0
    words: list[str] = []
    labels: list[str] = []
    labelled: bool | None = None
    for line_number, line in read_lines(path):
        columns = line.split()
        if not columns or columns[0] == _DOCUMENT:
            if words:
                yield number, words, labels if labelled else None
            words, labels = [], []
            continue
        if labelled is None:
            labelled = len(columns) > 1
        if labelled != (len(columns) > 1):
            has, others = ("a label", "none") if not labelled else ("no label", "one")
            raise UserError(
                f"{path}: line {line_number} has {has} where the lines before it have {others}; "
                "write a word and its label a line"
            )
        if not words:
            number = line_number
        words.append(columns[0])
        labels.append(columns[-1])
    if words:
        yield number, words, labels if labelled else None
