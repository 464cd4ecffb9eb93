"""A table of character replacements, in the form that `tf_text.FastBertNormalizer` takes."""

import struct
from collections.abc import Mapping

import numpy as np

_CHANGED = 1 << 30
_LENGTH_BITS = 6
_DELETED = _CHANGED
"""What stands in the trie for a character that is replaced by nothing."""

_LEAF = 1 << 31
_HAS_LEAF = 1 << 8
_ROOT_CHILDREN = 256
_VALUES = 512


def normalizer_model(replacements: Mapping[int, str]) -> bytes:
    """Make a model that replaces characters, for the argument ``model_buffer``.

    Bytes that are not UTF-8 are deleted, each as long as Python's ``errors="replace"`` takes for
    one mistake.

    Args:
        replacements: code point to at most 63 bytes of text; other characters stay as they are.
    """
    texts = dict.fromkeys(replacements.values())
    pool, data_of = bytearray(), {}
    for text in texts:
        encoded = text.encode("utf-8")
        data_of[text] = _CHANGED | len(pool) << _LENGTH_BITS | len(encoded)
        pool += encoded
    data = np.zeros(0x110000, np.uint32)
    data[np.fromiter(replacements, np.int64, len(replacements))] = np.fromiter(
        map(data_of.get, replacements.values()), np.uint32, len(replacements)
    )
    return _flatbuffer(_double_array(data), int(data[0]), bytes(pool))


def _double_array(data: np.ndarray) -> np.ndarray:
    """Make the trie of all characters' UTF-8, as `darts-clone` lays it out.

    A node is a 32-bit unit: its label (the byte that leads to it), whether it has a value, and
    an offset. The unit's position XOR the offset is its base; base XOR the next byte is a child's
    position, and the base itself is the position of the value. Many nodes may share a base, so
    equal blocks of 64 characters, of which there are many, are stored once.

    A node inside a character has the value "delete": it is found where the character is cut off.
    """
    values = np.unique(np.append(data[data != 0], np.uint32(_DELETED)))
    # By the last byte, the one before it, and (of four bytes) the one before that.
    last, last_ids = _unique_rows(data.reshape(-1, 64))
    middle, middle_ids = _unique_rows(last_ids.reshape(-1, 64))
    # Beyond U+10FFFF nothing is looked up, so anything may stand there.
    first = np.resize(middle_ids, (5, 64))

    start = _VALUES + -(-len(values) // 256) * 256
    bases = start + _bases(len(last) + len(middle) + len(first))
    last_bases, middle_bases, first_bases = np.split(bases, np.cumsum([len(last), len(middle)]))
    units = np.zeros(bases[-1] + 256, np.uint32)
    units[_VALUES : _VALUES + len(values)] = values | _LEAF
    units[bases] = _DELETED | _LEAF

    labels = np.arange(0x80, 0xC0)
    value_positions = _VALUES + np.searchsorted(values, last)
    _put(units, last_bases[:, None] ^ labels, labels, value_positions, last != 0)
    _put(units, middle_bases[:, None] ^ labels, labels, last_bases[middle])
    _put(units, first_bases[:, None] ^ labels, labels, middle_bases[first])

    units[0] = _ROOT_CHILDREN << 10
    labels = np.arange(1, 0x100)
    targets = np.full(0x100, _VALUES + np.searchsorted(values, _DELETED))
    targets[:0x80] = _VALUES + np.searchsorted(values, data[:0x80])
    targets[0xC2:0xE0] = last_bases[last_ids[2:0x20]]
    targets[0xE0:0xF0] = middle_bases[middle_ids[:16]]
    targets[0xF0:0xF5] = first_bases
    present = np.append(data[1:0x80] != 0, np.ones(0x80, bool))
    _put(units, _ROOT_CHILDREN ^ labels, labels, targets[1:], present)
    return units


def _unique_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the distinct rows, and for each row its place among those.

    Ten times as fast as `numpy.unique` along an axis, which sorts.
    """
    places: dict[bytes, int] = {}
    ids = np.array([places.setdefault(row.tobytes(), len(places)) for row in rows])
    return np.frombuffer(b"".join(places), rows.dtype).reshape(-1, rows.shape[1]), ids


def _bases(count: int) -> np.ndarray:
    """Bases whose children, at bytes 0x80 to 0xBF, overlap neither each other nor the bases."""
    numbers = np.arange(count)
    return numbers // 2 * 256 + numbers % 2 * 64


def _put(
    units: np.ndarray,
    positions: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray,
    present: np.ndarray | bool = True,
) -> None:
    offsets = positions ^ targets
    units[positions] = np.where(present, labels | _HAS_LEAF | offsets << 10, 0)


def _flatbuffer(trie: np.ndarray, data_of_zero: int, pool: bytes) -> bytes:
    """Write the table of tf_text's ``fast_bert_normalizer_model.fbs``; all offsets are relative."""
    trie_bytes = trie.astype("<u4").tobytes()
    root, virtual_table = 16, struct.pack("<6H", 12, 16, 0, 4, 8, 12)
    trie_at, pool_at = 32, 32 + 4 + len(trie_bytes)
    table = struct.pack(
        "<iIiI", root - 4, trie_at - (root + 4), data_of_zero, pool_at - (root + 12)
    )
    vectors = struct.pack("<I", len(trie)) + trie_bytes + struct.pack("<I", len(pool)) + pool
    return struct.pack("<I", root) + virtual_table + table + vectors
