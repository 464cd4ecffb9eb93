"""Fill in the blanks: the words a model would put in place of each mask."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from tf_distilbert.errors import UserError
from tf_distilbert.keras_nlp_models import as_model


@dataclass(frozen=True)
class Guess:
    """One word for a blank.

    Attributes:
        token: the word or piece of a word, as it looks in a text.
        probability: the model's, between 0 and 1.
    """

    token: str
    probability: float


def fill_mask(
    model: keras.Model, texts: str | Sequence[str], top_k: int = 5
) -> list[list[list[Guess]]]:
    """Predict the words at every mask of every text.

    Args:
        model: with its tokenizer; one of `load_model` or keras-nlp's.
        texts: one or several, each with one ``[MASK]`` or more (RoBERTa: ``<mask>``).
        top_k: how many guesses for each.

    Returns:
        For each text, for each of its masks, the guesses, best first.

    Raises:
        UserError: a text has no mask, or is longer than the model's positions.

    Example:
        >>> [[guesses]] = fill_mask(model, ["Paris is the capital of [MASK]."])
        >>> guesses[0].token
        'france'
    """
    model = as_model(model)
    texts = [texts] if isinstance(texts, str) else texts
    tokenizer = model.tokenizer
    top_k = min(top_k, len(tokenizer.vocabulary))
    sequences = [tokenizer.encode(text) for text in texts]
    for text, sequence in zip(texts, sequences, strict=True):
        if tokenizer.mask_id not in sequence:
            raise UserError(f"{_short(text)}: has no {tokenizer.special_tokens.mask} to fill")
        if len(sequence) > model.architecture.max_positions:
            raise UserError(
                f"{_short(text)}: has {len(sequence)} tokens, the model has "
                f"{model.architecture.max_positions} positions; shorten it"
            )
    if not sequences:
        return []
    token_ids = np.full((len(texts), max(map(len, sequences))), tokenizer.pad_id, np.int32)
    for row, sequence in zip(token_ids, sequences, strict=True):
        row[: len(sequence)] = sequence
    blanks = token_ids == tokenizer.mask_id
    positions = np.zeros((len(texts), blanks.sum(axis=1).max()), np.int32)
    for row, blank in zip(positions, blanks, strict=True):
        row[: blank.sum()] = np.flatnonzero(blank)
    inputs = {
        "token_ids": token_ids,
        "padding_mask": token_ids != tokenizer.pad_id,
        "mask_positions": positions,
    }
    probabilities = ops.softmax(ops.cast(model(inputs), "float32"))
    best, ids = (np.asarray(part) for part in ops.top_k(probabilities, top_k))
    return [
        [
            [
                Guess(tokenizer.surface_forms[token].strip(), float(probability))
                for token, probability in zip(ids[i, j], best[i, j], strict=True)
            ]
            for j in range(blanks[i].sum())
        ]
        for i in range(len(texts))
    ]


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
