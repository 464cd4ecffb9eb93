"""Reading a split of a task, wherever it lies."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.data_folder import find_folder
from tf_distilbert.finetuning.example import Example
from tf_distilbert.finetuning.glue_files import read_glue
from tf_distilbert.finetuning.imdb_files import read_imdb
from tf_distilbert.finetuning.own_files import read_own, with_own_labels
from tf_distilbert.finetuning.squad_file import read_squad
from tf_distilbert.finetuning.task_table import Task
from tf_distilbert.finetuning.tfds_records import read_tfds

TFDS = "tfds"
"""Instead of a folder: tensorflow-datasets."""


def read_split(
    task: Task, data: str | Path, split: str, warn: Callable[[str], None] = print
) -> Sequence[Example]:
    """Read the examples of a split in the order of its file.

    Args:
        task: of the user's own ones without classes it gets those of its training data, as
            `with_labels` gives them.
        data: a folder of official files, or the folder above, as GLUE's with ``CoLA``, ``SST-2``
            and so on; or `TFDS`.
        split: one of `Task.splits`.
        warn: is told of examples that are left out.

    Raises:
        UserError: the task has no such split, a file or a column is missing, a row is broken, a
            label or score is none, or the split is empty.

    Example:
        >>> read_split(find_task("cola"), "glue", "validation")[0]
        TextExample(id='0', texts=('The sailors rode the breeze clear of the rocks.',), label=1)
    """
    if split not in task.splits:
        hint = f"; train a model of {task.model_of}" if task.model_of and split == "train" else ""
        raise UserError(
            f"{task.name}: has no split {split!r}{hint}; its splits: {', '.join(task.splits)}"
        )
    task = with_labels(task, data)
    if str(data) == TFDS:
        examples = read_tfds(task, split, warn)
    else:
        examples = _read_folder(task, find_folder(task, Path(data)), split, warn)
    if not examples:
        raise UserError(f"{task.name}: its split {split} in {data} has no example; check the file")
    return examples


def with_labels(task: Task, data: str | Path) -> Task:
    """Give the task with its classes: one of the user's own gets those of its training data.

    They are sorted as text. For the classes of a model instead: ``dataclasses.replace(task,
    labels=model.labels)``.

    Args:
        task: any.
        data: as `read_split` takes it.

    Raises:
        UserError: the training data is missing, a label is empty, or there is only one.
    """
    fixed = task.layout != "own" or task.kind == "regression" or str(data) == TFDS
    if task.labels or fixed:
        return task
    return with_own_labels(task, find_folder(task, Path(data)))


def _read_folder(
    task: Task, folder: Path, split: str, warn: Callable[[str], None]
) -> Sequence[Example]:
    if task.layout == "glue":
        return read_glue(task, folder, split, warn)
    if task.layout == "squad":
        return read_squad(task, folder, split, warn)
    if task.layout == "imdb":
        return read_imdb(task, folder, split)
    return read_own(task, folder, split)
