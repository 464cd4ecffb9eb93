"""The official files of GLUE and of IMDb, as they are downloaded."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.examples import TextExample
from tf_distilbert.finetuning.files import find_file
from tf_distilbert.finetuning.labels import label_number, label_numbers, label_value
from tf_distilbert.finetuning.tables import Table, read_table, read_tsv
from tf_distilbert.finetuning.tasks import Task

# The labelled one first; the others have the same rows.
_DIAGNOSTIC = ("diagnostic-full.tsv", "diagnostic.tsv", "AX.tsv")

_NUM_LISTED = 10


def read_glue(
    task: Task, folder: Path, split: str, warn: Callable[[str], None]
) -> list[TextExample]:
    """Read a split.

    Columns are found whatever their case, those of texts also by their names in
    tensorflow-datasets. In MNLI, rows on which annotators did not agree (label ``-``) are left
    out. So are, with a warning, rows of QQP with too few or too many columns: its official file
    has some.

    Args:
        task: one of GLUE's.
        folder: of its files.
        split: of the task.
        warn: is told what was left out.

    Raises:
        UserError: the file or a column is missing, a row is broken, a label is none of the task's.
    """
    name = split.replace("validation", "dev") + ".tsv"
    path = find_file(task, folder, _DIAGNOSTIC if task.name == "ax" else (name,))
    broken: list[int] | None = [] if task.name == "qqp" else None
    headless = task.headless if split not in task.test_splits else ()
    table = read_tsv(path, headless or None, broken)
    columns = _find_columns(task, table)
    if split not in task.test_splits and task.label not in columns:
        table.require([task.label])
    numbers = label_numbers(task)
    examples = []
    for count, (line, row) in enumerate(table.rows):
        index = row[columns[task.id]] if task.id in columns else str(count)
        texts = tuple(row[columns[name]] for name in task.texts)
        label = None
        if task.label in columns:
            written, where = row[columns[task.label]], f"{path}: line {line}"
            if task.name == "mnli" and written == "-":
                continue
            label = label_value(task, written, numbers, where)
        examples.append(TextExample(index, texts, label))
    if broken:
        listed = ", ".join(map(str, broken[:_NUM_LISTED])) + ", ..." * (len(broken) > _NUM_LISTED)
        warn(f"{path}: {len(broken)} rows without the columns of the others left out: {listed}")
    return examples


def _find_columns(task: Task, table: Table) -> Mapping[str, str]:
    """Which column of the file each column of the task is; without those that are not there."""
    there = {name.casefold(): name for name in table.columns}
    columns: dict[str, str] = {}
    for name, other in zip(task.texts, task.features, strict=True):
        found = there.get(name.casefold()) or there.get(other.casefold())
        if found is None:
            table.require([name])  # which says that it is missing
        else:
            columns[name] = found
    for name in (task.id, task.label):
        if name.casefold() in there:
            columns[name] = there[name.casefold()]
    return columns


_FOLDERS = ("neg", "pos")


def read_imdb(task: Task, folder: Path, split: str) -> list[TextExample]:
    """Read a split.

    Either of ``train/neg/0_3.txt`` and so on, a review each, the negative ones first and all in
    the order of their numbers, or of ``train.tsv`` or ``imdb_train.tsv`` (packed or not) with the
    columns ``id``, ``label`` (0 negative, 1 positive) and ``text``.

    Raises:
        UserError: neither is there, a column is missing, a label is none of the two, a review is
            not UTF-8.
    """
    if (folder / split).is_dir():
        return _read_folders(folder / split)
    table = read_table(find_file(task, folder, (f"{split}.tsv", f"imdb_{split}.tsv")))
    table.require((*task.texts, task.label))
    numbers = label_numbers(task)
    examples = []
    for count, (line, row) in enumerate(table.rows):
        label = label_number(row[task.label], numbers, f"{table.path}: line {line}")
        texts = tuple(row[name] for name in task.texts)
        examples.append(TextExample(row.get(task.id, str(count)), texts, label))
    return examples


def _read_folders(folder: Path) -> list[TextExample]:
    examples = []
    for label, name in enumerate(_FOLDERS):
        paths = (folder / name).glob("*_*.txt")
        for path in sorted(paths, key=lambda path: (len(path.stem.split("_")[0]), path.stem)):
            try:
                text = path.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}: is not UTF-8 (byte {error.start + 1}); convert the file"
                ) from None
            examples.append(TextExample(f"{name}/{path.stem}", (text,), label))
    return examples
