"""Files and folders that are there whole or not at all, whenever the machine stops."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from tf_distilbert.errors import explain_write_errors


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file.

    Raises:
        UserError: it cannot be written; the message has the reason.
    """
    partial = path.with_name(path.name + ".partial")
    with explain_write_errors(path):
        partial.write_bytes(content)
        publish(partial, path)


def publish(partial: Path, path: Path) -> None:
    """Give a closed file its final name once its bytes are on the disk."""
    _sync(partial)
    os.replace(partial, path)
    _sync(path.parent)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill; it replaces `path` when the block ends without an error.

    Raises:
        UserError: something cannot be written; what is at `path` then is what was there before.
    """
    partial, old = (path.with_name(path.name + suffix) for suffix in (".partial", ".old"))
    with explain_write_errors(path):
        for leftover in (partial, old):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            yield partial
            for file in partial.iterdir():
                _sync(file)
            if path.exists():
                os.replace(path, old)
            os.replace(partial, path)
            _sync(path.parent)
        except SafetensorError as error:  # it wraps what the system says
            raise OSError(" ".join(str(error).split())) from None
        finally:
            for leftover in (partial, old):
                shutil.rmtree(leftover, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
