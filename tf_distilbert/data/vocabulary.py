"""Learn a WordPiece vocabulary from text, with the `tokenizers` library.

The library folds case and splits words as `WordPieceTokenizer` does, so the pieces it learns are
the ones that will be found. Left alone it learns another vocabulary in every run, because the
order of a hash table decides between equally frequent pieces in two places; so three passes are
made over the text:

1. Count the characters; those too rare for the vocabulary are read as spaces from here on. (Of
   equally rare ones the library would drop any.)
2. Collect the continuations ``##a``, ``##b``, ... (The library numbers them in any order, and
   breaks all later ties by number.)
3. Learn, with the continuations, sorted, given as if they were special tokens: those are
   numbered first.

What it leaves out: unused slots for later tokens, and learning in bounded memory (the library
keeps every distinct word with its count).
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import BertWordPieceTokenizer

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.data.text import read_blocks
from tf_distilbert.errors import UserError
from tf_distilbert.tokenization.tokenizer import BERT_TOKENS

MIN_ALPHABET = 1000
"""This many characters are kept at least; or an eighth of the vocabulary, if that is more."""


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
    learner = BertWordPieceTokenizer(lowercase=lower_case, strip_accents=lower_case)
    rare = _find_rare_characters(sources, learner, max(MIN_ALPHABET, size // 8))
    smallest = _train(learner, _texts(sources, rare), len(BERT_TOKENS), [])
    if size < len(smallest):
        num_pieces = len(smallest) - len(BERT_TOKENS)
        raise UserError(
            f"size: {size} is too small: {len(BERT_TOKENS)} special tokens and {num_pieces} "
            f"pieces of one character in this text need {len(smallest)}; give a larger size"
        )
    continuations = sorted(token for token in smallest if token.startswith("##") and token != "##")
    vocabulary = _train(learner, _texts(sources, rare), size, continuations)
    write_atomically(output, ("\n".join(vocabulary) + "\n").encode("utf-8"))
    counts = [(block.num_invalid_lines, block.num_lines) for block in read_blocks(sources)]
    num_invalid_lines, num_lines = map(sum, zip(*counts, strict=True))
    if num_invalid_lines:
        print(
            f"{num_invalid_lines:,} of {num_lines:,} lines are not UTF-8 and were skipped",
            file=sys.stderr,
        )
    if len(vocabulary) < size:
        print(
            f"{output}: only {len(vocabulary):,} of {size:,} tokens; the text has no more pieces "
            "that occur twice. Give more text for more tokens.",
            file=sys.stderr,
        )
    return vocabulary


def _find_rare_characters(
    sources: Sequence[str], learner: BertWordPieceTokenizer, limit: int
) -> re.Pattern[str] | None:
    """A pattern for the characters that are not among the ``limit`` most frequent, if any are.

    What counts is how often a character occurs after normalisation (case, accents), which is
    cheaper to work out for each distinct character than for the text.
    """
    counts: Counter[str] = Counter()
    for texts in _texts(sources, None):
        for text in texts:
            counts.update(text)
    normal_forms = {character: learner.normalize(character).strip() for character in counts}
    normal_counts: Counter[str] = Counter()
    for character, form in normal_forms.items():
        for part in form:
            normal_counts[part] += counts[character]
    by_count = sorted(normal_counts, key=lambda character: (-normal_counts[character], character))
    kept = set(by_count[:limit])
    rare = [character for character, form in normal_forms.items() if not kept.issuperset(form)]
    return re.compile(f"[{re.escape(''.join(rare))}]") if rare else None


def _train(
    learner: BertWordPieceTokenizer, texts: Iterator[list[str]], size: int, first_pieces: list[str]
) -> list[str]:
    """One pass of the library; a size too small for the alphabet gives just the alphabet."""
    learner.train_from_iterator(
        texts,
        vocab_size=size,
        limit_alphabet=sys.maxunicode,  # the rare characters are out already
        special_tokens=[*BERT_TOKENS, *first_pieces],
        show_progress=False,
    )
    ids = learner.get_vocab(with_added_tokens=False)
    return sorted(ids, key=ids.__getitem__)


def _texts(sources: Sequence[str], rare: re.Pattern[str] | None) -> Iterator[list[str]]:
    """The paragraphs of each block, without rare characters."""
    for block in read_blocks(sources):
        lines = [line.decode("utf-8") for document in block.documents for line in document]
        yield [rare.sub(" ", line) for line in lines] if rare else lines
