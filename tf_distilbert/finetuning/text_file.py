"""Lines of a text file, plain or packed, with their numbers for messages."""

import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tf_distilbert.errors import UserError

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
