"""A ``vocab.txt``: one token a line, the line number is the token's id."""

from collections.abc import Sequence
from pathlib import Path

from tf_distilbert.errors import UserError
from tf_distilbert.tokenization.tokenizer import BERT_TOKENS


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
