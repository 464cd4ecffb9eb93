"""Japanese BERT's tokenizer: MeCab finds the words, WordPiece cuts them.

MeCab needs a dictionary and runs in Python, so this tokenizer is not part of TensorFlow graphs.
"""

import importlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import keras
import tensorflow as tf
import tensorflow_text as tf_text

from tf_distilbert.errors import UserError
from tf_distilbert.tokenization.tokenizer import BERT_TOKENS, Tokenizer

DICTIONARIES = ("unidic_lite", "ipadic", "unidic")
"""Packages with a dictionary for MeCab; a model works with the one that it was trained with."""

MAX_WORD_LENGTH = 100
"""Longer words, in characters, are unknown."""

_SPECIAL_TOKEN = re.compile(f"({'|'.join(map(re.escape, BERT_TOKENS))})")


@keras.saving.register_keras_serializable("tf_distilbert")
class JapaneseTokenizer(Tokenizer):
    """Text to ids as `transformers`' ``BertJapaneseTokenizer`` with MeCab and WordPiece.

    Args:
        vocabulary: tokens in the order of their ids, BERT's five special tokens among them.
        dictionary: one of `DICTIONARIES`, an installed package.
        options: further options for MeCab, as on its command line.
        lower_case: fold the case of Latin letters.
        normalize: bring characters to one form (NFKC) first.

    Raises:
        UserError: MeCab or the dictionary is not installed.

    Example:
        >>> tokenizer = JapaneseTokenizer(read_vocabulary("vocab.txt"), dictionary="ipadic")
        >>> [tokenizer.vocabulary[i] for i in tokenizer.tokenize(["猫が好きだ。"]).values]
        ['猫', 'が', '好き', 'だ', '。']
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        dictionary: str = DICTIONARIES[0],
        options: str = "",
        lower_case: bool = False,
        normalize: bool = True,
    ) -> None:
        settings: dict[str, Any] = {
            "dictionary": dictionary,
            "options": options,
            "lower_case": lower_case,
            "normalize": normalize,
        }
        self._arguments = {"vocabulary": list(vocabulary), **settings}
        super().__init__(vocabulary, BERT_TOKENS, **settings)
        self._mecab = _open_mecab(dictionary, options)
        self._lock = Lock()  # `prepare` tokenises in several threads, MeCab keeps one state
        self._word_piece = tf_text.FastWordpieceTokenizer(
            list(self.vocabulary),
            max_bytes_per_word=4 * MAX_WORD_LENGTH,
            token_out_type=tf.int32,
            unknown_token=BERT_TOKENS.unknown,
            no_pretokenization=True,
        )

    def tokenize(self, texts: tf.Tensor | Sequence[str]) -> tf.RaggedTensor:
        """Give each text's ids: string [B] to ragged int32 [B, None]; see `Tokenizer.tokenize`.

        Outside graphs only. What is not UTF-8 is read as U+FFFD.
        """
        texts = tf.convert_to_tensor(texts, tf.string).numpy().tolist()
        words = [list(self._split(text.decode("utf-8", errors="replace"))) for text in texts]
        flat = tf.constant([word for text in words for word in text], tf.string)
        ids = tf.RaggedTensor.from_row_lengths(
            self._word_piece.tokenize(flat), tf.constant([len(text) for text in words], tf.int64)
        )
        return ids.merge_dims(1, 2)

    def _split(self, text: str) -> Iterator[str]:
        """Words, and special tokens where they are written."""
        for part in _SPECIAL_TOKEN.split(text):
            if part in BERT_TOKENS:
                yield part
                continue
            if self.settings["normalize"]:
                part = unicodedata.normalize("NFKC", part)
            with self._lock:
                surfaces = [node.surface for node in self._mecab(part)]
            for surface in surfaces:
                surface = surface.lower() if self.settings["lower_case"] else surface
                for word in surface.split():
                    yield word if len(word) <= MAX_WORD_LENGTH else BERT_TOKENS.unknown

    def save(self, folder: Path, max_length: int) -> None:
        """Write ``vocab.txt`` and ``tokenizer_config.json``; see `Tokenizer.save`."""
        (folder / "vocab.txt").write_text("\n".join(self.vocabulary) + "\n", encoding="utf-8")
        self._save_settings(
            folder,
            "BertJapaneseTokenizer",
            model_max_length=max_length,
            do_lower_case=self.settings["lower_case"],
            word_tokenizer_type="mecab",
            subword_tokenizer_type="wordpiece",
            mecab_kwargs={
                "mecab_dic": self.settings["dictionary"],
                "mecab_option": self.settings["options"],
                "normalize_text": self.settings["normalize"],
            },
        )


def _open_mecab(dictionary: str, options: str) -> Any:
    if dictionary not in DICTIONARIES:
        raise UserError(f"MeCab dictionary {dictionary!r}: use one of {', '.join(DICTIONARIES)}")
    try:
        import fugashi

        folder = importlib.import_module(dictionary).DICDIR
    except ModuleNotFoundError as error:
        package = (error.name or dictionary).replace("_", "-")
        wanted = package if package == "unidic" else "'tf_distilbert[japanese]'"
        raise UserError(
            f"Japanese text needs the package {package}, which is not installed: "
            f"pip install {wanted}"
        ) from None
    if not Path(folder).is_dir():
        raise UserError(
            f"the dictionary of {dictionary} is missing: python -m {dictionary} download"
        )
    try:
        return fugashi.GenericTagger(f'-d "{folder}" -r "{folder}/mecabrc" {options}')
    except RuntimeError:
        raise UserError(f"MeCab refuses its options {options!r}; see mecab_option") from None
