"""WordPiece as BERT uses it, as a TensorFlow graph.

The ids are those of Hugging Face's fast tokenizer, but for one thing. Where accents are taken off,
that tokenizer also puts combining marks in Unicode's order. Here marks stay as they are written.
It shows only where two marks follow each other that BERT does not take off, in another order than
Unicode's: some of Quranic, Balinese, Javanese and a few rarer scripts, Hangul tones, and music
(``ORDERED_MARKS`` in ``tests/test_word_piece.py`` has all 96).
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from tf_distilbert.tokenization.normalizer import BertCharacters, bert_characters, normalizer_model
from tf_distilbert.tokenization.tokenizer import (
    BERT_TOKENS,
    Tokenizer,
    TokenSpans,
    character_index,
    count_bytes,
    read_vocabulary,
)

_MAX_CHARACTERS = 100
"""A longer word is unknown."""

# BERT deletes control characters from a text, so these mean what we like. They take as many bytes
# as brackets, so that what is marked by them stays in its place.
_OPEN, _CLOSE = "\x01", "\x02"
"""Take the place of the brackets of a special token."""

_LONG = "\x03"
"""Stands behind a word that is too long. No token has it, so the word is unknown."""

_UNREACHABLE = "\x04"
_SPECIAL_PATTERN = rf"\[({'|'.join(token[1:-1] for token in BERT_TOKENS)})\]"
_RESERVED = re.compile("[\x01-\x04\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd]")


@keras.saving.register_keras_serializable("tf_distilbert")
class WordPieceTokenizer(Tokenizer):
    """Text to WordPiece ids, inside or outside a graph.

    Args:
        vocabulary: tokens in the order of their ids, the five special tokens among them.
        lower_case: fold case ("uncased" vocabularies).
        strip_accents: take accents off; by default if `lower_case`.
        split_chinese: make each Chinese character a word.

    Raises:
        ValueError: a special token is missing.

    Source: Devlin et al. 2019, section 3; ids as Hugging Face's ``BertTokenizerFast`` gives them.

    Example:
        >>> tokenizer = WordPieceTokenizer.from_file("vocab.txt", lower_case=True)
        >>> tokenizer.tokenize(["Paris is a city."]).to_list()
        [[3000, 2003, 1037, 2103, 1012]]
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        lower_case: bool = True,
        strip_accents: bool | None = None,
        split_chinese: bool = True,
    ) -> None:
        self.lower_case = lower_case
        self.strip_accents = lower_case if strip_accents is None else strip_accents
        self.split_chinese = split_chinese
        self._arguments = {
            "vocabulary": list(vocabulary),
            "lower_case": lower_case,
            "strip_accents": strip_accents,
            "split_chinese": split_chinese,
        }
        super().__init__(
            vocabulary,
            BERT_TOKENS,
            lower_case=lower_case,
            strip_accents=self.strip_accents,
            split_chinese=split_chinese,
        )
        characters = bert_characters(lower_case, self.strip_accents, split_chinese)
        marks = {ord(_OPEN): f" {_OPEN}", ord(_CLOSE): f"{_CLOSE} "}
        model = np.frombuffer(normalizer_model(characters.replacements | marks), np.uint8)
        self._normalizer = tf_text.FastBertNormalizer(model_buffer=tf.constant(model))
        self._plain, self._long_word = _plain_text(characters), _long_word(characters)
        spellings = _spellings(self.vocabulary, lower_case, characters)
        self._word_piece = tf_text.FastWordpieceTokenizer(
            spellings,
            # In bytes; what counts is the number of characters, which `_long_word` sees to.
            max_bytes_per_word=4 * _MAX_CHARACTERS,
            token_out_type=tf.int32,
            unknown_token=spellings[self.unknown_id],
        )

    @classmethod
    def from_file(cls, path: str | Path, lower_case: bool = True) -> "WordPieceTokenizer":
        """Read a ``vocab.txt``; see `read_vocabulary` for what is refused."""
        return cls(read_vocabulary(path), lower_case)

    def tokenize(self, texts: tf.Tensor | Sequence[str]) -> tf.RaggedTensor:
        """Give each text's ids: string [B] to ragged int32 [B, None]; see `Tokenizer.tokenize`.

        Bytes that are not UTF-8 are left out.
        """
        texts = tf.convert_to_tensor(texts, tf.string)
        unusual = self._unusual(texts)

        def marked() -> tf.Tensor:
            special = _mark_special_tokens(tf.gather_nd(texts, unusual))
            return self._mark_long_words(self._normalizer.normalize(special))

        # The few that are unusual are normalised twice: faster than to copy all texts twice.
        normalized = _update(self._normalizer.normalize(texts), unusual, marked)
        return self._word_piece.tokenize(normalized)

    def tokenize_with_offsets(self, texts: tf.Tensor | Sequence[str]) -> TokenSpans:
        """Give each text's ids, those of `tokenize`, and where in the text each token stands.

        Args:
            texts: string [B]. Where bytes are not UTF-8, a character begins at a text's first
                byte and at each that is not a continuation (``0b10xxxxxx``).

        Example:
            >>> spans = tokenizer.tokenize_with_offsets(["Paris is a city."])
            >>> spans.starts.to_list(), spans.ends.to_list()
            ([[0, 6, 9, 11, 15]], [[5, 8, 10, 15, 16]])
        """
        texts = tf.convert_to_tensor(texts, tf.string)
        unusual = self._unusual(texts)
        marked = _update(texts, unusual, lambda: _mark_special_tokens(tf.gather_nd(texts, unusual)))
        normalized, origins = self._normalizer.normalize_with_offsets(marked)
        words = _update(
            normalized,
            unusual,
            lambda: self._mark_long_words(tf.gather_nd(normalized, unusual)),
        )
        token_ids, starts, ends = self._word_piece.tokenize_with_offsets(words)

        # A token's last byte, not the one after it, whose origin may be further on.
        rows, places = token_ids.value_rowids(), tf.stack([starts.values, ends.values - 1])
        marks = tf.cond(
            tf.size(unusual) > 0,
            lambda: count_bytes(words, lambda byte: byte == ord(_LONG), rows, places),
            lambda: tf.zeros_like(places, tf.int32),
        )
        places += tf.gather(origins.row_starts(), rows) - tf.cast(marks, places.dtype)
        places = character_index(texts, rows, tf.gather(origins.values, places))
        return TokenSpans(
            token_ids, token_ids.with_values(places[0]), token_ids.with_values(places[1] + 1)
        )

    def _unusual(self, texts: tf.Tensor) -> tf.Tensor:
        """Find the texts that may hold special tokens or too long words: rows, int64 [N, 1]."""
        return tf.where(~tf.strings.regex_full_match(texts, self._plain))

    def _mark_long_words(self, normalized: tf.Tensor) -> tf.Tensor:
        return tf.strings.regex_replace(normalized, self._long_word, rf"\0{_LONG}")

    def save(self, folder: Path, max_length: int) -> None:
        """Write ``vocab.txt`` and ``tokenizer_config.json``; see `Tokenizer.save`."""
        (folder / "vocab.txt").write_text("\n".join(self.vocabulary) + "\n", encoding="utf-8")
        self._save_settings(
            folder,
            "BertTokenizer",
            model_max_length=max_length,
            do_lower_case=self.lower_case,
            strip_accents=self.strip_accents,
            tokenize_chinese_chars=self.split_chinese,
        )


def _update(texts: tf.Tensor, rows: tf.Tensor, new: Callable[[], tf.Tensor]) -> tf.Tensor:
    """Put new texts into some rows; mostly there are none."""
    return tf.cond(
        tf.size(rows) > 0,
        lambda: tf.tensor_scatter_nd_update(texts, rows, new()),
        lambda: texts,
    )


def _mark_special_tokens(texts: tf.Tensor) -> tf.Tensor:
    """Mark special tokens so that they become words; every byte keeps its place."""
    # What is written in the text is no mark, but deleted.
    for mark in (_OPEN, _CLOSE):  # One by one, which is faster than a pattern for both.
        texts = tf.strings.regex_replace(texts, mark, _LONG)
    return tf.strings.regex_replace(texts, _SPECIAL_PATTERN, rf"{_OPEN}\1{_CLOSE}")


def _plain_text(characters: BertCharacters) -> str:
    """A pattern of UTF-8 without special tokens and without words that may become too long.

    It is there for speed: one pass over the text finds the few rows that need more.
    """
    growth = max(len(text.replace(" ", "")) for text in characters.replacements.values())
    separators = _class_content(characters)
    letter = rf"[^{separators}\[{_OPEN}{_CLOSE}]"
    word = f"{letter}{{0,{_MAX_CHARACTERS // growth - 1}}}"
    # After brackets a character that begins no special token; it may be the first of a word.
    initials = "".join(sorted({token[1] for token in BERT_TOKENS}))
    bracket = rf"\[+[^\[{initials}{_OPEN}{_CLOSE}]"
    other_separators = separators.replace(r"\x{5b}-", r"\x{5c}-")
    return rf"(?:{word}(?:[{other_separators}]|{bracket}))*{word}\[*"


def _long_word(characters: BertCharacters) -> str:
    return f"[^{_class_content(characters)}]{{{_MAX_CHARACTERS + 1},}}"


def _class_content(characters: BertCharacters) -> str:
    """What ends a word, for a pattern in brackets."""
    ranges = (
        f"\\x{{{ord(first):x}}}-\\x{{{ord(last):x}}}" for first, last in characters.separators
    )
    return " " + "".join(ranges)


def _spellings(
    vocabulary: Sequence[str], lower_case: bool, characters: BertCharacters
) -> list[str]:
    """Write the vocabulary as its tokens look in a text when it is cut into pieces."""
    stand_ins = str.maketrans(characters.stand_ins)
    id_of = {token: token_id for token_id, token in enumerate(vocabulary)}
    spellings = []
    for token_id, token in enumerate(vocabulary):
        if id_of[token] != token_id or _RESERVED.search(token):
            # Of equal tokens the last one counts.
            spelling = f"{_UNREACHABLE}{token_id}"
        elif token in BERT_TOKENS:
            name = token[1:-1]
            spelling = _OPEN + (name.lower() if lower_case else name) + _CLOSE
        else:
            spelling = token if token.isascii() else token.translate(stand_ins)
        spellings.append(spelling)
    return spellings
