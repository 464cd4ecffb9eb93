"""The words that a model would put at each mask of a text."""

import tensorflow as tf

from tf_distilbert.errors import UserError
from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.service import Run, Service
from tf_distilbert.serving.token_windows import cut_into_windows


class MaskedLMService(Service):
    """Fills in blanks; see `Service`.

    Args:
        top_k: how many words for each mask.

    Raises:
        UserError: `top_k` is less than 1 or more than there are tokens.
    """

    def __init__(
        self,
        model: ServedModel,
        run: Run,
        long_texts: str = "cut",
        top_k: int = 5,
    ) -> None:
        super().__init__(model, run, long_texts)
        if not 1 <= top_k <= len(model.tokenizer.vocabulary):
            raise UserError(
                f"--top-k is {top_k}; the vocabulary has {len(model.tokenizer.vocabulary)} tokens"
            )
        self.top_k = top_k
        self.surface_forms = tf.constant([f.strip() for f in model.tokenizer.surface_forms])

    def answer(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Fill in the blanks of a batch.

        Args:
            text: string [B], with ``[MASK]`` (RoBERTa: ``<mask>``) where a word is wanted; none
                or many.

        Returns:
            With M masks in the text that has most of them, and K = ``top_k``:

            - ``mask_count``: int32 [B], how many masks were found; what is beyond this number in
              the others is -1, empty or 0;
            - ``mask_positions``: int32 [B, M], the mask's place among the text's tokens, which
              begin with ``[CLS]`` at 0;
            - ``tokens``: string [B, M, K], best first;
            - ``scores``: float32 [B, M, K], their probabilities.
        """
        tokenizer = self.model.tokenizer
        windows = cut_into_windows(self.model, tokenizer.tokenize(text), overlap=self.overlap)
        masked = windows.owned & (windows.inputs["token_ids"] == tokenizer.mask_id)
        places = tf.cast(tf.where(masked), tf.int32)
        own, columns = places[:, 0], places[:, 1]
        slots = tf.RaggedTensor.from_value_rowids(
            columns, tf.cast(own, tf.int64), tf.shape(masked, out_type=tf.int64)[0]
        )
        inputs = windows.inputs | {"mask_positions": slots.to_tensor(0)}
        scores, ids = self.run_windows(inputs, self._best)
        used = tf.sequence_mask(slots.row_lengths(), tf.shape(inputs["mask_positions"])[1])
        texts = tf.gather(windows.texts, own)
        positions = columns - tf.gather(windows.body - windows.starts, own) + 1
        words = tf.gather(self.surface_forms, tf.boolean_mask(ids, used))
        by_text = [
            tf.RaggedTensor.from_value_rowids(
                part, tf.cast(texts, tf.int64), tf.size(text, out_type=tf.int64)
            )
            for part in (positions, words, tf.boolean_mask(scores, used))
        ]
        return {
            "mask_count": tf.cast(by_text[0].row_lengths(), tf.int32),
            "mask_positions": by_text[0].to_tensor(-1),
            "tokens": by_text[1].to_tensor(""),
            "scores": by_text[2].to_tensor(0.0),
        }

    def _best(self, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        best, ids = tf.math.top_k(logits, self.top_k)
        # Without a second tensor of the size of the logits, as a softmax would be.
        scores = tf.exp(best - tf.reduce_logsumexp(logits, axis=-1, keepdims=True))
        return scores, ids
