"""Rows of tokens as a model takes them, cut from texts of any length.

Dimensions: B texts, W windows, S tokens of the longest window.
"""

from typing import NamedTuple

import tensorflow as tf

from tf_distilbert.serving.served_model import SPECIAL_TOKENS, ServedModel, separators


class TokenWindows(NamedTuple):
    """What a model takes, and where each piece comes from. All tensors are int32 but the last two.

    Attributes:
        inputs: ``token_ids``, ``padding_mask`` and, if the model takes them, ``segment_ids``:
            int32 [W, S].
        texts: [W], the text that a window is of; windows of a text follow each other.
        starts: [W], the place of the window's first body token among the text's.
        body: [W], the column of that token.
        shown: bool [W, S], true at body tokens.
        owned: bool [W, S], true at the body tokens that this window answers for: of the windows
            that a token is in, the one that shows most of what is around it.
    """

    inputs: dict[str, tf.Tensor]
    texts: tf.Tensor
    starts: tf.Tensor
    body: tf.Tensor
    shown: tf.Tensor
    owned: tf.Tensor


def cut_into_windows(
    model: ServedModel,
    texts: tf.RaggedTensor,
    prefixes: tf.RaggedTensor | None = None,
    overlap: int | tf.Tensor | None = None,
    length: int | None = None,
) -> TokenWindows:
    """Put texts between start and end tokens, in one window each or in as many as it takes.

    The rows of every request, and of every example that is learnt from, are cut here.

    Args:
        model: says how long a window may be.
        texts: int32 [B, None], the body tokens.
        prefixes: int32 [B, None], tokens that come first in every window of a text, as the first
            of a pair: a question. There must be room beside them.
        overlap: tokens that a window shares with the next one, which begins one token later at
            least: a number, or int32 [B]. None: what does not fit into the first window is cut off.
        length: the number of columns; by default as many as the longest window has tokens.
    """
    counts = tf.cast(texts.row_lengths(), tf.int32)
    between = separators(model.family) if prefixes is not None else 0
    before = tf.zeros_like(counts)
    if prefixes is not None:
        before = tf.cast(prefixes.row_lengths(), tf.int32) + between
    room = model.max_length - SPECIAL_TOKENS - before
    if overlap is None:
        windows = tf.ones_like(counts)
        stride = tf.zeros_like(counts)
    else:
        stride = tf.maximum(room - overlap, 1)
        windows = 1 + tf.maximum(0, -(-(counts - room) // stride))
    own = tf.repeat(tf.range(tf.size(counts)), windows)
    number = tf.range(tf.size(own)) - tf.gather(tf.cumsum(windows, exclusive=True), own)
    starts = number * tf.gather(stride, own)
    lengths = tf.minimum(tf.gather(room, own), tf.gather(counts, own) - starts)
    body = 1 + tf.gather(before, own)
    total = body + lengths + 1

    columns = tf.range(length or tf.reduce_max(tf.concat([total, [SPECIAL_TOKENS]], 0)))[None]
    place = columns - body[:, None]
    in_body = (place >= 0) & (place < lengths[:, None])
    is_end = columns == body[:, None] + lengths[:, None]
    tokenizer = model.tokenizer
    token_ids = _pick(texts, own, starts[:, None] + place, in_body)
    token_ids = tf.where(is_end, tokenizer.end_id, token_ids)
    if prefixes is not None:
        in_prefix = (columns >= 1) & (columns < body[:, None] - between)
        is_separator = (columns >= body[:, None] - between) & (columns < body[:, None])
        token_ids = tf.where(in_prefix, _pick(prefixes, own, columns - 1, in_prefix), token_ids)
        token_ids = tf.where(is_separator, tokenizer.end_id, token_ids)
    token_ids = tf.where(columns == 0, tokenizer.start_id, token_ids)
    real = columns < total[:, None]
    inputs = {
        "token_ids": tf.where(real, token_ids, tokenizer.pad_id),
        "padding_mask": tf.cast(real, tf.int32),
    }
    if model.segments:
        second = real & (place >= 0) if prefixes is not None else tf.zeros_like(real)
        inputs["segment_ids"] = tf.cast(second, tf.int32)
    owned = in_body
    if overlap is not None:
        owned = _with_most_context(texts, own, starts, lengths, place, in_body)
    return TokenWindows(inputs, own, starts, body, in_body, owned)


def _with_most_context(
    texts: tf.RaggedTensor,
    own: tf.Tensor,
    starts: tf.Tensor,
    lengths: tf.Tensor,
    place: tf.Tensor,
    shown: tf.Tensor,
) -> tf.Tensor:
    """Tell which tokens a window shows more of the text around than other windows: bool [W, S].

    What it shows around a token is counted on the side where that is less, and, as run_squad
    counts, with a hundredth of the window's length, by which a full window wins against a last one
    that is shorter by more than 100. Of equal windows it is the first.
    """
    around = tf.minimum(place, lengths[:, None] - 1 - place)
    amount = tf.cast(around, tf.float64) + 0.01 * tf.cast(lengths, tf.float64)[:, None]
    token = tf.gather(tf.cast(texts.row_starts(), tf.int32), own)[:, None]
    count = tf.size(texts.flat_values)
    token = tf.where(shown, token + starts[:, None] + place, count)
    most = tf.math.unsorted_segment_max(amount, token, count + 1)
    number = tf.range(tf.size(own))[:, None]
    best = shown & (amount == tf.gather(most, token))
    windows = tf.where(best, number, tf.size(own))
    first = tf.math.unsorted_segment_min(windows, token, count + 1)
    return shown & (tf.gather(first, token) == number)


def cut_pair(
    first: tf.RaggedTensor, second: tf.RaggedTensor, room: int
) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """Cut the longer one of each pair, then both, until together they fit into ``room`` tokens.

    As `tokenizers` does it (``longest_first``): of an odd room the longer one gets the rest.
    """
    a, b = (tf.cast(part.row_lengths(), tf.int32) for part in (first, second))
    shorter = tf.minimum(tf.minimum(a, b), room // 2)
    longer = tf.minimum(tf.maximum(a, b), room - shorter)
    return (
        beginnings(first, tf.where(a > b, longer, shorter)),
        beginnings(second, tf.where(a > b, shorter, longer)),
    )


def pair_room(model: ServedModel) -> int:
    """Give how many tokens of a pair a window holds."""
    return model.max_length - SPECIAL_TOKENS - separators(model.family)


def cut_off(texts: tf.RaggedTensor, most: int) -> tf.RaggedTensor:
    """Keep the first tokens of each text, ``most`` at most."""
    return beginnings(texts, tf.fill([texts.nrows(out_type=tf.int32)], most))


def beginnings(texts: tf.RaggedTensor, lengths: tf.Tensor) -> tf.RaggedTensor:
    """Keep the first tokens of each text, at most as many as ``lengths``, int32 [B], says."""
    place = tf.ragged.range(texts.row_lengths()).values
    keep = tf.cast(place, tf.int32) < tf.gather(lengths, texts.value_rowids())
    return tf.ragged.boolean_mask(texts, texts.with_values(keep))


def _pick(texts: tf.RaggedTensor, own: tf.Tensor, place: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Give tokens of each window's text by their place in it; anything where none is wanted."""
    begin = tf.gather(tf.cast(texts.row_starts(), tf.int32), own)[:, None]
    # One more, so that there is something to pick where all texts are empty.
    values = tf.concat([tf.cast(texts.flat_values, tf.int32), [0]], 0)
    return tf.gather(values, tf.where(wanted, begin + place, 0))
