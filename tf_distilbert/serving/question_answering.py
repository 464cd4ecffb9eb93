"""The stretch of a text that answers a question, as BERT's run_squad.py finds it.

A question is read beside windows of the text. In each the likeliest starts are paired with the
likeliest ends; the best pair of all windows is the answer. `finetuning.answers` scores with these
functions what this service answers with.

Dimensions: B questions, W windows, S tokens of a window, N likeliest starts and ends.
"""

from typing import ClassVar, NamedTuple

import tensorflow as tf

from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.service import Run, Service
from tf_distilbert.serving.token_windows import (
    TokenWindows,
    cut_into_windows,
    cut_off,
    pair_room,
)

STRIDE = 128
"""Tokens from the beginning of a window to that of the next, as in run_squad."""

MAX_QUESTION_LENGTH = 64
"""Tokens of a question that are read, as there."""

MAX_ANSWER_LENGTH = 30
"""Tokens of the longest answer, as there."""

N_BEST_SIZE = 20
"""How many starts and ends of a window are paired, as there."""

_IMPOSSIBLE = -1e9


class QuestionAnsweringService(Service):
    """Finds answers; see `Service`.

    Args:
        stride: tokens from the beginning of a window to that of the next: with that of an
            evaluation, what is answered is what was scored. By default `STRIDE`, but windows share
            half of their room at least.
    """

    signatures: ClassVar = {"serving_default": ("question", "context")}

    def __init__(
        self,
        model: ServedModel,
        run: Run,
        long_texts: str = "window",
        stride: int | None = None,
    ) -> None:
        super().__init__(model, run, long_texts)
        self.stride = stride

    def answer(self, question: tf.Tensor, context: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answer a batch.

        Args:
            question: string [B].
            context: string [B].

        Returns:
            - ``answer``: string [B]; empty where the context has no token;
            - ``start`` and ``end``: int32 [B], the characters (Unicode code points) of the context
              that it is: ``context[start:end]`` in Python;
            - ``score``: float32 [B], the probability of this start among all starts times that of
              this end among the ends of all windows;
            - ``no_answer``: float32 [B], for models that were trained with questions without an
              answer: the sum of the logits at the start token (the least of all windows') minus
              that of the answer, 0 where there is none. Above 0, or a threshold of your own: the
              question has no answer.
        """
        tokenizer, count = self.model.tokenizer, tf.size(context)
        spans = tokenizer.tokenize_with_offsets(context)
        windows = cut_question_windows(
            self.model,
            tokenizer.tokenize(question),
            spans.token_ids,
            None if self.overlap is None else self.stride or STRIDE,
            share_half=self.stride is None,
        )
        (logits,) = self.run_windows(windows.inputs)
        pairs = best_pairs(logits, windows.inputs["padding_mask"], windows.owned, windows.shown)
        width = tf.shape(pairs.starts)[1]
        sums = tf.reshape(pairs.sums, [-1, width * width])

        # The best window of each text; of equal ones the first.
        best_of_window = tf.reduce_max(sums, axis=1)
        best = tf.math.unsorted_segment_max(best_of_window, windows.texts, count)
        wins = best_of_window == tf.gather(best, windows.texts)
        none = tf.size(windows.texts) - 1
        number = tf.where(wins, tf.range(tf.size(windows.texts)), none)
        winner = tf.math.unsorted_segment_min(number, windows.texts, count)

        found = best > -tf.float64.max
        place = tf.argmax(tf.gather(sums, winner), axis=1, output_type=tf.int32)
        first = tf.gather(tf.gather(pairs.starts, winner), place // width, batch_dims=1)
        last = tf.gather(tf.gather(pairs.ends, winner), place % width, batch_dims=1)
        offset = tf.gather(windows.starts - windows.body, winner)
        offset += tf.cast(spans.token_ids.row_starts(), tf.int32)
        start = _pick(spans.starts.flat_values, first + offset, found)
        end = _pick(spans.ends.flat_values, last + offset, found)
        starts = tf.where(windows.owned, logits[..., 0], _IMPOSSIBLE)
        ends = tf.where(windows.shown, logits[..., 1], _IMPOSSIBLE)
        likelihood = tf.cast(best, tf.float32) - _log_sum(starts, windows.texts, count)
        likelihood -= _log_sum(ends, windows.texts, count)
        nulls = tf.reduce_sum(tf.cast(logits[:, 0], tf.float64), -1)
        null = tf.math.unsorted_segment_min(nulls, windows.texts, count)
        return {
            "answer": tf.strings.substr(context, start, end - start, unit="UTF8_CHAR"),
            "start": start,
            "end": end,
            "score": tf.where(found, tf.exp(likelihood), 0.0),
            "no_answer": tf.cast(null - tf.where(found, best, 0.0), tf.float32),
        }


def cut_question_windows(
    model: ServedModel,
    questions: tf.RaggedTensor,
    contexts: tf.RaggedTensor,
    stride: int | None = STRIDE,
    max_question_length: int = MAX_QUESTION_LENGTH,
    share_half: bool = False,
) -> TokenWindows:
    """Cut questions and their contexts into windows.

    Args:
        model: says how long a window may be.
        questions: int32 [B, None].
        contexts: int32 [B, None].
        stride: tokens from the beginning of a window to that of the next, but never so many that
            some are in none. None: what does not fit into the first window is cut off.
        max_question_length: of a longer question the first tokens are taken; so are they of one
            that would have more than half of the room.
        share_half: let windows share half of the room at least, so that short ones, too, show what
            belongs together.
    """
    room = pair_room(model)
    questions = cut_off(questions, min(max_question_length, room // 2))
    overlap = None
    if stride is not None:
        left = room - tf.cast(questions.row_lengths(), tf.int32)
        overlap = left - tf.minimum(stride, left // 2 if share_half else left)
    return cut_into_windows(model, contexts, questions, overlap)


class AnswerPairs(NamedTuple):
    """The likeliest starts of each window with its likeliest ends, both the best first.

    Attributes:
        starts: int32 [W, N], columns.
        ends: int32 [W, N], columns.
        sums: float64 [W, N, N], of the logits of each start with each end; minus infinity where
            the two make no answer.
    """

    starts: tf.Tensor
    ends: tf.Tensor
    sums: tf.Tensor


def best_pairs(
    logits: tf.Tensor,
    real: tf.Tensor,
    owned: tf.Tensor,
    shown: tf.Tensor,
    n_best_size: int = N_BEST_SIZE,
    max_answer_length: int = MAX_ANSWER_LENGTH,
) -> AnswerPairs:
    """Pair the likeliest starts and ends of windows.

    As in run_squad, tokens of the question, too, are among the likeliest, and drop out only then;
    padding is not, or results would depend on the batch. Sums are in float64, as Python's are.

    Args:
        logits: float [W, S, 2], of starts and of ends.
        real: int or bool [W, S], true where there is no padding.
        owned, shown: bool [W, S]; see `TokenWindows`.
        n_best_size: N; fewer if the windows are shorter.
        max_answer_length: tokens of the longest answer.
    """
    count = tf.minimum(n_best_size, tf.shape(logits)[1])
    lowest = tf.constant(float("-inf"), tf.float64)
    logits = tf.where(tf.cast(real, tf.bool)[..., None], tf.cast(logits, tf.float64), lowest)
    start_logits, starts = tf.math.top_k(logits[..., 0], count)
    end_logits, ends = tf.math.top_k(logits[..., 1], count)
    first, last = starts[:, :, None], ends[:, None, :]
    possible = (last >= first) & (last < first + max_answer_length)
    possible &= tf.gather(owned, starts, batch_dims=1)[:, :, None]
    possible &= tf.gather(shown, ends, batch_dims=1)[:, None, :]
    sums = start_logits[:, :, None] + end_logits[:, None, :]
    return AnswerPairs(starts, ends, tf.where(possible, sums, lowest))


def _log_sum(values: tf.Tensor, texts: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The logarithm of the sum of exponentials over all windows of each text: float [B]."""
    largest = tf.math.unsorted_segment_max(tf.reduce_max(values, axis=1), texts, count)
    exponentials = tf.exp(values - tf.gather(largest, texts)[:, None])
    sums = tf.math.unsorted_segment_sum(tf.reduce_sum(exponentials, axis=1), texts, count)
    return largest + tf.math.log(sums)


def _pick(values: tf.Tensor, places: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    values = tf.concat([values, [0]], 0)
    return tf.where(found, tf.gather(values, tf.where(found, places, 0)), 0)
