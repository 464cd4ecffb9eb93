"""A teacher and a student: which models they may be, and by which terms they can be compared."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from keras import Model

from tf_distilbert.errors import UserError
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.models.masked_language_model import MaskedLanguageModel
from tf_distilbert.models.sentence_encoder import SentenceEncoder

if TYPE_CHECKING:  # it needs TensorFlow; a distiller runs on any backend
    from tf_distilbert.model_files.keras_nlp_models import KerasNlpMaskedLanguageModel

POSITIONS = ("all", "masked")
"""Where predictions may be compared."""

PREDICTING = ("distillation", "mlm", "mse")
"""The terms that compare predictions of words, which only masked language models make."""


def as_encoder(model: Model) -> "EncoderModel | KerasNlpMaskedLanguageModel":
    """Give any model of ours as it is, and wrap a keras-nlp masked language model.

    Raises:
        UserError: it is neither.
    """
    if isinstance(model, EncoderModel):
        return model
    from tf_distilbert.model_files.keras_nlp_models import as_model

    return as_model(model)


def can_predict(model: "EncoderModel | KerasNlpMaskedLanguageModel") -> bool:
    """Whether a model has a masked-LM head; those of keras-nlp that there are have one."""
    return isinstance(model, MaskedLanguageModel) or not isinstance(model, EncoderModel)


def lacks_head(term: str) -> str:
    """Say that a model has no head for a term, and what to do."""
    weights = ", ".join(f"loss.{each}_weight" for each in PREDICTING)
    return (
        f"has no masked-LM head, which loss.{term}_weight needs; set {weights} to 0, and give "
        "loss.relation_weight or, of sentence encoders, loss.embedding_weight"
    )


def check_pair(
    teacher: "EncoderModel | KerasNlpMaskedLanguageModel",
    student: "EncoderModel | KerasNlpMaskedLanguageModel",
    weights: Mapping[str, float],
) -> None:
    """See that a teacher and a student can be compared by all terms that have a weight.

    Args:
        teacher, student: the models.
        weights: of the terms, by the names of their metrics.

    Raises:
        UserError: they cannot; says which term, and what to do.
    """
    ours, theirs = student.architecture, teacher.architecture
    for name, model in (("teacher", teacher), ("student", student)):
        term = next((term for term in PREDICTING if weights[f"{term}_loss"]), None)
        if term and not can_predict(model):
            raise UserError(f"the {name} {lacks_head(term)}")
        if weights["embedding_loss"] and not isinstance(model, SentenceEncoder):
            raise UserError(
                f"the {name} gives no vectors of texts, which loss.embedding_weight needs; give a "
                "sentence encoder, or load a model with the task embedding, or set "
                "loss.embedding_weight to 0"
            )
    tokenizers = [model.tokenizer for model in (teacher, student) if model.tokenizer]
    if ours.vocabulary_size != theirs.vocabulary_size or len({t.sha256 for t in tokenizers}) > 1:
        raise UserError(
            f"teacher ({theirs.vocabulary_size} tokens) and student ({ours.vocabulary_size}) have "
            "different vocabularies or tokenizers; their predictions cannot be compared"
        )
    if weights["cosine_loss"] and ours.hidden_size != theirs.hidden_size:
        raise UserError(
            f"teacher and student have hidden sizes {theirs.hidden_size} and {ours.hidden_size}, "
            "which the cosine term cannot compare; set loss.cosine_weight to 0, and "
            "loss.relation_weight to 3 in its place"
        )


def check_settings(
    weights: Mapping[str, float], temperature: float, positions: str, chunk_size: int
) -> None:
    """See that a distiller's settings are in range.

    Args:
        weights: of the terms, by the names of their metrics.
        temperature, positions, chunk_size: see `Distiller`.

    Raises:
        UserError: one is not.
    """
    if not isinstance(chunk_size, int) or chunk_size < 1:
        raise UserError(f"chunk_size is {chunk_size!r}; it must be a whole number above 0")
    if temperature <= 0:
        raise UserError(f"temperature is {temperature}; it must be above 0")
    negative = [name for name, weight in weights.items() if weight < 0]
    if negative:
        raise UserError(f"the weight of {negative[0]} is {weights[negative[0]]}; use 0 or more")
    if not any(weights.values()):
        raise UserError("all loss weights are 0; there is nothing to learn")
    if positions not in POSITIONS:
        raise UserError(f"distillation_positions {positions!r}: use {' or '.join(POSITIONS)}")
