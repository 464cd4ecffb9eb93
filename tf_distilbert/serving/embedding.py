"""A vector for a text."""

import tensorflow as tf

from tf_distilbert.serving.service import Service, mean_by_text
from tf_distilbert.serving.token_windows import cut_into_windows


class EmbeddingService(Service):
    """Gives texts as vectors; see `Service`."""

    def answer(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embed a batch.

        Args:
            text: string [B].

        Returns:
            ``mean``: float32 [B, D], the mean of the last hidden states of all tokens, start and
            end included; ``cls``: float32 [B, D], that of the start token. Of a text in several
            windows: the mean over all windows' tokens, and of their start tokens.
        """
        tokens = self.model.tokenizer.tokenize(text)
        windows = cut_into_windows(self.model, tokens, overlap=self.overlap)
        mask = tf.cast(windows.inputs["padding_mask"], tf.float32)
        (hidden,) = self.run_windows(windows.inputs)
        sums = tf.einsum("wsd,ws->wd", hidden, mask)
        counts = tf.reduce_sum(mask, axis=1, keepdims=True)
        first = hidden[:, 0]
        if self.overlap is not None:
            texts, number = windows.texts, tf.size(text)
            sums = tf.math.unsorted_segment_sum(sums, texts, number)
            counts = tf.math.unsorted_segment_sum(counts, texts, number)
            first = mean_by_text(first, texts, number)
        return {"mean": sums / counts, "cls": first}
