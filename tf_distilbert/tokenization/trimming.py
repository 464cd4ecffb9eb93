"""A tokenizer of fewer tokens: those it must have, how common each is, and the new tokenizer.

A word whose tokens are all kept is cut as before. Any other is cut further, by the same rules, into
tokens that are kept: WordPiece takes the longest that fits, byte-level BPE merges as far as its
merges go.

BPE finds a token only by its merges: ``th`` + ``e`` makes ``the``, ``t`` + ``h`` made ``th``. So
the two parts of a kept token are kept, too, and theirs.

Source: Abdaoui et al. 2020, "Load What You Need: Smaller Versions of Multilingual BERT", which cuts
WordPiece vocabularies; BPE as in Sennrich et al. 2016.
"""

import itertools
from collections.abc import Iterable

import numpy as np

from tf_distilbert.errors import UserError
from tf_distilbert.tokenization.byte_pair import BytePairTokenizer
from tf_distilbert.tokenization.tokenizer import Tokenizer

_CONTINUES = "##"


def least_kept(tokenizer: Tokenizer) -> list[int]:
    """List the tokens that no trimmed vocabulary lacks.

    They are the special tokens and the single characters, of WordPiece also those that go on with a
    word (``##a``), of byte-level BPE the symbols of the 256 bytes. Of byte-level BPE also all up to
    the padding, whose id must stay: a RoBERTa's positions begin after it.

    Returns:
        Ids in ascending order.
    """
    continues = "" if tokenizer.word_start else _CONTINUES
    kept = {i for i, t in enumerate(tokenizer.vocabulary) if len(t.removeprefix(continues)) == 1}
    if isinstance(tokenizer, BytePairTokenizer):
        kept.update(range(tokenizer.pad_id))
    return sorted(kept.union(tokenizer.special_ids))


def counts_with_parts(tokenizer: Tokenizer, counts: np.ndarray) -> np.ndarray:
    """Count a token as often as the commonest that cannot be had without it.

    Args:
        tokenizer: of V tokens.
        counts: how often each occurs, int64 [V].

    Returns:
        int64 [V]. Of byte-level BPE no part of a token counts less than the token: if ``the``
        occurs 5 times, so does ``th``. Of WordPiece, whose tokens have no parts, the counts.
    """
    found = np.array(counts, np.int64)
    parts = _parts(tokenizer, range(len(found)))
    # A part is shorter than what is made of it, so it comes later.
    for token in sorted(parts, key=lambda i: -len(tokenizer.vocabulary[i])):
        for part in parts[token]:
            found[part] = max(found[part], found[token])
    return found


def trimmed_tokenizer(tokenizer: Tokenizer, kept_ids: Iterable[int]) -> Tokenizer:
    """Make a tokenizer of the same kind and settings with some of the tokens alone.

    Args:
        tokenizer: whose tokens are kept or lost.
        kept_ids: those that are kept, at least `least_kept`, and the parts of each.

    Returns:
        The tokenizer. The kept tokens have the ids 0, 1, 2, ... in the order of the old ones.

    Raises:
        UserError: an id is none of the vocabulary, or one that is needed is not among them.

    Example:
        >>> trimmed = trimmed_tokenizer(tokenizer, kept_ids)
        >>> trimmed.vocabulary == tuple(tokenizer.vocabulary[i] for i in kept_ids)
        True
    """
    kept = sorted(set(map(int, kept_ids)))
    _check(tokenizer, kept)
    vocabulary = [tokenizer.vocabulary[i] for i in kept]
    arguments = tokenizer.get_config()
    if not isinstance(tokenizer, BytePairTokenizer):
        return tokenizer.from_config(arguments | {"vocabulary": vocabulary})
    ids = {token: i for i, token in enumerate(vocabulary)}
    merges = [pair for pair in tokenizer.merges if ids.keys() >= {*pair, "".join(pair)}]
    return tokenizer.from_config(arguments | {"vocabulary": ids, "merges": merges})


def _check(tokenizer: Tokenizer, kept: list[int]) -> None:
    """Refuse ids that make no tokenizer."""
    size = len(tokenizer.vocabulary)
    outside = [i for i in kept if not 0 <= i < size]
    if outside:
        raise UserError(f"kept_ids has {outside[0]}; the vocabulary has the ids 0 to {size - 1}")
    needed = dict.fromkeys(least_kept(tokenizer), "which every vocabulary needs")
    for token, parts in _parts(tokenizer, kept).items():
        needed |= dict.fromkeys(parts, f"of which {tokenizer.vocabulary[token]!r} is made")
    lost = sorted(needed.keys() - set(kept))
    if lost:
        name = tokenizer.vocabulary[lost[0]]
        raise UserError(f"kept_ids lacks {lost[0]}, {name!r}, {needed[lost[0]]}; add it")


def _parts(tokenizer: Tokenizer, ids: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Give the two parts that the last merge of each token joins.

    Returns:
        Nothing of WordPiece, of single characters, and of tokens that no merges lead to.
    """
    if not isinstance(tokenizer, BytePairTokenizer):
        return {}
    ranks = {pair: rank for rank, pair in enumerate(tokenizer.merges)}
    id_of = {token: i for i, token in enumerate(tokenizer.vocabulary)}
    found = {i: _last_merge(tokenizer.vocabulary[i], ranks) for i in ids}
    return {i: (id_of[pair[0]], id_of[pair[1]]) for i, pair in found.items() if pair}


def _last_merge(token: str, ranks: dict[tuple[str, str], int]) -> tuple[str, str] | None:
    """Merge a token's characters as BPE does, until two symbols are left.

    What BPE does within a longer word is the same: there, nothing was merged across the ends of
    what became this token.
    """
    symbols = list(token)
    while len(symbols) > 1:
        pairs = list(itertools.pairwise(symbols))
        pair = min(pairs, key=lambda each: ranks.get(each, len(ranks)))
        if pair not in ranks:
            return None
        if len(symbols) == 2:
            return pair
        first = pairs.index(pair)
        symbols[first : first + 2] = ["".join(pair)]
    return None
