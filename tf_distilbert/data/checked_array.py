"""One-dimensional arrays on disk whose checksums are kept in another file."""

import zlib
from pathlib import Path

import numpy as np

from tf_distilbert.atomic_writes import publish
from tf_distilbert.errors import UserError, explain_write_errors


def write_array(path: Path, array: np.ndarray) -> int:
    """Write ``array`` as ``.npy``, whole or not at all, and give its checksum.

    Raises:
        UserError: it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    with explain_write_errors(path):
        with open(partial, "wb") as file:
            np.save(file, array)
        publish(partial, path)
    return checksum(array)


def read_array(path: Path, dtype: np.dtype | type, size: int, crc32: int) -> np.ndarray:
    """Read what `write_array` wrote, of which all but the values is known.

    Args:
        path: the file.
        dtype, size: of the array.
        crc32: what `write_array` gave.

    Raises:
        UserError: the file is missing, or does not hold that array.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: missing; remove {path.parent} and prepare again") from None
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"{path}: cannot be read ({reason}); remove {path.parent} and prepare again"
        ) from None
    # What stands before the values only describes them; damage there does no harm.
    values = content[max(0, len(content) - size * np.dtype(dtype).itemsize) :]
    if zlib.crc32(values) != crc32:
        raise UserError(
            f"{path}: broken (its checksum differs); remove {path.parent} and prepare again"
        )
    return np.frombuffer(values, dtype)


def checksum(array: np.ndarray) -> int:
    """The CRC-32 of an array's values."""
    return zlib.crc32(array.tobytes())
