"""Dynamic masking of a batch: which tokens the model must predict, and what it sees instead.

Every decision is a hash of (seed, epoch, index of the sequence, position), never of a random
generator's state: any step of any run can be made again, whatever the threads, the batch size or
the number of machines, and each epoch masks anew. The hash is splitmix64 (Steele, Lea & Flood
2014).

Of each sequence a fixed share of its tokens is chosen (the reference draws the same share over the
whole batch, which would make a sequence's mask depend on its neighbours). Drawing k of n without
replacement with weights w is a race: each token gets an exponential time with rate w, the k first
are taken (Efraimidis & Spirakis 2006).

Dimensions: B batch, S sequence, P prediction slots, V vocabulary.

Source: Devlin et al. 2019, section 3.1 (15 %, 80/10/10); the smoothing by token count is that of
DistilBERT's reference implementation, after XLM.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_distilbert.data.records import Records
from tf_distilbert.errors import UserError


class TokenMasker:
    """Chooses the tokens to predict, and hides them.

    Args:
        vocabulary: tokens in the order of their ids.
        special_ids: never chosen.
        mask_id: id of [MASK].
        sequence_length: S.
        rate: share of a sequence's tokens to predict. With fractions, k is rounded up or down at
            random so that the rate is met in the mean. 0 leaves all as it is, with one slot, not in
            use.
        mask_share, random_share: of the chosen tokens these shares become [MASK], or a token drawn
            uniformly from the whole vocabulary; the rest stays as it is.
        token_counts: int [V], how often each token occurs; needed for smoothing.
        smoothing: choose a token with weight count^-smoothing (the reference: 0.7), 0 for uniform.
        whole_word: choose whole words, i.e. a token together with those that continue it. A word
            that would exceed the sequence's share is left out: the rate is met from below.
        word_start: how tokens that begin a word are marked; see `Tokenizer`.
        seed: another seed, other masks.

    Raises:
        UserError: a share is out of range, or smoothing has no counts.

    Source: Devlin et al. 2019, section 3.1; smoothing as in Sanh et al. 2019's implementation.

    Example:
        >>> masker = tf_distilbert.TokenMasker.for_records(records, smoothing=0.7)
        >>> batches = tf_distilbert.masked_lm_dataset(records, masker, batch_size=32)
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        special_ids: Sequence[int],
        mask_id: int,
        sequence_length: int,
        *,
        rate: float = 0.15,
        mask_share: float = 0.8,
        random_share: float = 0.1,
        token_counts: np.ndarray | None = None,
        smoothing: float = 0.0,
        whole_word: bool = False,
        word_start: str | None = None,
        seed: int = 0,
    ) -> None:
        if not 0 <= rate < 1:
            raise UserError(f"rate is {rate}; it must be a share from 0 to below 1")
        if min(mask_share, random_share) < 0 or mask_share + random_share > 1 + 1e-9:
            raise UserError(
                f"mask_share {mask_share} and random_share {random_share} must add up to 1 at most"
            )
        if smoothing and token_counts is None:
            raise UserError("smoothing needs token_counts; TokenMasker.for_records gives them")
        self.vocabulary_size = len(vocabulary)
        self.num_slots = max(1, math.ceil(rate * sequence_length))
        self.rate, self.mask_share, self.random_share = rate, mask_share, random_share
        self.whole_word = whole_word
        self.mask_id = mask_id
        self.seed = seed
        weights = np.ones(self.vocabulary_size)
        if smoothing and token_counts is not None:
            weights = np.maximum(token_counts, 1).astype(np.float64) ** -smoothing
        weights[list(special_ids)] = 0.0
        log_weights = np.full(self.vocabulary_size, -NEVER)
        np.log(weights, out=log_weights, where=weights > 0)
        self._log_weights = tf.constant(log_weights, tf.float32)
        self._continues = tf.constant(
            [
                not token.startswith(word_start) if word_start else token.startswith("##")
                for token in vocabulary
            ]
        )

    @classmethod
    def for_records(cls, records: Records, **options: Any) -> "TokenMasker":
        """Make the masker that fits prepared records.

        Args:
            records: give vocabulary, special ids, sequence length and token counts.
            **options: `rate`, `mask_share`, `random_share`, `smoothing`, `whole_word`, `seed`.
        """
        return cls(
            records.vocabulary,
            records.special_ids,
            records.special_ids[-1],
            records.sequence_length,
            token_counts=records.token_counts,
            word_start=records.word_start,
            **options,
        )

    def __call__(
        self, token_ids: tf.Tensor, pad_id: tf.Tensor | int, epochs: tf.Tensor, indices: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        """Mask a batch.

        Args:
            token_ids: int32 [B, S], with [CLS] and [SEP], padded at the end.
            pad_id: what padding looks like.
            epochs: int64 [B], the pass over the data that each row belongs to.
            indices: int64 [B], which sequence each row is.

        Returns:
            ``({"token_ids", "padding_mask", "mask_positions"}, mask_ids, mask_weights)``: what the
            model sees int32 [B, S], real tokens bool [B, S], where to predict int32 [B, P], the
            original tokens there int32 [B, P], and 1 for each slot in use, float32 [B, P].
        """
        # What follows the last token is padding; a [PAD] that a text spells out is none.
        positions = tf.range(tf.shape(token_ids)[1])
        lengths = tf.reduce_max(tf.where(token_ids != pad_id, positions + 1, 0), axis=1)
        padding_mask = positions < lengths[:, None]
        row_keys = mix(mix(mix(as_uint64(self.seed)) + as_uint64(epochs)) + as_uint64(indices))
        times = self._arrival_times(token_ids, padding_mask, row_keys)
        wanted = self._number_to_choose(padding_mask, row_keys)
        if self.whole_word:
            positions, chosen = self._first_words(token_ids, times, wanted)
        else:
            values, positions = tf.math.top_k(-times, self.num_slots)
            slots = tf.range(self.num_slots)[None, :]
            chosen = (slots < wanted[:, None]) & (-values < NEVER)
        positions = tf.where(chosen, positions, 0)
        mask_ids = tf.where(chosen, tf.gather(token_ids, positions, batch_dims=1), 0)
        seen = self._hide(token_ids, positions, chosen, row_keys)
        inputs = {"token_ids": seen, "padding_mask": padding_mask, "mask_positions": positions}
        return inputs, mask_ids, tf.cast(chosen, tf.float32)

    def _arrival_times(
        self, token_ids: tf.Tensor, padding_mask: tf.Tensor, row_keys: tf.Tensor
    ) -> tf.Tensor:
        """Exponential times with rate w(token), as logarithms; `NEVER` where never chosen."""
        positions = tf.range(tf.shape(token_ids)[1])
        uniform = to_uniform(_position_keys(row_keys, positions[None, :], stream=1))
        log_times = tf.math.log(-tf.math.log(uniform))
        log_times -= tf.gather(self._log_weights, token_ids)
        return tf.where(padding_mask, log_times, NEVER)

    def _number_to_choose(self, padding_mask: tf.Tensor, row_keys: tf.Tensor) -> tf.Tensor:
        length = tf.reduce_sum(tf.cast(padding_mask, tf.float32), axis=1)
        uniform = to_uniform(mix(row_keys ^ as_uint64(GAMMA)))
        number = tf.cast(tf.floor(self.rate * length + uniform), tf.int32)
        return tf.clip_by_value(number, 1 if self.rate else 0, self.num_slots)

    def _first_words(
        self, token_ids: tf.Tensor, times: tf.Tensor, wanted: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Take words in the order in which their first piece arrives, as long as they fit."""
        shape = tf.shape(token_ids)
        # What follows a special token starts a word even if a cut left it as a continuation.
        after_special = tf.pad(times[:, :-1] >= NEVER, [[0, 0], [1, 0]], constant_values=True)
        starts = tf.reshape(~tf.gather(self._continues, token_ids) | after_special, [-1])
        # One list of words over the whole batch: every row starts a word, so none spans two rows.
        word = tf.cumsum(tf.cast(starts, tf.int32)) - 1
        first_piece = tf.gather(tf.cast(tf.where(starts)[:, 0], tf.int32), word)
        by_word = tf.reshape(tf.gather(tf.reshape(times, [-1]), first_piece), shape)
        size = tf.reshape(tf.gather(tf.math.bincount(word), word), shape)
        offset = tf.reshape(tf.range(tf.size(word)) - first_piece, shape)
        # The sort is stable: pieces of a word share their time and stay together, in order.
        order = tf.argsort(by_word, axis=1, stable=True)[:, : self.num_slots]
        size, offset, by_word = (tf.gather(t, order, batch_dims=1) for t in (size, offset, by_word))
        end = tf.range(self.num_slots)[None, :] - offset + size
        return order, (end <= wanted[:, None]) & (by_word < NEVER)

    def _hide(
        self, token_ids: tf.Tensor, positions: tf.Tensor, chosen: tf.Tensor, row_keys: tf.Tensor
    ) -> tf.Tensor:
        keys = _position_keys(row_keys, positions, stream=2)
        uniform = to_uniform(keys)
        # The low 32 bits are independent of the high 23 that made the uniform number.
        low = tf.bitwise.bitwise_and(keys, as_uint64(0xFFFFFFFF))
        random_ids = tf.bitwise.right_shift(low * as_uint64(self.vocabulary_size), as_uint64(32))
        original = tf.gather(token_ids, positions, batch_dims=1)
        shown = tf.where(
            uniform < self.mask_share,
            self.mask_id,
            tf.where(
                uniform < self.mask_share + self.random_share,
                tf.cast(random_ids, tf.int32),
                original,
            ),
        )
        rows = tf.broadcast_to(tf.range(tf.shape(positions)[0])[:, None], tf.shape(positions))
        where = tf.boolean_mask(tf.stack([rows, positions], axis=-1), chosen)
        return tf.tensor_scatter_nd_update(token_ids, where, tf.boolean_mask(shown, chosen))


def _position_keys(row_keys: tf.Tensor, positions: tf.Tensor, stream: int) -> tf.Tensor:
    counter = as_uint64(positions) * as_uint64(4) + as_uint64(stream)
    return mix(row_keys[:, None] + counter * as_uint64(GAMMA))


NEVER = 1e30
"""The logarithm of a time that does not come. Times that come are below 1000, and vanish beside it.
Infinity would do as well, but for `tf.debugging.enable_check_numerics`, which takes it for a fault.
"""

GAMMA = 0x9E3779B97F4A7C15
"""2^64 by the golden ratio: its multiples spread consecutive numbers over all 64 bits."""


def mix(keys: tf.Tensor) -> tf.Tensor:
    """Scramble keys so that every bit depends on every bit: uint64 to uint64, one to one."""
    keys = (keys ^ tf.bitwise.right_shift(keys, as_uint64(30))) * as_uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ tf.bitwise.right_shift(keys, as_uint64(27))) * as_uint64(0x94D049BB133111EB)
    return keys ^ tf.bitwise.right_shift(keys, as_uint64(31))


def to_uniform(keys: tf.Tensor) -> tf.Tensor:
    """Turn the high 23 bits into float32 in the open interval (0, 1); one more would round to 1."""
    return (tf.cast(tf.bitwise.right_shift(keys, as_uint64(41)), tf.float32) + 0.5) * 2.0**-23


def as_uint64(value: tf.Tensor | int) -> tf.Tensor:
    """Make a uint64 of any integer; negative ones wrap around."""
    if isinstance(value, int):
        return tf.constant(value & 0xFFFFFFFFFFFFFFFF, tf.uint64)
    return tf.cast(value, tf.uint64)
