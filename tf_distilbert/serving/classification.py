"""A class, several or a number for a text or a pair of texts."""

from typing import ClassVar

import tensorflow as tf

from tf_distilbert.serving.service import Service, mean_by_text
from tf_distilbert.serving.token_windows import (
    beginnings,
    cut_into_windows,
    cut_pair,
    pair_room,
)


class ClassificationService(Service):
    """Classifies texts, or pairs of them; see `Service`.

    A long text gets the mean of its windows' logits. Of a pair, ``cut`` shortens the longer text
    first; ``window`` reads all of ``text_pair`` beside as much of the beginning of ``text`` as
    fits, at least half a window.
    """

    signatures: ClassVar = {"serving_default": ("text",), "text_pair": ("text", "text_pair")}

    def answer(self, text: tf.Tensor, text_pair: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """Classify a batch.

        Args:
            text: string [B].
            text_pair: string [B], the second of each pair.

        Returns:
            ``probabilities``: float32 [B, C], softmax over the classes or, if several can be true
            at once, sigmoid; and ``label``: string [B], the most probable one. Of a regression
            ``value``: float32 [B].
        """
        first = self.model.tokenizer.tokenize(text)
        if text_pair is None:
            windows = cut_into_windows(self.model, first, overlap=self.overlap)
        else:
            second = self.model.tokenizer.tokenize(text_pair)
            room = pair_room(self.model)
            if self.overlap is None:
                first, second = cut_pair(first, second, room)
            else:
                second_lengths = tf.cast(second.row_lengths(), tf.int32)
                first = beginnings(
                    first, tf.maximum(room // 2, room - tf.maximum(second_lengths, 1))
                )
            windows = cut_into_windows(self.model, second, first, self.overlap)
        (logits,) = self.run_windows(windows.inputs)
        if self.overlap is not None:
            logits = mean_by_text(logits, windows.texts, tf.size(text))
        if self.model.problem == "regression":
            return {"value": logits[:, 0]}
        multi_label = self.model.problem == "multi_label"
        probabilities = tf.sigmoid(logits) if multi_label else tf.nn.softmax(logits)
        best = tf.argmax(logits, axis=-1)
        labels = tf.constant(self.model.labels)
        return {"probabilities": probabilities, "label": tf.gather(labels, best)}
