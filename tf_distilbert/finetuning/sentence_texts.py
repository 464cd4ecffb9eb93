"""Texts as a sentence encoder reads them: their prompts, and each by itself as a row of tokens."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_distilbert.models.sentence_encoder import SentenceEncoder
from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.token_windows import cut_into_windows

_AT_ONCE = 4096
"""Texts that are encoded together."""


def query_prompt(model: SentenceEncoder) -> str:
    """Give what is put before a query: the prompt ``query``, else the model's default one."""
    return _prompt(model, ("query",))


def passage_prompt(model: SentenceEncoder) -> str:
    """Give what is put before a passage: ``passage`` or ``document``, else the default prompt."""
    return _prompt(model, ("passage", "document"))


def encode_alone(texts: Sequence[str], model: SentenceEncoder) -> list[np.ndarray]:
    """Encode each text by itself, as `embed` does, and cut it at the model's `max_length`.

    Args:
        texts: with their prompts.
        model: with its tokenizer.

    Returns:
        Of each text its token ids, start and end included, int32 [n].
    """
    served, found = ServedModel.of(model), list[np.ndarray]()
    for begin in range(0, len(texts), _AT_ONCE):
        tokens = served.tokenizer.tokenize(texts[begin : begin + _AT_ONCE])
        inputs = cut_into_windows(served, tokens).inputs
        sizes = tf.reduce_sum(inputs["padding_mask"], 1).numpy().tolist()
        token_ids = inputs["token_ids"].numpy()
        found += [ids[:size].copy() for ids, size in zip(token_ids, sizes, strict=True)]
    return found


def _prompt(model: SentenceEncoder, names: Sequence[str]) -> str:
    return model.prompt(next((name for name in names if name in model.prompts), None))
