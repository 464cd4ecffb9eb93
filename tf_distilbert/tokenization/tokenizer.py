"""What all tokenizers share: special tokens, a vocabulary, ids, and where each token stands."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import tensorflow as tf

from tf_distilbert.errors import UserError


class TokenSpans(NamedTuple):
    """Tokens and the pieces of text they were made of.

    Attributes:
        token_ids: ragged int32 [B, None].
        starts: ragged int32 [B, None], a token's first character, counted from the text's
            beginning. Characters are Unicode code points, as Python counts them.
        ends: ragged int32 [B, None], the character after the token's last, so that the piece of
            text is ``text[start:end]``.
    """

    token_ids: tf.RaggedTensor
    starts: tf.RaggedTensor
    ends: tf.RaggedTensor


class SpecialTokens(NamedTuple):
    """The five tokens that stand for no text, as they are written in a vocabulary.

    Attributes:
        pad: fills up a row.
        unknown: what the vocabulary cannot spell.
        start: begins a sequence.
        end: ends a sequence, and separates a pair of texts.
        mask: hides a token that is to be predicted.
    """

    pad: str
    unknown: str
    start: str
    end: str
    mask: str


BERT_TOKENS = SpecialTokens("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA_TOKENS = SpecialTokens("<pad>", "<unk>", "<s>", "</s>", "<mask>")


class Tokenizer:
    """Cuts text into the ids of a vocabulary. The base of all; see the subclasses.

    Args:
        vocabulary: tokens in the order of their ids, the special tokens among them.
        special_tokens: which those are.
        settings: everything else that decides into which ids a text is cut; JSON can write it.

    Attributes:
        vocabulary: as given, a tuple.
        special_tokens: as given.
        settings: as given, and the ``kind`` of tokenizer.
        special_ids: their ids, in the order of `SpecialTokens`; also one by one as `pad_id`,
            `unknown_id`, `start_id`, `end_id` and `mask_id`.
        sha256: the fingerprint by which records, teacher and student know that they agree on what
            an id means and how text becomes ids.
        word_start: the character that begins a token that begins a word; None where instead, as
            in WordPiece, ``##`` begins a token that does not.
    """

    word_start: str | None = None
    _arguments: dict[str, Any]
    """What a subclass was made with, by name: its tables are made anew wherever it is read."""

    def __init__(
        self, vocabulary: Sequence[str], special_tokens: SpecialTokens, **settings: Any
    ) -> None:
        self.vocabulary = tuple(vocabulary)
        self.special_tokens = special_tokens
        self.special_ids = tuple(map(self.vocabulary.index, special_tokens))
        self.pad_id, self.unknown_id, self.start_id, self.end_id, self.mask_id = self.special_ids
        self.settings = {"kind": type(self).__name__.removesuffix("Tokenizer"), **settings}
        self.sha256 = _fingerprint(self.vocabulary, self.settings)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments by name; JSON can write them.

        Example:
            >>> config = keras.saving.serialize_keras_object(tokenizer)
            >>> again = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
        """
        return dict(self._arguments)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make a tokenizer of what `get_config` gave."""
        return cls(**config)

    def __reduce__(self) -> tuple[Callable[..., "Tokenizer"], tuple[dict[str, Any]]]:
        return type(self).from_config, (self.get_config(),)

    @property
    def surface_forms(self) -> tuple[str, ...]:
        """What each token of the vocabulary looks like in a text."""
        return self.vocabulary

    def tokenize(self, texts: tf.Tensor | Sequence[str]) -> tf.RaggedTensor:
        """Give each text's ids: string [B] to ragged int32 [B, None].

        Special tokens that are written in a text become their ids; none are added.
        """
        raise AssertionError("a subclass cuts the text")

    def tokenize_with_offsets(self, texts: tf.Tensor | Sequence[str]) -> TokenSpans:
        """Give each text's ids and which characters each is made of: string [B] to `TokenSpans`.

        Raises:
            UserError: this kind of tokenizer does not tell.
        """
        raise UserError(
            f"a {type(self).__name__} does not tell where in a text its tokens stand, which "
            "question answering and token classification need"
        )

    def encode(self, text: str) -> list[int]:
        """Tokenise one text as a model takes it, between start and end.

        Example:
            >>> tokenizer.encode("Paris is in [MASK].")
            [101, 3000, 2003, 1999, 103, 1012, 102]
        """
        return [self.start_id, *self.tokenize([text]).values.numpy().tolist(), self.end_id]

    def save(self, folder: Path, max_length: int) -> None:
        """Write the files by which `transformers` and `read_tokenizer` make this tokenizer again.

        Args:
            folder: a model folder.
            max_length: the model's, written along.
        """
        raise AssertionError("a subclass knows its files")

    def _save_settings(self, folder: Path, tokenizer_class: str, **settings: Any) -> None:
        names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
        tokens = dict(zip(names, self.special_tokens, strict=True))
        content = {"tokenizer_class": tokenizer_class, **tokens, **settings}
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _fingerprint(vocabulary: Sequence[str], settings: Mapping[str, Any]) -> str:
    content = json.dumps([vocabulary, settings], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8")).hexdigest()


def character_index(texts: tf.Tensor, rows: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Give the number of the character that holds a byte, from 0.

    Each byte begins a character but those that go on with one in UTF-8. If a text begins in the
    midst of a character, that is its first one.

    Args:
        texts: string [B].
        rows: integer [N], a text for each place.
        places: integer [..., N], a byte of that text.

    Returns:
        int32 [..., N].
    """
    # Of the two highest bits a continuation has the first only.
    return count_bytes(texts, lambda byte: (byte & 0xC0) != 0x80, rows, places)


def count_bytes(
    texts: tf.Tensor,
    counts: Callable[[tf.Tensor], tf.Tensor],
    rows: tf.Tensor,
    places: tf.Tensor,
) -> tf.Tensor:
    """Count the bytes of one kind in a text, from its second byte up to and with a place.

    Args:
        texts: string [B].
        counts: uint8 to bool: which bytes are of that kind.
        rows: integer [N], a text for each place.
        places: integer [..., N], a byte of that text.

    Returns:
        int32 [..., N].
    """
    # All texts as one: the work goes by bytes, whatever the number of texts and places.
    text_bytes = tf.io.decode_raw(tf.strings.reduce_join(texts), tf.uint8)
    totals = tf.cumsum(tf.cast(counts(text_bytes), tf.int32))
    beginnings = tf.cumsum(tf.strings.length(texts), exclusive=True)
    beginnings = tf.gather(tf.cast(beginnings, places.dtype), rows)
    return tf.gather(totals, beginnings + places) - tf.gather(totals, beginnings)


def read_vocabulary(path: str | Path) -> list[str]:
    """Read a ``vocab.txt``.

    Raises:
        UserError: the file is missing, not UTF-8, or lacks one of BERT's special tokens.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such vocabulary file; make one with `tf-distilbert vocab`"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; a vocabulary has one token a line") from None
    # Not splitlines(): real vocabularies hold tokens such as U+2028, which it takes for a line end.
    tokens = text.removesuffix("\n").split("\n")
    check_vocabulary(tokens, path)
    return tokens


def check_vocabulary(tokens: Sequence[str], path: Path) -> None:
    """See that BERT's special tokens are there, once.

    Raises:
        UserError: names those that are missing or there twice, and the file.
    """
    missing = [token for token in BERT_TOKENS if token not in tokens]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; a BERT vocabulary needs them all")
    repeated = [token for token in BERT_TOKENS if list(tokens).count(token) > 1]
    if repeated:
        raise UserError(f"{path}: has {repeated[0]} twice; leave the one whose id the model knows")
