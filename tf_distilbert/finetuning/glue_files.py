"""GLUE's official files, as its download script lays them out."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tf_distilbert.finetuning.data_folder import find_file
from tf_distilbert.finetuning.example import TextExample
from tf_distilbert.finetuning.labels import label_numbers, label_value
from tf_distilbert.finetuning.table_file import Table, read_tsv
from tf_distilbert.finetuning.task_table import Task

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
    path = find_file(folder, _DIAGNOSTIC if task.name == "ax" else (name,))
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
