"""A class for every token of a text."""

import tensorflow as tf

from tf_distilbert.serving.service import Service
from tf_distilbert.serving.token_windows import cut_into_windows


class TokenClassificationService(Service):
    """Classifies tokens; see `Service`.

    Of several windows, the one that shows most of what is around a token judges it.
    """

    def answer(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classify the tokens of a batch.

        Args:
            text: string [B].

        Returns:
            With T tokens in the longest text:

            - ``token_count``: int32 [B]; what is beyond this number in the others is -1, empty
              or 0;
            - ``tokens``: string [B, T], as they are written in the vocabulary;
            - ``start`` and ``end``: int32 [B, T], the characters (Unicode code points) of the
              text that a token was made of: ``text[start:end]`` in Python;
            - ``labels``: string [B, T], the most probable class;
            - ``scores``: float32 [B, T], its probability.
        """
        spans = self.model.tokenizer.tokenize_with_offsets(text)
        windows = cut_into_windows(self.model, spans.token_ids, overlap=self.overlap)
        (logits,) = self.run_windows(windows.inputs)
        places = tf.cast(tf.where(windows.owned), tf.int32)
        own, columns = places[:, 0], places[:, 1]
        probabilities = tf.nn.softmax(tf.gather_nd(logits, places))
        texts = tf.gather(windows.texts, own)
        token = columns - tf.gather(windows.body - windows.starts, own)
        token += tf.gather(tf.cast(spans.token_ids.row_starts(), tf.int32), texts)
        parts = (
            tf.gather(
                tf.constant(self.model.tokenizer.vocabulary),
                tf.gather(spans.token_ids.flat_values, token),
            ),
            tf.gather(spans.starts.flat_values, token),
            tf.gather(spans.ends.flat_values, token),
            tf.gather(tf.constant(self.model.labels), tf.argmax(probabilities, axis=-1)),
            tf.reduce_max(probabilities, axis=-1),
        )
        by_text = [
            tf.RaggedTensor.from_value_rowids(
                part, tf.cast(texts, tf.int64), tf.size(text, out_type=tf.int64)
            )
            for part in parts
        ]
        names = (("tokens", ""), ("start", -1), ("end", -1), ("labels", ""), ("scores", 0.0))
        dense = {
            name: part.to_tensor(default)
            for (name, default), part in zip(names, by_text, strict=True)
        }
        return {"token_count": tf.cast(by_text[0].row_lengths(), tf.int32)} | dense
