"""Texts as vectors, as many as there are."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_distilbert.backend import step
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.folder import load_task_model
from tf_distilbert.models.sentence_encoder import SentenceEncoder
from tf_distilbert.serving.served_model import ServedModel, model_function
from tf_distilbert.serving.token_windows import cut_into_windows, cut_off

BATCH_SIZE = 32

_TEXTS_AT_ONCE = 2**14  # tokenised together, and sorted by length


def embed(
    texts: Sequence[str],
    model: str | Path | SentenceEncoder,
    *,
    prompt: str | None = None,
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Give texts as vectors.

    Texts of about one length go through the model together, so that little of a batch is padding.
    Which ones are with it does not matter to a text's vector, but for the last digits.

    Args:
        texts: of any lengths; of one that is longer than the model's `max_length` the beginning is
            read.
        model: a `SentenceEncoder`, or what `load_task_model` takes for the task ``embedding``.
        prompt: the name of one of the model's prompts, which is put before each text; by default
            the model's own choice, mostly none.
        batch_size: texts in a batch.

    Returns:
        float32 [len(texts), E], in the order of the texts.

    Raises:
        UserError: the model cannot be loaded or has no such prompt; a text is no string; or the
            batch size is below 1.

    Example:
        >>> vectors = tf_distilbert.embed(["A cat.", "A small cat."], "path/to/all-MiniLM-L6-v2")
        >>> float(vectors[0] @ vectors[1]) > 0.8
        True
    """
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; it must be above 0")
    if isinstance(texts, str):
        raise UserError("texts is one string; give a list of texts")
    for text in texts:
        if not isinstance(text, str):
            raise UserError(f"texts: {text!r} is no text; give strings")
    if not isinstance(model, SentenceEncoder):
        loaded = load_task_model(model, SentenceEncoder.task)
        assert isinstance(loaded, SentenceEncoder)  # of a preset it is refused
        model = loaded
    served, before = ServedModel.of(model), model.prompt(prompt)
    run = step.compile_on_tensors(model_function(model, served))
    vectors = np.zeros((len(texts), model.embedding_size), np.float32)
    for begin in range(0, len(texts), _TEXTS_AT_ONCE):
        some = [before + text for text in texts[begin : begin + _TEXTS_AT_ONCE]]
        tokens = cut_off(served.tokenizer.tokenize(some), served.max_length)
        order = np.argsort(-tokens.row_lengths().numpy(), kind="stable")
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            windows = cut_into_windows(served, tf.gather(tokens, rows))
            vectors[begin + rows] = np.asarray(run(windows.inputs))
    return vectors
