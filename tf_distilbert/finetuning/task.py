"""A task by its name, and what is done with tasks: read, score, write predictions."""

import difflib
from collections.abc import Mapping
from dataclasses import replace

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.scores import score
from tf_distilbert.finetuning.splits import TFDS, read_split, with_labels
from tf_distilbert.finetuning.submissions import submission_name, write_predictions
from tf_distilbert.finetuning.task_table import TASKS, Task

__all__ = [
    "TASKS",
    "TFDS",
    "Task",
    "find_task",
    "read_split",
    "score",
    "submission_name",
    "with_labels",
    "write_predictions",
]


def find_task(name: str, columns: Mapping[str, str | None] | None = None, **named: str) -> Task:
    """Give the task of a name.

    Args:
        name: in any case, with or without hyphens: ``sst2``, ``SST-2``.
        columns: for the user's own tasks, which columns of the files to read: ``text``, ``label``
            and ``id``; ``text_pair`` of pairs and, if it is given, of regressions; ``words`` and
            ``labels`` of token classification. By default they have these names themselves, and
            rows are counted from 0. None as a value is as nothing.
        named: the same as arguments.

    Raises:
        UserError: there is no such task (names the nearest one), or it has no such column to name.

    Example:
        >>> find_task("classification", text="review", label="stars").texts
        ('review',)
    """
    known = {_plain(task.name): task for task in TASKS}
    task = known.get(_plain(name))
    if task is None:
        near = difflib.get_close_matches(_plain(name), known, 1, cutoff=0)
        raise UserError(
            f"unknown task {name!r}; the nearest is {known[near[0]].name}; there are "
            f"{', '.join(task.name for task in TASKS)}"
        )
    chosen = {key: column for key, column in {**(columns or {}), **named}.items() if column}
    return _with_columns(task, chosen) if chosen else task


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _with_columns(task: Task, columns: Mapping[str, str]) -> Task:
    texts = ("words",) if task.kind == "token_classification" else ("text", "text_pair")
    settable = (*texts, task.label, "id")
    if task.name == "classification":
        settable = ("text", "label", "id")
    if task.layout != "own":
        raise UserError(f"{task.name}: its columns are its official files'; name none")
    for key in columns:
        if key not in settable:
            raise UserError(f"{task.name}: has no column {key!r}; name {', '.join(settable)}")
    count = len(task.texts) if "text_pair" not in columns else 2
    return replace(
        task,
        texts=tuple(columns.get(key, key) for key in texts[:count]),
        label=columns.get(task.label, task.label),
        id=columns.get("id", ""),
    )
