"""The services of the tasks whose answers need little: classes of texts and tokens, vectors."""

from typing import ClassVar

import tensorflow as tf

from tf_distilbert.errors import UserError
from tf_distilbert.serving.masked_lm import MaskedLMService
from tf_distilbert.serving.question_answering import QuestionAnsweringService
from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.service import Run, Service, mean_by_text
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
            room, overlap = pair_room(self.model), self.overlap
            if overlap is None:
                first, second = cut_pair(first, second, room)
            else:
                second_lengths = tf.cast(second.row_lengths(), tf.int32)
                first = beginnings(
                    first, tf.maximum(room // 2, room - tf.maximum(second_lengths, 1))
                )
                left = room - tf.cast(first.row_lengths(), tf.int32)
                overlap = tf.minimum(overlap, left // 2)
            windows = cut_into_windows(self.model, second, first, overlap)
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


class EncoderService(Service):
    """Gives texts as vectors, pooled in two ways; see `Service`."""

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


class EmbeddingService(Service):
    """Gives texts as a sentence encoder's vectors; see `Service`.

    Of a text that is too long the beginning is read, as sentence-transformers does.

    Raises:
        UserError: `long_texts` is ``window``.
    """

    def __init__(self, model: ServedModel, run: Run, long_texts: str = "cut") -> None:
        super().__init__(model, run, long_texts)
        if self.overlap is not None:
            raise UserError(
                "--long-texts window: a sentence encoder gives one vector for the beginning of a "
                "text; use cut, or split long texts yourself"
            )

    def answer(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embed a batch.

        Args:
            text: string [B]; the model's default prompt is put before it.

        Returns:
            ``embedding``: float32 [B, E].
        """
        tokens = self.model.tokenizer.tokenize(tf.strings.join([self.model.prompt, text]))
        (vectors,) = self.run_windows(cut_into_windows(self.model, tokens).inputs)
        return {"embedding": vectors}


SERVICES: dict[str, type[Service]] = {
    "masked_lm": MaskedLMService,
    "sequence_classification": ClassificationService,
    "token_classification": TokenClassificationService,
    "question_answering": QuestionAnsweringService,
    "encoder": EncoderService,
    "embedding": EmbeddingService,
}
