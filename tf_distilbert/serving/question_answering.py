"""The stretch of a text that answers a question."""

from typing import ClassVar

import tensorflow as tf

from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.service import Run, Service
from tf_distilbert.serving.token_windows import cut_into_windows, cut_off, pair_room

MAX_QUESTION_LENGTH = 64
"""Tokens of a question that are read, as in BERT's own script for SQuAD."""

MAX_ANSWER_LENGTH = 30
"""Tokens of the longest answer, as there."""

_IMPOSSIBLE = -1e9


class QuestionAnsweringService(Service):
    """Finds answers; see `Service`.

    The answer is the stretch of at most `MAX_ANSWER_LENGTH` tokens whose logits of start and end
    have the largest sum: over all windows, each start in the window that shows most of what is
    around it. No stretch is left out, where the usual lists of the 20 best starts and ends may;
    for windows overlap by two answers at least, unless that is more than half of them.
    """

    signatures: ClassVar = {"serving_default": ("question", "context")}

    def __init__(
        self,
        model: ServedModel,
        run: Run,
        long_texts: str = "window",
    ) -> None:
        super().__init__(model, run, long_texts)
        if self.overlap is not None:
            self.overlap = max(self.overlap, 2 * MAX_ANSWER_LENGTH - 2)
        self.max_question_length = min(MAX_QUESTION_LENGTH, pair_room(model) // 2)

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
              that of the answer. Above 0, or a threshold of your own: there is none.
        """
        tokenizer, count = self.model.tokenizer, tf.size(context)
        questions = cut_off(tokenizer.tokenize(question), self.max_question_length)
        spans = tokenizer.tokenize_with_offsets(context)
        windows = cut_into_windows(self.model, spans.token_ids, questions, self.overlap)
        (logits,) = self.run_windows(windows.inputs)
        starts = tf.where(windows.owned, logits[..., 0], _IMPOSSIBLE)
        ends = tf.where(windows.shown, logits[..., 1], _IMPOSSIBLE)
        sums = starts + _best_in_reach(ends)

        # The best window of each text; of equal ones the first.
        best_of_window = tf.reduce_max(sums, axis=1)
        best = tf.math.unsorted_segment_max(best_of_window, windows.texts, count)
        wins = best_of_window == tf.gather(best, windows.texts)
        none = tf.size(windows.texts) - 1
        number = tf.where(wins, tf.range(tf.size(windows.texts)), none)
        winner = tf.math.unsorted_segment_min(number, windows.texts, count)

        first = tf.argmax(tf.gather(sums, winner), axis=1, output_type=tf.int32)
        reach = first[:, None] + tf.range(MAX_ANSWER_LENGTH)[None]
        within = tf.gather(_padded(tf.gather(ends, winner)), reach, batch_dims=1)
        last = first + tf.argmax(within, axis=1, output_type=tf.int32)

        found = spans.token_ids.row_lengths() > 0
        offset = tf.gather(windows.starts - windows.body, winner)
        offset += tf.cast(spans.token_ids.row_starts(), tf.int32)
        start = _pick(spans.starts.flat_values, first + offset, found)
        end = _pick(spans.ends.flat_values, last + offset, found)
        likelihood = best - _log_sum(starts, windows.texts, count)
        likelihood -= _log_sum(ends, windows.texts, count)
        null = tf.math.unsorted_segment_min(tf.reduce_sum(logits[:, 0], -1), windows.texts, count)
        return {
            "answer": tf.strings.substr(context, start, end - start, unit="UTF8_CHAR"),
            "start": start,
            "end": end,
            "score": tf.where(found, tf.exp(likelihood), 0.0),
            "no_answer": tf.where(found, null - best, 0.0),
        }


def _best_in_reach(ends: tf.Tensor) -> tf.Tensor:
    """The largest of each value and the `MAX_ANSWER_LENGTH` - 1 after it: float [W, S]."""
    return tf.nn.max_pool1d(_padded(ends)[..., None], MAX_ANSWER_LENGTH, 1, "VALID")[..., 0]


def _padded(ends: tf.Tensor) -> tf.Tensor:
    return tf.pad(ends, [[0, 0], [0, MAX_ANSWER_LENGTH - 1]], constant_values=_IMPOSSIBLE)


def _log_sum(values: tf.Tensor, texts: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The logarithm of the sum of exponentials over all windows of each text: float [B]."""
    largest = tf.math.unsorted_segment_max(tf.reduce_max(values, axis=1), texts, count)
    exponentials = tf.exp(values - tf.gather(largest, texts)[:, None])
    sums = tf.math.unsorted_segment_sum(tf.reduce_sum(exponentials, axis=1), texts, count)
    return largest + tf.math.log(sums)


def _pick(values: tf.Tensor, places: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    values = tf.concat([values, [0]], 0)
    return tf.where(found, tf.gather(values, tf.where(found, places, 0)), 0)
