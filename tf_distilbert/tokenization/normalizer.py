"""What BERT's own tokenizer makes of each character, said so that TensorFlow does the same.

Hugging Face's BERT tokenizer cleans, folds and splits text by its own tables of Unicode;
`tf_text.FastWordpieceTokenizer` splits by those of ICU. Here both libraries are asked about every
character, and the answer is a replacement for each one that they do not treat alike. It takes a
third of a second; a table written down would be long, and would hide what a new version of
either library changes.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import NamedTuple

import numpy as np
import tensorflow_text as tf_text
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

_CODE_POINTS = (
    range(0x16A0),
    range(0x16A1, 0xD800),
    range(0xE000, 0x34000),
    range(0xE0000, 0xE1000),
)
"""All that may be assigned, but for the separator. Nothing happens to the others."""

_PRIVATE = (*range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE))
"""BERT deletes these, and those of U+E000 to U+F8FF."""

_SEPARATOR = "\u16a0"
"""A letter (a rune) that no other character turns into and that no setting changes."""

_CHUNK = 256
"""Characters at a time; the libraries are slower on long strings."""

_LONG_RANGE = 256


class BertCharacters(NamedTuple):
    """How to rewrite text so that tf_text splits it into BERT's words.

    Attributes:
        replacements: code point to the text that takes its place.
        stand_ins: characters that tf_text would make words of their own and BERT does not, to the
            private-use characters that take their place, also in the vocabulary. BERT deletes
            private-use characters from a text, so they are free for this.
        separators: ranges of those characters that are words of their own after the replacement
            without spaces around them.
    """

    replacements: dict[int, str]
    stand_ins: dict[str, str]
    separators: list[tuple[str, str]]


@cache
def bert_characters(lower_case: bool, strip_accents: bool, split_chinese: bool) -> BertCharacters:
    """Ask the libraries; see `WordPieceTokenizer` for the arguments."""
    normalizer = BertNormalizer(
        clean_text=True,
        handle_chinese_chars=split_chinese,
        strip_accents=strip_accents,
        lowercase=lower_case,
    )
    results, spaced, changed = _normalize(normalizer)
    isolated_by_bert = _isolated_by_bert(results) | spaced
    isolated_by_tf = _isolated_by_tf(results)

    # Not strict: there are more free characters than are needed.
    foreign = sorted(isolated_by_tf - isolated_by_bert)
    stand_ins = dict(zip(foreign, map(chr, _PRIVATE), strict=False))
    separators = [
        (first, last)
        for first, last in _ranges(isolated_by_tf & isolated_by_bert)
        if last < "\x80" or ord(last) - ord(first) >= _LONG_RANGE
    ]
    bare = {chr(c) for first, last in separators for c in range(ord(first), ord(last) + 1)}
    table = {ord(character): f" {character} " for character in isolated_by_bert - bare}
    table |= {ord(character): stand_in for character, stand_in in stand_ins.items()}
    replacements = dict.fromkeys(_PRIVATE, "") | table
    for character, text in changed.items():
        replacements[ord(character)] = text if text.isascii() else text.translate(table)
    return BertCharacters(replacements, stand_ins, separators)


def _normalize(normalizer: BertNormalizer) -> tuple[list[str], set[str], dict[str, str]]:
    """Normalise every character by itself.

    Returns:
        All characters that come out, those of them that come out with spaces around them, and
        what comes of those to which something else happens.
    """
    results: list[str] = []
    spaced: set[str] = set()
    changed = {}
    for chunk in _chunks(list(map(chr, chain(*_CODE_POINTS)))):
        text = normalizer.normalize_str(_SEPARATOR.join(chunk))
        # Most chunks are of one kind, which saves looking at the characters one by one.
        if text == _SEPARATOR.join(chunk):
            results += chunk
        elif text == f" {f' {_SEPARATOR} '.join(chunk)} ":
            results += chunk
            spaced.update(chunk)
        else:
            for character, result in zip(chunk, text.split(_SEPARATOR), strict=True):
                if result == f" {character} ":
                    spaced.add(character)
                elif result != character:
                    changed[character] = result
                    continue
                results.append(character)
    results += set().union(*changed.values()).difference(results, " ")
    return results, spaced, changed


def _isolated_by_bert(characters: Sequence[str]) -> set[str]:
    pre_tokenizer, isolated = BertPreTokenizer(), set()
    for chunk in _chunks(characters):
        pieces = pre_tokenizer.pre_tokenize_str("a" + "a".join(chunk))
        isolated |= {piece for piece, _ in pieces if len(piece) == 1 and piece != "a"}
    return isolated


def _isolated_by_tf(characters: Sequence[str]) -> set[str]:
    tokenizer = tf_text.FastWordpieceTokenizer(["[UNK]", "a", _SEPARATOR])
    end = f" {_SEPARATOR} "
    text = [f"a{f'{end}a'.join(chunk)}{end}" for chunk in _chunks(characters)]
    ids = tokenizer.tokenize(text).values.numpy()
    # A letter and the character are one unknown word, or two.
    lengths = np.diff(np.flatnonzero(ids == 2), prepend=-1)
    return {characters[place] for place in np.flatnonzero(lengths == 3).tolist()}


def _chunks(characters: Sequence[str]) -> list[Sequence[str]]:
    return [characters[i : i + _CHUNK] for i in range(0, len(characters), _CHUNK)]


def _ranges(characters: Iterable[str]) -> list[tuple[str, str]]:
    """The characters as the first and last of each unbroken run."""
    ranges: list[tuple[str, str]] = []
    for character in sorted(characters):
        if ranges and ord(ranges[-1][1]) + 1 == ord(character):
            ranges[-1] = (ranges[-1][0], character)
        else:
            ranges.append((character, character))
    return ranges


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
