"""The exceptions that are meant for the user's eyes, and how others become one of them."""

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(ValueError):
    """A mistake that the user can mend: a bad path, key, value or file.

    The message is one line. It names the thing, says what is wrong with it and how to mend it.
    The command line prints it without a traceback and exits with code 2; in a Python program it
    is an ordinary ``ValueError``.
    """


class NotFiniteError(UserError):
    """A model has lost its numbers: a loss, a gradient or an output is infinite or none."""


class Interrupted(Exception):
    """A run was asked to stop by a signal; everything that it did is saved.

    Args:
        message: one line that says where it stopped and how to go on.
        signal: the signal's number.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Find the name that somebody meant who wrote another: ``lerning_rate``, ``lr``, ``steps``.

    Args:
        name: what was written.
        known: what there is; a dot in a name stands before its last part: ``train.steps``.

    Returns:
        The known name whose last part is that of the name, or ends with it; else the one that is
        spelled nearly alike, has the name as its initials, or is within it. None if there is none.

    Example:
        >>> nearest("lr", ["train.learning_rate", "train.steps"])
        'train.learning_rate'
    """
    known = list(known)
    parents, _, last = name.rpartition(".")
    last = last.replace("-", "_")
    ends = {each: each.rpartition(".")[2].replace("-", "_") for each in known}
    alike = [each for each in known if each.count(".") == name.count(".")]
    close = difflib.get_close_matches(name, alike, 1, cutoff=0.75)
    for matches in (
        lambda each, end: end == last,
        lambda each, end: f"_{end}".endswith(f"_{last}"),
        lambda each, end: each in close,
        lambda each, end: "_" in end and "".join(word[:1] for word in end.split("_")) == last,
        lambda each, end: difflib.SequenceMatcher(None, last, end).ratio() >= 0.75,
        lambda each, end: len(end) > 3 and (end in last or (len(last) > 3 and last in end)),
    ):
        found = [each for each, end in ends.items() if matches(each, end)]
        if found:  # of several the one with the same parents, or else the least nested
            return min(
                found, key=lambda each: (each.rpartition(".")[0] != parents, each.count("."))
            )
    return None


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError from writing at ``path`` into a UserError with the path and the reason."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"{path}: cannot be written ({reason}); make room or choose another place and run the "
            "command again"
        ) from None


@contextmanager
def reveal_user_errors() -> Iterator[None]:
    """Raise a UserError that TensorFlow has wrapped as itself.

    It wraps what is raised in the thread that reads data, and what a graph checks as it runs.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        found = re.search(r"UserError: (.*?)\]?$", str(error), re.MULTILINE)
        if not found or not type(error).__module__.startswith("tensorflow"):
            raise
        raise UserError(found[1]) from None


@contextmanager
def explain_missing(extra: str) -> Iterator[None]:
    """Turn an ImportError into a UserError that names the extra to install."""
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"{error.name or error}: is not installed; run `pip install 'tf_distilbert[{extra}]'`"
        ) from None
