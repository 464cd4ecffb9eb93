"""The files of a retrieval: queries, passages, and which passages are relevant to which query."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.examples import Passages, QueryExample, TextExample
from tf_distilbert.finetuning.files import find_only_file
from tf_distilbert.finetuning.tables import TABLE_ENDINGS, read_table, text_of, value_of
from tf_distilbert.finetuning.tasks import NEGATIVE, Task


def read_ranking(folder: Path) -> list[QueryExample]:
    """Read the queries of a folder, with the passages among which each is searched.

    The folder has ``queries`` and ``passages`` with the columns ``id`` and ``text``, and
    ``relevant`` with ``query`` and ``passage``, which are such ids, and, where relevant passages
    differ, ``grade``, a number above 0; without it, 1. Each is a table with one of `TABLE_ENDINGS`;
    see `read_table`.

    Args:
        folder: of the files.

    Raises:
        UserError: a file or a column is missing or a row broken; a text is empty, an id is there
            twice or unknown, a grade is no number above 0, a passage is named twice for a query, a
            query has no relevant passage, or there is no query. Names file and line.
    """
    queries, passages = (_Texts(_find(folder, stem)) for stem in ("queries", "passages"))
    relevant = _read_relevant(_find(folder, "relevant"), queries, passages)
    shared = Passages(list(passages.lines), passages.texts)
    pairs = zip(queries.lines, queries.texts, relevant, strict=True)
    return [QueryExample(name, text, grades, shared) for name, text, grades in pairs]


def read_ranking_pairs(task: Task, folder: Path) -> list[TextExample]:
    """Read what a retrieval is learnt from: ``train``, a table of queries and relevant passages.

    Args:
        task: says which columns have the query and the passage and, if it names a third one, a hard
            negative: a passage that seems relevant, and is not. A column ``negative`` is one, too.
        folder: of the file.

    Returns:
        An example a row, of two texts or three, without a label.

    Raises:
        UserError: the file or a column is missing, a row is broken, a text is empty, or the
            negative is the passage.
    """
    path = _find(folder, "train")
    table = read_table(path)
    columns = task.texts
    if len(columns) == 2 and NEGATIVE in table.columns:
        columns = (*columns, NEGATIVE)
    table.require((*columns, *[task.id] * bool(task.id)))
    pairs = []
    for count, (line, row) in enumerate(table.rows):
        where = f"{path}: line {line}"
        texts = tuple(text_of(row, column, where) for column in columns)
        for column, text in zip(columns, texts, strict=True):
            if not text.strip():
                raise UserError(f"{where}: {column!r} is empty; write a text, or remove the line")
        if texts[1] in texts[2:]:
            raise UserError(f"{where}: the negative is the passage itself; mend the line")
        name = _id_of(row, task.id, where) if task.id else str(count)
        pairs.append(TextExample(name, texts, None))
    return pairs


def queries_of_pairs(pairs: Sequence[TextExample]) -> list[QueryExample]:
    """Make queries of pairs, each searched among the passages and negatives of all of them.

    A query that has several pairs has as many relevant passages.

    Args:
        pairs: from `read_ranking_pairs`.
    """
    texts = dict.fromkeys(text for pair in pairs for text in pair.texts[1:])
    numbers = {text: number for number, text in enumerate(texts)}
    relevant: dict[str, dict[int, float]] = {}
    names: dict[str, str] = {}
    for pair in pairs:
        query, passage, *_ = pair.texts
        names.setdefault(query, pair.id)
        relevant.setdefault(query, {})[numbers[passage]] = 1.0
    shared = Passages([str(number) for number in numbers.values()], list(texts))
    return [QueryExample(names[query], query, found, shared) for query, found in relevant.items()]


class _Texts:
    """Texts by their ids.

    Attributes:
        path: of their file.
        lines: id to line, in the order of the file.
        numbers: id to number, from 0.
        texts: by number.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.texts = path, list[str]()
        self.lines: dict[str, int] = {}
        table = read_table(path)
        table.require(("id", "text"))
        for line, row in table.rows:
            where = f"{path}: line {line}"
            name, text = _id_of(row, "id", where), text_of(row, "text", where)
            if name in self.lines:
                raise UserError(
                    f"{where}: the id {name!r} is that of line {self.lines[name]}; give each text "
                    "its own"
                )
            if not text.strip():
                raise UserError(f"{where}: the text is empty; write one, or remove the line")
            self.lines[name] = line
            self.texts.append(text)
        if not self.texts:
            raise UserError(f"{path}: has no row; write an id and a text a line")
        self.numbers = {name: number for number, name in enumerate(self.lines)}

    def number(self, name: str, where: str) -> int:
        """Give the number of a text; where: file and line, for the message."""
        if name not in self.numbers:
            raise UserError(f"{where}: {name!r} is no id of {self.path.name}; mend the line")
        return self.numbers[name]


def _read_relevant(path: Path, queries: _Texts, passages: _Texts) -> list[dict[int, float]]:
    """Give for each query its relevant passages and their grades."""
    found: list[dict[int, float]] = [{} for _ in queries.texts]
    table = read_table(path)
    table.require(("query", "passage"))
    for line, row in table.rows:
        where = f"{path}: line {line}"
        query = queries.number(_id_of(row, "query", where), where)
        passage = passages.number(_id_of(row, "passage", where), where)
        if passage in found[query]:
            raise UserError(f"{where}: names this passage for this query again; remove the line")
        found[query][passage] = _grade_of(row, where)
    for (name, line), grades in zip(queries.lines.items(), found, strict=True):
        if not grades:
            raise UserError(
                f"{queries.path}: line {line}: the query {name!r} has no relevant passage in "
                f"{path.name}; add one, or remove the line"
            )
    return found


def _find(folder: Path, stem: str) -> Path:
    return find_only_file(folder, (stem,), TABLE_ENDINGS)


def _id_of(row: Mapping[str, Any], column: str, where: str) -> str:
    """JSON may write an id as a whole number."""
    value = value_of(row, column, where)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    name = text_of(row, column, where)
    if not name:
        raise UserError(f"{where}: {column!r} is empty; write an id")
    return name


def _grade_of(row: Mapping[str, Any], where: str) -> float:
    value = row.get("grade", 1.0)
    try:
        grade = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        grade = math.nan
    if not 0 < grade < math.inf:
        raise UserError(
            f"{where}: the grade is {value!r}; write a number above 0, or remove the line"
        )
    return grade
