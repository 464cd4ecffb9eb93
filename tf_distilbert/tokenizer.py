"""WordPiece as BERT uses it, as a TensorFlow graph: the only file that knows the special tokens."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
import tensorflow_text as tf_text

from tf_distilbert.errors import UserError

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SPECIAL_TOKEN = re.compile(f"({'|'.join(map(re.escape, SPECIAL_TOKENS))})")


def read_vocabulary(path: str | Path) -> list[str]:
    """Read a ``vocab.txt``: one token a line, the line number is the token's id.

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
    tokens = text.removesuffix("\n").replace("\r\n", "\n").split("\n")
    check_vocabulary(tokens, path)
    return tokens


def check_vocabulary(tokens: Sequence[str], path: Path) -> None:
    """See that the special tokens are there.

    Raises:
        UserError: names those that are missing, and the file.
    """
    missing = [token for token in SPECIAL_TOKENS if token not in tokens]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; a BERT vocabulary needs them all")


def special_ids(vocabulary: Sequence[str]) -> tuple[int, ...]:
    """Give the ids of [PAD], [UNK], [CLS], [SEP], [MASK], in that order."""
    return tuple(vocabulary.index(token) for token in SPECIAL_TOKENS)


def vocabulary_sha256(vocabulary: Sequence[str]) -> str:
    """The fingerprint by which shards, teacher and student know that they share a vocabulary."""
    return hashlib.sha256("\n".join(vocabulary).encode("utf-8")).hexdigest()


class Tokenizer(tf.Module):
    """Text to WordPiece ids, inside or outside a graph.

    Args:
        vocabulary: tokens in the order of their ids, the five special tokens among them.
        lower_case: fold case and strip accents first ("uncased" vocabularies).

    Example:
        >>> tokenizer = Tokenizer.from_file("vocab.txt", lower_case=True)
        >>> tokenizer.tokenize(["Paris is a city."]).to_list()
        [[3000, 2003, 1037, 2103, 1012]]
    """

    def __init__(self, vocabulary: Sequence[str], lower_case: bool = True) -> None:
        super().__init__(name="tokenizer")
        self.vocabulary = tuple(vocabulary)
        self.lower_case = lower_case
        self.special_ids = special_ids(self.vocabulary)
        self.pad_id, self.unknown_id, self.start_id, self.end_id, self.mask_id = self.special_ids
        self.sha256 = vocabulary_sha256(self.vocabulary)
        self._word_piece = tf_text.FastBertTokenizer(
            vocab=list(self.vocabulary),
            token_out_type=tf.int32,
            unknown_token="[UNK]",
            lower_case_nfd_strip_accents=lower_case,
        )

    @classmethod
    def from_file(cls, path: str | Path, lower_case: bool = True) -> "Tokenizer":
        """Read a ``vocab.txt``; see `read_vocabulary` for what is refused."""
        return cls(read_vocabulary(path), lower_case)

    def tokenize(self, texts: tf.Tensor | Sequence[str]) -> tf.RaggedTensor:
        """Give each text's word pieces, no special tokens: string [B] to ragged int32 [B, None]."""
        return self._word_piece.tokenize(texts)

    def encode(self, text: str) -> list[int]:
        """Tokenise one text as a model takes it, special tokens written in it included.

        Example:
            >>> tokenizer.encode("Paris is in [MASK].")
            [101, 3000, 2003, 1999, 103, 1012, 102]
        """
        parts = _SPECIAL_TOKEN.split(text)  # at odd places, the special tokens between the texts
        pieces = self.tokenize(parts).to_list()
        pieces[1::2] = [[self.vocabulary.index(token)] for token in parts[1::2]]
        return [self.start_id, *(token for piece in pieces for token in piece), self.end_id]
