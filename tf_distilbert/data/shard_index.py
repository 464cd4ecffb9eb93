"""Where each sequence of a shard is: written beside the shard, or read off the shard itself."""

import zlib
from pathlib import Path

import numpy as np

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
