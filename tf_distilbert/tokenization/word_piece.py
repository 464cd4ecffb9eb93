"""WordPiece as BERT uses it, as a TensorFlow graph.

The ids are those of Hugging Face's fast tokenizer, but for one thing. Where accents are taken off,
that tokenizer also puts combining marks in Unicode's order. Here marks stay as they are written.
It shows only where two marks follow each other that BERT does not take off, in another order than
Unicode's: some of Quranic, Balinese, Javanese and a few rarer scripts, Hangul tones, and music
(``ORDERED_MARKS`` in ``tests/test_word_piece.py`` has all 96).
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from tf_distilbert.tokenization.bert_characters import BertCharacters, bert_characters
from tf_distilbert.tokenization.normalizer_model import normalizer_model
from tf_distilbert.tokenization.tokenizer import BERT_TOKENS, Tokenizer
from tf_distilbert.tokenization.vocabulary_file import read_vocabulary

_MAX_CHARACTERS = 100
"""A longer word is unknown."""

# BERT deletes private-use characters from a text, so these mean what we like.
_SPECIAL, _UNKNOWN = "\ue000", "\ue001"
_UNREACHABLE = "\ue002"
_SPECIAL_PATTERN = rf"\[({'|'.join(token[1:-1] for token in BERT_TOKENS)})\]"
_RESERVED = re.compile("[\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd]")


class WordPieceTokenizer(Tokenizer):
    """Text to WordPiece ids, inside or outside a graph.

    Args:
        vocabulary: tokens in the order of their ids, the five special tokens among them.
        lower_case: fold case ("uncased" vocabularies).
        strip_accents: take accents off; by default if `lower_case`.
        split_chinese: make each Chinese character a word.

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
        super().__init__(
            vocabulary,
            BERT_TOKENS,
            lower_case=lower_case,
            strip_accents=self.strip_accents,
            split_chinese=split_chinese,
        )
        characters = bert_characters(lower_case, self.strip_accents, split_chinese)
        kept = {
            code: text for code, text in characters.replacements.items() if code != ord(_SPECIAL)
        }
        model = np.frombuffer(normalizer_model(kept), np.uint8)
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
        normalized = self._normalizer.normalize(texts)
        rows = tf.where(~tf.strings.regex_full_match(texts, self._plain))
        normalized = tf.cond(
            tf.size(rows) > 0,
            lambda: tf.tensor_scatter_nd_update(
                normalized, rows, self._normalize_unusual(tf.gather_nd(texts, rows))
            ),
            lambda: normalized,
        )
        return self._word_piece.tokenize(normalized)

    def _normalize_unusual(self, texts: tf.Tensor) -> tf.Tensor:
        """Normalise texts that may hold special tokens or words that are too long."""
        # So that what the next line puts in is not in the text yet; both would be deleted.
        texts = tf.strings.regex_replace(texts, _SPECIAL, _UNKNOWN)
        texts = tf.strings.regex_replace(texts, _SPECIAL_PATTERN, rf" {_SPECIAL}\1 ")
        texts = self._normalizer.normalize(texts)
        return tf.strings.regex_replace(texts, self._long_word, _UNKNOWN)

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


def _plain_text(characters: BertCharacters) -> str:
    """A pattern of UTF-8 without special tokens and without words that may become too long.

    It is there for speed: one pass over the text finds the few rows that need more.
    """
    growth = max(len(text.replace(" ", "")) for text in characters.replacements.values())
    separators = _class_content(characters)
    letter = rf"[^{separators}\[{_SPECIAL}]"
    word = f"{letter}{{0,{_MAX_CHARACTERS // growth - 1}}}"
    # After brackets a character that begins no special token; it may be the first of a word.
    initials = "".join(sorted({token[1] for token in BERT_TOKENS}))
    bracket = rf"\[+[^\[{initials}{_SPECIAL}]"
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
            spelling = _SPECIAL + (name.lower() if lower_case else name)
        else:
            spelling = token if token.isascii() else token.translate(stand_ins)
        spellings.append(spelling)
    return spellings
