"""A block of documents to sequences of whole sentences: tokenised, packed, wrapped.

A teacher and a student learn most from full sequences of connected text, so the sentences of a
document are packed greedily: a sequence takes sentences until the next one would not fit.
Sentences are found in the token ids, by punctuation, because text is tokenised by the paragraph
and offsets into it would cost more than the tokeniser itself. So "3.14" counts as two sentences;
that only matters where a sequence happens to end in it.

What it leaves out: overlapping sequences, and separators between documents when sequences may
cross them.
"""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_distilbert.data.shards import EncodedBlock
from tf_distilbert.data.text import TextBlock
from tf_distilbert.tokenization.tokenizer import Tokenizer

_OTHER, _SENTENCE_END, _CLOSING, _QUOTE = range(4)
_MARKS = {
    _SENTENCE_END: ".?!\u3002\uff01\uff1f",  # the last three: ideographic and full-width
    _CLOSING: ")]}\u201d\u2019\u00bb\u300d\u300f\uff09\u3011",  # brackets, quotes; then full-width
    _QUOTE: '"',  # opens and closes; which one, its number within the paragraph tells
}

MIN_TOKENS = 12
"""Sequences shorter than this, special tokens included, are dropped."""

MAX_UNKNOWN_FRACTION = 0.5
"""Sequences with this share of [UNK] or more, special tokens included, are dropped."""


def mark_kinds(surface_forms: Sequence[str], *, with_spaces: bool = False) -> np.ndarray:
    """What each token of the vocabulary does to a sentence, for `pack_documents`.

    Args:
        surface_forms: what each token looks like in a text.
        with_spaces: whether tokens that begin a word begin with its space, as in byte-level BPE.

    Returns:
        uint8 [vocabulary_size]: ordinary token, sentence end, closing mark or straight quote.
    """
    kind_of = {mark: kind for kind, marks in _MARKS.items() for mark in marks}
    if with_spaces:  # then a straight quote tells by itself whether it closes
        kind_of |= {'"': _CLOSING, ' "': _OTHER}

    def kind(token: str) -> int:
        if token in kind_of:
            return kind_of[token]
        marks = token.strip()  # several, such as `."`, are one token in byte-level BPE
        ends = any(kind_of.get(mark) == _SENTENCE_END for mark in marks)
        return _SENTENCE_END if ends and kind_of.keys() >= set(marks) else _OTHER

    return np.array([kind(token) for token in surface_forms], np.uint8)


def sentence_boundaries(
    token_ids: np.ndarray, paragraph_lengths: np.ndarray, kinds: np.ndarray
) -> np.ndarray:
    """Where a sequence may end: after each paragraph and each sentence.

    A sentence ends after a run of sentence ends and the closing marks that follow it, so that
    neither ``...`` nor ``.")`` is torn. A straight quote closes if it is the second, fourth, ...
    of its paragraph.

    Args:
        token_ids: int32 [num_tokens], all paragraphs one after another.
        paragraph_lengths: tokens of each paragraph, int64 [num_paragraphs]; their sum is
            num_tokens.
        kinds: from `mark_kinds`.

    Returns:
        Ascending positions, int64: a boundary b lies between the tokens b - 1 and b.
    """
    paragraph_lengths = paragraph_lengths[paragraph_lengths > 0]
    ends = np.cumsum(paragraph_lengths)
    starts = ends - paragraph_lengths
    kind = kinds[token_ids]
    is_quote = kind == _QUOTE
    num_quotes = np.cumsum(is_quote)
    num_earlier = num_quotes[starts] - is_quote[starts]  # in the paragraphs before
    is_even = (num_quotes - np.repeat(num_earlier, paragraph_lengths)) % 2 == 0
    is_closing = (kind == _CLOSING) | (is_quote & is_even)
    is_closing[starts] = False  # nothing before it that it could close
    # The token that decides over a run of closing marks is the last one before the run.
    deciding = np.maximum.accumulate(np.where(is_closing, 0, np.arange(len(token_ids))))
    is_end = kind == _SENTENCE_END
    is_boundary = is_end[deciding]
    is_boundary[:-1] &= ~(is_end | is_closing)[1:]
    is_boundary[ends - 1] = True
    return np.flatnonzero(is_boundary) + 1


def pack_documents(
    token_ids: np.ndarray,
    paragraph_lengths: np.ndarray,
    document_lengths: np.ndarray,
    *,
    kinds: np.ndarray,
    capacity: int,
    cross_documents: bool = False,
) -> np.ndarray:
    """Cut documents into pieces of whole sentences, each as long as it can be.

    A piece starts where the one before ended and ends at the last boundary within ``capacity``
    tokens; a sentence longer than that is cut at the capacity. For example, one document whose
    two paragraphs have sentences of 3 and 4, and of 2, 12 and 1 tokens, with a capacity of 9::

        boundaries at                      3, 7, 9, 21, 22
        from 0, at most to 9:  ends at 9   sentences of 3, 4 and 2 tokens
        from 9, at most to 18: ends at 18  no boundary: the sentence of 12 is cut
        from 18, at most to 27: ends at 22 the rest of it and the sentence of 1 token

    Args:
        token_ids: int32 [num_tokens], without special tokens.
        paragraph_lengths: tokens of each paragraph, int64 [num_paragraphs].
        document_lengths: paragraphs of each document, int64 [num_documents].
        kinds: from `mark_kinds`.
        capacity: the most tokens of a piece: the sequence length less [CLS] and [SEP].
        cross_documents: let a piece run on into the next document.

    Returns:
        First and last-plus-one token of each piece, int64 [num_pieces, 2].
    """
    if len(token_ids) == 0:
        return np.empty((0, 2), np.int64)
    boundaries = [0, *sentence_boundaries(token_ids, paragraph_lengths, kinds).tolist()]
    paragraph_ends = np.cumsum(paragraph_lengths)
    document_ends = paragraph_ends[np.cumsum(document_lengths) - 1]
    if cross_documents:
        document_ends = document_ends[-1:]
    pieces = []
    start = 0
    for document_end in document_ends.tolist():
        while start < document_end:
            limit = start + capacity
            end = boundaries[bisect_right(boundaries, min(limit, document_end)) - 1]
            if end <= start:
                end = limit
            pieces.append((start, end))
            start = end
    return np.array(pieces, np.int64)


def drop_useless(
    token_ids: np.ndarray, pieces: np.ndarray, unknown_id: int
) -> tuple[np.ndarray, dict[str, int]]:
    """Leave out pieces that are too short to learn from or mostly unknown.

    Args:
        token_ids: int32 [num_tokens].
        pieces: from `pack_documents`, int64 [num_pieces, 2].
        unknown_id: id of [UNK].

    Returns:
        The pieces that stay, int64 [num_kept, 2], and how many were dropped because they are
        ``"short"`` (`MIN_TOKENS`) or, of the others, ``"unknown"`` (`MAX_UNKNOWN_FRACTION`).
    """
    starts, ends = pieces.T
    is_short = ends - starts + 2 < MIN_TOKENS
    is_unknown = ~is_short & mostly_unknown(token_ids, pieces, unknown_id)
    dropped = {"short": int(is_short.sum()), "unknown": int(is_unknown.sum())}
    return pieces[~(is_short | is_unknown)], dropped


def mostly_unknown(token_ids: np.ndarray, pieces: np.ndarray, unknown_id: int) -> np.ndarray:
    """Tell which pieces are mostly [UNK] (`MAX_UNKNOWN_FRACTION`): bool [num_pieces].

    Args:
        token_ids: int32 [num_tokens].
        pieces: first and last-plus-one token of each, int64 [num_pieces, 2].
        unknown_id: id of [UNK].
    """
    num_unknown = np.concatenate([[0], np.cumsum(token_ids == unknown_id)])
    starts, ends = pieces.T
    return (num_unknown[ends] - num_unknown[starts]) / (ends - starts + 2) >= MAX_UNKNOWN_FRACTION


def wrap_pieces(
    token_ids: np.ndarray, pieces: np.ndarray, start_id: int, end_id: int
) -> tuple[np.ndarray, np.ndarray]:
    """Put [CLS] before and [SEP] after each piece.

    Returns:
        All sequences one after another, int32 [sum(lengths)], and their lengths with the special
        tokens, int64 [num_pieces].
    """
    lengths = pieces[:, 1] - pieces[:, 0] + 2
    result = np.empty(lengths.sum(), np.int32)
    ends = np.cumsum(lengths)
    result[ends - lengths] = start_id
    result[ends - 1] = end_id
    for (start, end), stop in zip(pieces.tolist(), ends.tolist(), strict=True):
        result[stop - 1 - (end - start) : stop - 1] = token_ids[start:end]
    return result, lengths


class BlockEncoder:
    """Turns one block of text into sequences; called from several threads at once.

    Args:
        tokenizer: cuts the text into ids.
        sequence_length: most tokens of a sequence, [CLS] and [SEP] included.
        cross_documents: let a sequence run on into the next document of its block.
    """

    def __init__(self, tokenizer: Tokenizer, sequence_length: int, cross_documents: bool) -> None:
        self._tokenizer = tokenizer
        self._kinds = mark_kinds(
            tokenizer.surface_forms, with_spaces=tokenizer.word_start is not None
        )
        self._capacity = sequence_length - 2
        self._cross_documents = cross_documents

    def __call__(self, block: TextBlock) -> EncodedBlock:
        """Tokenise a block and pack its documents."""
        paragraphs = [paragraph for document in block.documents for paragraph in document]
        with tf.device("CPU"):  # a GPU would only be handed the ids to hand them back
            ragged = self._tokenizer.tokenize(tf.constant(paragraphs, tf.string))
            token_ids, paragraph_lengths = ragged.values.numpy(), ragged.row_lengths().numpy()
        pieces = pack_documents(
            token_ids,
            paragraph_lengths,
            np.array([len(document) for document in block.documents], np.int64),
            kinds=self._kinds,
            capacity=self._capacity,
            cross_documents=self._cross_documents,
        )
        tokenizer = self._tokenizer
        pieces, num_dropped = drop_useless(token_ids, pieces, tokenizer.unknown_id)
        return EncodedBlock(
            *wrap_pieces(token_ids, pieces, tokenizer.start_id, tokenizer.end_id),
            num_dropped=num_dropped,
            num_lines=block.num_lines,
            num_invalid_lines=block.num_invalid_lines,
            num_text_bytes=block.num_bytes,
            num_source_bytes=block.num_source_bytes,
        )
