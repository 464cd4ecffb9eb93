"""What the students of a comparison are called, in its tables and in its folders."""

import os
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from tf_distilbert.errors import UserError

TEACHER = "teacher"
"""The teacher's own name; it comes first in every table."""

_ALONE = "student"


def name_students(given: Sequence[str]) -> dict[str, str]:
    """Name students: as it is written, else by their own folders.

    A single folder without a name is ``student``. Of several, each is called by its folder, the
    ``model`` of a run by the run, with as many parents as it takes to tell them apart.

    Args:
        given: of each student the folder, ``hf://...``, or ``NAME=FOLDER``. A name has no slash:
            ``./a=b`` is a folder.

    Returns:
        Name to folder, in order.

    Raises:
        UserError: two have one name, or a folder without a name is given twice.

    Example:
        >>> name_students(["half depth=runs/a/model", "runs/third/model"])
        {'half depth': 'runs/a/model', 'third': 'runs/third/model'}
    """
    split = [_name_and_folder(word) for word in given]
    written = [name for name, _ in split if name]
    if twice := [name for name in written if written.count(name) > 1]:
        raise UserError(f"two students have the name {twice[0]}; give one of them another")
    if len(split) == 1:
        [(name, folder)] = split
        return {name or _ALONE: folder}
    unnamed = [folder for name, folder in split if not name]
    names = iter(_own_names(unnamed, written))
    return {name or next(names): folder for name, folder in split}


def check_names(students: Iterable[str], taken: Collection[str]) -> None:
    """See that every student can have a row and a folder of its name.

    Args:
        students: their names.
        taken: names of what else is in the table.

    Raises:
        UserError: a name is another's, or cannot be that of a folder or of a table's row.
    """
    folders = {folder_name(other): other for other in taken}
    for name in students:
        if not re.fullmatch(r"\w[\w .,+=()-]*", name) or name != name.strip():
            raise UserError(
                f"the student's name {name!r}: use letters, digits, spaces and . , + = ( ) - _ "
                "alone; NAME=DIR gives it one"
            )
        other = folders.setdefault(folder_name(name), name)
        if name in taken or other != name:
            raise UserError(
                f"the student's name {name!r} is that of another row, {other!r}; NAME=DIR gives it "
                "another one"
            )


def folder_name(model: str) -> str:
    """Give the name of the folder that what is known of a model is remembered in."""
    return model.replace(" ", "-")


def _name_and_folder(word: str) -> tuple[str, str]:
    name, separator, folder = word.partition("=")
    if not separator or "/" in name:
        return "", word
    if not name or not folder:
        raise UserError(f"the student {word!r}: write NAME=DIR, or the folder alone")
    return name, folder


def _own_names(folders: Sequence[str], taken: Collection[str]) -> list[str]:
    parts = [_parts(folder) for folder in folders]
    for one, folder in zip(parts, folders, strict=True):
        if parts.count(one) > 1:
            raise UserError(f"the student {folder} is given twice; leave one out")

    def name(own: tuple[str, ...]) -> str:
        for length in range(1, len(own) + 1):
            found = "-".join(own[-length:])
            alike = [other for other in parts if other[-length:] == own[-length:]]
            if len(alike) == 1 and found not in taken:
                break
        return found

    return [name(own) for own in parts]


def _parts(folder: str) -> tuple[str, ...]:
    """Give the folders that a folder is in and its own name; of a run's model the run's."""
    _, is_hub, name = folder.partition("://")
    path = Path(name.partition("@")[0]) if is_hub else Path(os.path.abspath(folder))
    parts = tuple(part for part in path.parts if part != path.anchor)
    return parts[:-1] if parts[-1:] == ("model",) and len(parts) > 1 else parts
