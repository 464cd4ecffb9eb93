"""Fill in the blanks: the words a model would put in place of each mask."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from tf_distilbert.errors import UserError
from tf_distilbert.model_files.keras_nlp_models import as_model
from tf_distilbert.serving.masked_lm import MaskedLMService
from tf_distilbert.serving.served_model import ServedModel, model_function
from tf_distilbert.tokenization.tokenizer import Tokenizer


@dataclass(frozen=True)
class Prediction:
    """One word for a blank.

    Attributes:
        token: the word or piece of a word, as it looks in a text.
        probability: the model's, between 0 and 1.
    """

    token: str
    probability: float


def fill_mask(
    model: keras.Model, texts: str | Sequence[str], top_k: int = 5
) -> list[list[list[Prediction]]]:
    """Predict the words at every mask of every text.

    Args:
        model: with its tokenizer; one of `load_model` or keras-nlp's.
        texts: one or several, each with one ``[MASK]`` or more (RoBERTa: ``<mask>``).
        top_k: how many predictions for each.

    Returns:
        For each text, for each of its masks, the predictions, best first.

    Raises:
        UserError: a text has no mask, or is longer than the model's positions.

    Example:
        >>> [[predictions]] = fill_mask(model, ["Paris is the capital of [MASK]."])
        >>> predictions[0].token
        'france'
    """
    model = as_model(model)
    texts = [texts] if isinstance(texts, str) else texts
    if not texts:
        return []
    served = ServedModel.of(model)
    for text in texts:
        _check(text, served)
    top_k = min(top_k, len(served.tokenizer.vocabulary))
    service = MaskedLMService(served, model_function(model, served), top_k=top_k)
    answers = {name: t.numpy() for name, t in service.answer(tf.constant(_encoded(texts))).items()}
    return [
        [
            [
                Prediction(token.decode(), float(probability))
                for token, probability in zip(tokens[slot], scores[slot], strict=True)
            ]
            for slot in range(count)
        ]
        for count, tokens, scores in zip(
            *(answers[name] for name in ("mask_count", "tokens", "scores")), strict=True
        )
    ]


def _encoded(texts: Sequence[str]) -> list[bytes]:
    # Half a pair of surrogates is no text; its bytes are no UTF-8, and are left out.
    return [text.encode("utf-8", errors="surrogatepass") for text in texts]


def count_masks(text: str, tokenizer: Tokenizer) -> int:
    """Count the masks of a text.

    Raises:
        UserError: there is none.
    """
    count = list(tokenizer.encode(text)).count(tokenizer.mask_id)
    if not count:
        raise UserError(f"{_short(text)}: has no {tokenizer.special_tokens.mask} to fill")
    return count


def _check(text: str, served: ServedModel) -> None:
    count_masks(text, served.tokenizer)
    sequence = served.tokenizer.encode(text)
    if len(sequence) > served.max_length:
        raise UserError(
            f"{_short(text)}: has {len(sequence)} tokens, the model has "
            f"{served.max_length} positions; shorten it"
        )


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
