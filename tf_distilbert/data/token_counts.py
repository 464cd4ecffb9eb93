"""What a tokenizer makes of a text, counted: each token, and what another one makes of its words.

The text is read block by block, and each block counted by a thread of its own; memory does not grow
with the text.

Dimensions: V vocabulary, N tokens of a block, P its paragraphs.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import tensorflow as tf

from tf_distilbert.data.text import TextBlock, read_blocks
from tf_distilbert.tokenization.tokenizer import Tokenizer

_MAX_WORKERS = 8  # more would hardly be fed by the one reader, but take memory

Counted = TypeVar("Counted")


def count_tokens(text: str | Iterable[str], tokenizer: Tokenizer) -> np.ndarray:
    """Count how often each token occurs in a text.

    Args:
        text: one or several sources; see `read_blocks`. Lines that are not UTF-8 are skipped.
        tokenizer: of V tokens.

    Returns:
        int64 [V]. `Records.token_counts` of the same text also has start and end of each sequence,
        and lacks the sequences that were dropped.

    Raises:
        UserError: a source is missing or no text, or all are empty.
    """
    counts = np.zeros(len(tokenizer.vocabulary), np.int64)

    def count(block: TextBlock) -> np.ndarray:
        token_ids, _ = _tokenize(block, tokenizer)
        return np.bincount(token_ids, minlength=len(counts))

    for found in _over_blocks(text, count):
        counts += found
    return counts


@dataclass(frozen=True)
class Splitting:
    """How two tokenizers, one of which has some of the other's tokens, cut the words of a text.

    Attributes:
        words: of the text, as the larger one finds them: what ``##`` continues, or spaces part.
        changed: those with a token that the smaller one lacks, which cuts them further.
        pieces: tokens of all words, of the larger and of the smaller one.
        unknown: words that are unknown to each.
    """

    words: int
    changed: int
    pieces: tuple[int, int]
    unknown: tuple[int, int]


def compare_splitting(
    text: str | Iterable[str], tokenizer: Tokenizer, trimmed: Tokenizer
) -> Splitting:
    """Count what becomes of the words of a text where some tokens are lost.

    Args:
        text: see `count_tokens`.
        tokenizer: of all tokens.
        trimmed: of some of them; see `trimmed_tokenizer`.

    Raises:
        UserError: as `count_tokens`.
    """
    is_lost = ~np.isin(tokenizer.vocabulary, trimmed.vocabulary)
    begins = _word_beginnings(tokenizer)

    def count(block: TextBlock) -> np.ndarray:
        token_ids, lengths = _tokenize(block, tokenizer)
        is_first = begins[token_ids]
        is_first[(np.cumsum(lengths) - lengths)[lengths > 0]] = True
        firsts = np.flatnonzero(is_first)
        changed = np.logical_or.reduceat(is_lost[token_ids], firsts) if len(firsts) else firsts
        new_ids, _ = _tokenize(block, trimmed)
        unknown = np.sum(token_ids == tokenizer.unknown_id), np.sum(new_ids == trimmed.unknown_id)
        return np.array([len(firsts), changed.sum(), len(token_ids), len(new_ids), *unknown])

    totals = np.zeros(6, np.int64)
    for found in _over_blocks(text, count):
        totals += found
    words, changed, *pieces, unknown_before, unknown_after = totals.tolist()
    return Splitting(words, changed, (pieces[0], pieces[1]), (unknown_before, unknown_after))


def _over_blocks(
    text: str | Iterable[str], count: Callable[[TextBlock], Counted]
) -> Iterator[Counted]:
    """Apply a function to each block of a text, several at a time; give what it gives in order."""
    workers = min(os.cpu_count() or 1, _MAX_WORKERS)
    waiting = deque[Future[Counted]]()
    with ThreadPoolExecutor(workers, thread_name_prefix="count") as pool:
        for block in read_blocks([text] if isinstance(text, str) else list(text)):
            waiting.append(pool.submit(count, block))
            if len(waiting) > workers + 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _tokenize(block: TextBlock, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """Give the ids of a block, int32 [N], and how many each paragraph has, int64 [P]."""
    paragraphs = [paragraph for document in block.documents for paragraph in document]
    with tf.device("CPU"):  # a GPU would only be handed the ids to hand them back
        ragged = tokenizer.tokenize(tf.constant(paragraphs, tf.string))
        return ragged.values.numpy(), ragged.row_lengths().numpy()


def _word_beginnings(tokenizer: Tokenizer) -> np.ndarray:
    """Tell which tokens begin a word: bool [V]."""
    mark = tokenizer.word_start
    return np.array(
        [t.startswith(mark) if mark else not t.startswith("##") for t in tokenizer.vocabulary]
    )
