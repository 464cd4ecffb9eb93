"""Where in a folder of data the file of a split lies."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.task_table import Task
from tf_distilbert.finetuning.text_file import PACKED

_NUM_LISTED = 12


def find_folder(task: Task, data: Path) -> Path:
    """Give the folder of a task's files: its own one below ``data``, else ``data`` itself.

    Raises:
        UserError: ``data`` is no folder.
    """
    if not data.is_dir():
        raise UserError(f"{data}: no such folder; name the folder of the data of {task.name}")
    below = [data / name for name in task.folders if (data / name).is_dir()]
    return below[0] if below else data


def find_file(folder: Path, names: Sequence[str]) -> Path:
    """Give the file of a folder that has one of the names, packed or not.

    Args:
        folder: to look in.
        names: in the order in which they are preferred.

    Raises:
        UserError: there is none; the message lists what there is.
    """
    for name in names:
        for ending in ("", *PACKED):
            if (path := folder / f"{name}{ending}").is_file():
                return path
    raise UserError(f"{folder}: has no {' or '.join(names)}; there {_listing(folder)}")


def find_only_file(folder: Path, stems: Sequence[str], endings: Sequence[str]) -> Path:
    """Give the one file whose name is one of the stems with one of the endings, packed or not.

    Raises:
        UserError: there is none (the message lists what there is) or more than one.
    """
    names = map("".join, product(stems, endings, ("", *PACKED)))
    found = [path for name in names if (path := folder / name).is_file()]
    if not found:
        wanted = f"{' or '.join(stems)} with one of {' '.join(endings)}"
        raise UserError(f"{folder}: has no file {wanted}; there {_listing(folder)}")
    if len(found) > 1:
        several = " and ".join(path.name for path in found)
        raise UserError(f"{folder}: has {several}; leave one of them")
    return found[0]


def _listing(folder: Path) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    if not names:
        return "is nothing"
    rest = f" and {len(names) - _NUM_LISTED} more" if len(names) > _NUM_LISTED else ""
    return f"{'are' if len(names) > 1 else 'is'} {', '.join(names[:_NUM_LISTED])}{rest}"
