"""What BERT's own tokenizer makes of each character, said so that TensorFlow does the same.

Hugging Face's BERT tokenizer cleans, folds and splits text by its own tables of Unicode;
`tf_text.FastWordpieceTokenizer` splits by those of ICU. Here both libraries are asked about every
character, and the answer is a replacement for each one that they do not treat alike. It takes a
third of a second; a table written down would be long, and would hide what a new version of
either library changes.
"""

from collections.abc import Iterable, Sequence
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
