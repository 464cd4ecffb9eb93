"""The files of a folder of records as bytes: shards, their indices, arrays with checksums, damage.

What is read at random is not mapped into memory: where a disk gives no answer, or a file has become
shorter, reading a map kills the process with a signal, while a call can be answered by an error.
"""

import errno
import os
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tf_distilbert.atomic_writes import publish
from tf_distilbert.errors import UserError, explain_write_errors


class ShardFile:
    """An open file; any number of threads may read it.

    Args:
        path: the file. If it cannot be opened, this is known by `error`, and by every `read`.

    Attributes:
        num_bytes: its size when it was opened, 0 if it could not be.
        error: why it could not be opened, else None.

    Raises:
        UserError: the process has too many files open, for which the file is not to blame.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = -1
        self.num_bytes, self.error = 0, None
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
            self.num_bytes = os.fstat(self._descriptor).st_size
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise UserError(
                    f"{path}: too many files are open; allow more with `ulimit -n`"
                ) from None
            self.error = error

    def read(self, offset: int, num_bytes: int) -> bytes:
        """Read from `offset` on; less than `num_bytes` where the file ends before.

        Raises:
            OSError: it cannot be read.
        """
        if self.error is not None:
            raise self.error
        return os.pread(self._descriptor, num_bytes, offset)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


INDEX_DTYPE = np.dtype([("offset", "<u8"), ("length", "<u4"), ("crc32", "<u4")])

HEADER_BYTES, FOOTER_BYTES = 12, 4
"""Of the framing of a TFRecord: length and its CRC; CRC of the data."""

_KEY = b"\x0a\x09token_ids\x12"


def index_of_shard(path: Path, item_bytes: int) -> np.ndarray:
    """Make the index of a whole shard again.

    Nothing is checked here: of a damaged shard it comes out wrong or short, so compare the
    checksum of what this gives with the one that the lost index had.

    Args:
        path: the ``.tfrecord``.
        item_bytes: of an id on disk.

    Returns:
        `INDEX_DTYPE` [n].

    Raises:
        OSError: the shard cannot be read.
    """
    content, entries, position = path.read_bytes(), [], 0
    while position < len(content):
        start = position + HEADER_BYTES
        end = start + int.from_bytes(content[position : position + 8], "little")
        # After the key come three nested messages, each a length, and then the ids to the end.
        offset = content.find(_KEY, start, end) + len(_KEY)
        offset = _after_number(content, offset)
        offset = _after_number(content, offset + 1)
        offset = _after_number(content, offset + 1)
        if not start < offset <= end <= len(content):
            break
        payload = content[offset:end]
        entries.append((offset, len(payload) // item_bytes, zlib.crc32(payload)))
        position = end + FOOTER_BYTES
    return np.array(entries, INDEX_DTYPE)


def _after_number(content: bytes, offset: int) -> int:
    """Step over a number of protocol buffers: its last byte is the first without the high bit."""
    while offset < len(content) and content[offset] & 0x80:
        offset += 1
    return offset + 1


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


class DamagedSequence(NamedTuple):
    """A sequence whose bytes on disk are not the ones that were written.

    Attributes:
        path: the shard.
        record: its number in the shard, from 0.
        offset: the byte in the shard at which its ids begin.
        reason: what is wrong.
    """

    path: Path
    record: int
    offset: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: record {self.record} at byte {self.offset} is damaged ({self.reason})"


class DamagedSequences:
    """Each damaged sequence once, in the order of finding; any thread may add or read."""

    def __init__(self) -> None:
        self._found: list[DamagedSequence] = []
        self._known: set[tuple[Path, int]] = set()
        self._lock = threading.Lock()

    def add(self, damaged: DamagedSequence) -> None:
        """Note a sequence, unless it is known."""
        with self._lock:
            if damaged[:2] not in self._known:
                self._known.add(damaged[:2])
                self._found.append(damaged)

    def since(self, number: int) -> list[DamagedSequence]:
        """Give those that were found after the first `number` ones."""
        return self._found[number:]

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[DamagedSequence]:
        return iter(self.since(0))
