"""Learn a WordPiece vocabulary from text, with the `tokenizers` library.

The library folds case and splits words as `tokenizer.Tokenizer` does, so the pieces it learns are
the ones that will be found. It numbers the continuations (``##a``, ``##b``, ...) in the order of
a hash table, and breaks ties between equally frequent pieces by these numbers; left alone it
learns another vocabulary in every run. So a first pass collects the continuations, and the
second is given them, sorted, as if they were special tokens, which are numbered first.

What it leaves out: unused slots for later tokens, and learning in bounded memory (the library
keeps every distinct word with its count).
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import BertWordPieceTokenizer

from tf_distilbert.data.shards import write_atomically
from tf_distilbert.data.text import read_blocks
from tf_distilbert.errors import UserError
from tf_distilbert.tokenizer import SPECIAL_TOKENS

MIN_ALPHABET = 1000


def learn_vocabulary(
    sources: Sequence[str], size: int, output: str | Path, *, lower_case: bool = True
) -> list[str]:
    """Learn word pieces and write them to a new file, one token a line.

    The same text gives the same vocabulary. Characters beyond the most frequent 1000 (or an
    eighth of the size, if that is more) become [UNK], and so do pieces seen only once.

    Args:
        sources: see `text.read_blocks`; lines that are not UTF-8 are skipped.
        size: tokens to learn, the five special tokens included. Text with too few words gives
            fewer, and a warning on stderr.
        output: path of the ``vocab.txt``; must not exist.
        lower_case: fold case and strip accents first.

    Returns:
        The tokens in the order of their ids: [PAD], [UNK], [CLS], [SEP], [MASK], then the pieces.

    Raises:
        UserError: the output exists or cannot be written, the sources are at fault, or the size
            does not even hold the characters of the text.
    """
    output = Path(output)
    if output.exists():
        raise UserError(f"{output}: exists already; choose another path or remove it")
    if not output.parent.is_dir():
        raise UserError(f"{output.parent}: no such folder; make it first")
    smallest = _train(sources, len(SPECIAL_TOKENS), size, [], lower_case)
    if size < len(smallest):
        num_pieces = len(smallest) - len(SPECIAL_TOKENS)
        raise UserError(
            f"size: {size} is too small: {len(SPECIAL_TOKENS)} special tokens and the {num_pieces} "
            f"single characters of this text need {len(smallest)}; give a larger size"
        )
    continuations = sorted(token for token in smallest if token.startswith("##") and token != "##")
    vocabulary = _train(sources, size, size, continuations, lower_case)
    write_atomically(output, ("\n".join(vocabulary) + "\n").encode("utf-8"))
    if len(vocabulary) < size:
        print(
            f"{output}: only {len(vocabulary):,} of {size:,} tokens; the text has no more pieces "
            "that occur twice. Give more text for more tokens.",
            file=sys.stderr,
        )
    return vocabulary


def _train(
    sources: Sequence[str], size: int, final_size: int, first_pieces: list[str], lower_case: bool
) -> list[str]:
    """One pass of the library; a size too small for the alphabet gives just the alphabet."""
    learner = BertWordPieceTokenizer(lowercase=lower_case, strip_accents=lower_case)
    learner.train_from_iterator(
        _texts(sources),
        vocab_size=size,
        limit_alphabet=max(MIN_ALPHABET, final_size // 8),
        special_tokens=[*SPECIAL_TOKENS, *first_pieces],
        show_progress=False,
    )
    ids = learner.get_vocab()
    return sorted(ids, key=ids.__getitem__)


def _texts(sources: Sequence[str]) -> Iterator[list[str]]:
    for block in read_blocks(sources):
        yield [line.decode("utf-8") for document in block.documents for line in document]
