"""The user's own data: train, validation and test as CSV, TSV, JSON Lines or CoNLL."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.examples import Example, TextExample, TokenExample
from tf_distilbert.finetuning.files import find_only_file, is_text, unpacked_name
from tf_distilbert.finetuning.labels import (
    label_number,
    label_numbers,
    label_text,
    label_value,
    with_found_labels,
)
from tf_distilbert.finetuning.tables import (
    CONLL_ENDINGS,
    TABLE_ENDINGS,
    Table,
    read_sentences,
    read_table,
    text_of,
    value_of,
)
from tf_distilbert.finetuning.tasks import Task

_STEMS = {"train": ("train",), "validation": ("validation", "dev"), "test": ("test",)}


def read_own(task: Task, folder: Path, split: str) -> Sequence[Example]:
    """Read a split: ``train.csv``, ``validation.*`` or ``dev.*``, ``test.*``.

    The file's ending says how it is written; see `read_table` and `read_sentences`, which is for
    token classification. That takes from JSON Lines a list of words and one of labels, from CSV
    and TSV words and labels with spaces between. A test file needs no labels.

    Args:
        task: of the user's own, with its classes.
        folder: of the files.
        split: ``train``, ``validation`` or ``test``.

    Raises:
        UserError: the file or a column is missing, a row is broken, a label is none of the task's,
            a score is no number, labels are not as many as words.
    """
    path = _find(task, folder, split)
    if task.kind == "token_classification":
        return _token_examples(task, path, split)
    table, numbers, examples = read_table(path), label_numbers(task), []
    labelled = _check_columns(task, table, split)
    for count, (line, row) in enumerate(table.rows):
        where = f"{path}: line {line}"
        texts = tuple(text_of(row, name, where) for name in task.texts)
        label = None
        if labelled:
            label = label_value(task, value_of(row, task.label, where), numbers, where)
        examples.append(TextExample(_index(task, row, count, where), texts, label))
    return examples


def with_own_labels(task: Task, folder: Path) -> Task:
    """Give the task with the classes of its training file, sorted as text.

    Raises:
        UserError: the file or its column is missing, a label is empty, there is only one.
    """
    path = _find(task, folder, "train")
    if task.kind == "token_classification":
        rows = _token_rows(task, path, "train")
        found = {label for row in rows for label in row.labels or ()}
    else:
        table = read_table(path)
        table.require([task.label])
        found = set()
        for line, row in table.rows:
            where = f"{path}: line {line}"
            found.add(label_text(value_of(row, task.label, where), where))
    return with_found_labels(task, found, str(path))


def _find(task: Task, folder: Path, split: str) -> Path:
    endings = CONLL_ENDINGS if task.kind == "token_classification" else ()
    return find_only_file(folder, _STEMS[split], (*TABLE_ENDINGS, *endings))


class _TokenRow(NamedTuple):
    identifier: str
    lines: Sequence[int]
    """Of each word, for messages."""
    words: Sequence[str]
    labels: Sequence[str] | None


def _token_examples(task: Task, path: Path, split: str) -> list[TokenExample]:
    numbers, examples = label_numbers(task), []
    for row in _token_rows(task, path, split):
        classes = None
        if row.labels is not None:
            pairs = zip(row.labels, row.lines, strict=True)
            classes = tuple(label_number(x, numbers, f"{path}: line {line}") for x, line in pairs)
        examples.append(TokenExample(row.identifier, tuple(row.words), classes))
    return examples


def _token_rows(task: Task, path: Path, split: str) -> Iterator[_TokenRow]:
    if unpacked_name(path).endswith(CONLL_ENDINGS):
        for count, (line, words, labels) in enumerate(read_sentences(path)):
            if labels is None and split != "test":
                raise UserError(
                    f"{path}: line {line} has no label; write a word and its label a line"
                )
            yield _TokenRow(str(count), range(line, line + len(words)), words, labels)
        return
    table = read_table(path)
    labelled = _check_columns(task, table, split)
    for count, (line, row) in enumerate(table.rows):
        where = f"{path}: line {line}"
        words, labels = _words(row, task.texts[0], where), None
        if labelled:
            labels = _labels(row, task.label, where)
            if len(labels) != len(words):
                raise UserError(
                    f"{where} has {len(words)} words and {len(labels)} labels; give each word one"
                )
        yield _TokenRow(_index(task, row, count, where), [line] * len(words), words, labels)


def _check_columns(task: Task, table: Table, split: str) -> bool:
    """Whether there are labels."""
    labelled = split != "test" or task.label in table.columns
    wanted = (*task.texts, *[task.label] * labelled, *[task.id] * bool(task.id))
    table.require(wanted)
    return labelled


def _index(task: Task, row: Mapping[str, Any], count: int, where: str) -> str:
    return str(value_of(row, task.id, where)) if task.id else str(count)


def _words(row: Mapping[str, Any], name: str, where: str) -> list[str]:
    words = value_of(row, name, where)
    if isinstance(words, str):
        return words.split()
    if not isinstance(words, list) or not all(isinstance(w, str) and is_text(w) for w in words):
        raise UserError(f'{where}: {name!r} is no list of texts; write ["one", "two"]')
    return words


def _labels(row: Mapping[str, Any], name: str, where: str) -> list[str]:
    labels = value_of(row, name, where)
    if isinstance(labels, str):
        return labels.split()
    if not isinstance(labels, list):
        raise UserError(f'{where}: {name!r} is no list of labels; write ["O", "B-PER"]')
    return [label_text(label, where) for label in labels]
