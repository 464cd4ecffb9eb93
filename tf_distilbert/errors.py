"""The exceptions that are meant for the user's eyes, and how others become one of them."""

import re
from collections.abc import Iterator
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
