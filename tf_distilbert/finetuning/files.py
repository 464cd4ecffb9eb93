"""The files of a task: where they lie, and their lines, plain or packed."""

import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.tasks import Task

PACKED = (".gz", ".xz")
"""Endings of files that are unpacked while they are read."""


def unpacked_name(path: Path) -> str:
    """Give a file's name without the ending that says how it is packed."""
    return path.stem if path.suffix in PACKED else path.name


def is_text(text: str) -> bool:
    """Whether UTF-8 can write a string; JSON can also spell halves of characters."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""Give the lines of a UTF-8 file with their numbers, from 1.

    A line ends with a newline and nothing else (a ``\r`` before it goes too): GLUE's files have
    other characters of that kind inside their lines. A byte-order mark is left out.

    Args:
        path: of a file; `PACKED` ones are unpacked.

    Raises:
        UserError: it is missing, damaged or cannot be read, or a line is not UTF-8.
    """
    openers: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}
    opener = openers.get(path.suffix, open)
    try:
        with opener(path, "rb") as file:
            for number, line in enumerate(file, 1):
                yield number, _decoded(line, number, path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the path") from None
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise UserError(
            f"{path}: truncated or damaged {path.suffix} file ({error}); fetch or pack it again"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def _decoded(line: bytes, number: int, path: Path) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: line {number} is not UTF-8 (byte {error.start + 1} of it); convert the file"
        ) from None
    return (text.removeprefix("\ufeff") if number == 1 else text).removesuffix("\n").rstrip("\r")


_NUM_LISTED = 12


def find_folder(task: Task, data: Path) -> Path:
    """Give the folder of a task's files: its own one below ``data``, else ``data`` itself.

    Raises:
        UserError: ``data`` is no folder.
    """
    if not data.is_dir():
        raise UserError(
            f"{data}: no such folder; name the folder of the data of {task.name}"
            f"{_where_to_get(task)}"
        )
    below = [data / name for name in task.folders if (data / name).is_dir()]
    return below[0] if below else data


def find_file(task: Task, folder: Path, names: Sequence[str]) -> Path:
    """Give the file of a folder that has one of the names, packed or not.

    Args:
        task: whose file it is.
        folder: to look in; see `find_folder`.
        names: in the order in which they are preferred.

    Raises:
        UserError: there is none; the message lists what there is, and where one gets the data.
    """
    for name in names:
        for ending in ("", *PACKED):
            if (path := folder / f"{name}{ending}").is_file():
                return path
    file = " or ".join(names)
    wanted = f"no {file}"
    if folder.name not in task.folders:  # it may be the one above, too
        wanted = f"neither {file} nor a folder {' or '.join(f'{n}/' for n in task.folders)}"
    raise UserError(f"{folder}: has {wanted}; there {_listing(folder)}{_where_to_get(task)}")


_SOURCES = {
    "glue": "GLUE is at https://gluebenchmark.com/tasks",
    "squad": "SQuAD is at https://rajpurkar.github.io/SQuAD-explorer",
    "imdb": "it is at https://ai.stanford.edu/~amaas/data/sentiment",
}


def _where_to_get(task: Task) -> str:
    if task.layout not in _SOURCES:
        return ""
    return f"; {_SOURCES[task.layout]}, and --data tfds downloads it"


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
