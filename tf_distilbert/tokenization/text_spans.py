"""Where in its text each token stands, as arithmetic on tensors."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


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
