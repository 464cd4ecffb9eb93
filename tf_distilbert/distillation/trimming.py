"""A model whose vocabulary is cut to what a text needs.

Most weights of a multilingual model are rows of its word table, and one language needs few of them.
The rows of lost tokens go, with their biases in the masked-LM head; every other weight stays. So
what the model computes from kept tokens stays, too, and so do its logits over them.

Dimensions: V vocabulary.
"""

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import TypeVar

import numpy as np

from tf_distilbert.errors import UserError
from tf_distilbert.model_files.hf_weights import named_variables
from tf_distilbert.model_files.keras_nlp_models import KerasNlpMaskedLanguageModel
from tf_distilbert.model_files.model_config import check_tokenizer
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.tokenization.tokenizer import Tokenizer
from tf_distilbert.tokenization.trimming import counts_with_parts, least_kept, trimmed_tokenizer

Model = TypeVar("Model", bound=EncoderModel)
Teacher = TypeVar("Teacher", bound=EncoderModel | KerasNlpMaskedLanguageModel)

# What has a row, or a number, for each token of the vocabulary.
_OF_THE_VOCABULARY = ("encoder/token_table", "head/output_bias")


def kept_tokens(
    tokenizer: Tokenizer,
    counts: np.ndarray,
    size: int | None = None,
    min_count: int | None = None,
) -> list[int]:
    """Choose the tokens that a text needs: `least_kept`, and the commonest of the others.

    A token of byte-level BPE is as common as the commonest that is made of it, so that all parts of
    a kept token are kept. Of equally common ones come first the shorter, then the lower id.

    Args:
        tokenizer: of V tokens.
        counts: how often each occurs, int64 [V]: from `count_tokens` or `Records.token_counts`.
        size: how many are kept.
        min_count: or how often a token must occur to be kept.

    Returns:
        Ids in ascending order, for `trim_model`.

    Raises:
        UserError: both or none of the two are given; they are too small, or leave nothing to cut;
            the counts are another vocabulary's, or of special tokens alone.

    Example:
        >>> teacher = tf_distilbert.load_model("hf://google-bert/bert-base-multilingual-cased")
        >>> counts = count_tokens("english.txt", teacher.tokenizer)
        >>> len(kept_tokens(teacher.tokenizer, counts, size=40_000))
        40000
    """
    check_how_many(tokenizer, size, min_count)
    counts, total = np.asarray(counts, np.int64), len(tokenizer.vocabulary)
    if counts.shape != (total,):
        raise UserError(
            f"counts: there are {counts.size:,}, the vocabulary has {total:,} tokens; count with "
            "this tokenizer"
        )
    if not np.delete(counts, tokenizer.special_ids).any():
        unknown = tokenizer.special_tokens.unknown
        raise UserError(
            f"the text has no token of the vocabulary but {unknown}; give text in a language of "
            "the model"
        )
    least = least_kept(tokenizer)
    counts = counts_with_parts(tokenizer, counts)
    if size is not None:
        lengths = np.array([len(token) for token in tokenizer.vocabulary])
        order = np.lexsort((np.arange(total), lengths, -counts))
        others = order[~np.isin(order, least)][: size - len(least)]
    else:
        others = np.flatnonzero(counts >= min_count)
    kept = sorted({*least, *others.tolist()})
    if len(kept) == total:
        raise UserError(
            f"min_count: all {total:,} tokens occur {min_count} times or must be kept; there is "
            "nothing to cut"
        )
    return kept


def check_how_many(tokenizer: Tokenizer, size: int | None, min_count: int | None) -> None:
    """See, before a text is read, that `kept_tokens` may be asked for so many tokens.

    Raises:
        UserError: both or none of the two are given; they are too small, or leave nothing to cut.
    """
    if (size is None) == (min_count is None):
        raise UserError("size and min_count: give one of the two")
    if min_count is not None and min_count < 1:
        raise UserError(f"min_count: {min_count} is too small; give 1 or more")
    if size is None:
        return
    least, total = len(least_kept(tokenizer)), len(tokenizer.vocabulary)
    if size < least:
        raise UserError(
            f"size: {size} is too small: the special tokens and single characters of the "
            f"vocabulary are {least}; give {least} or more"
        )
    if size >= total:
        raise UserError(
            f"size: {size} is no less than the vocabulary has, {total}; there is nothing to cut"
        )


def trim_model(model: Model, kept_ids: Iterable[int]) -> Model:
    """Cut a model's vocabulary to some of its tokens; nothing else changes.

    Its logits over the kept tokens are those of the model for the same tokens. Text in which a
    token is lost becomes other tokens, and more of them; see `trimmed_tokenizer`.

    Args:
        model: of any class that `load_task_model` gives but keras-nlp's, its tokenizer attached.
        kept_ids: the tokens that are kept, from `kept_tokens`.

    Returns:
        A model of the same class, with the same settings and weights but for those rows of the word
        table and biases of the masked-LM head; its tokenizer has the kept tokens in the old order.

    Raises:
        UserError: the model is keras-nlp's or has no tokenizer, or the ids make no vocabulary.

    Source: Abdaoui et al. 2020, "Load What You Need: Smaller Versions of Multilingual BERT".

    Example:
        >>> from tf_distilbert.data.token_counts import count_tokens
        >>> from tf_distilbert.distillation.trimming import kept_tokens
        >>> counts = count_tokens("english.txt", model.tokenizer)
        >>> small = trim_model(model, kept_tokens(model.tokenizer, counts, min_count=5))
        >>> tf_distilbert.save_model(small, "path/to/small")
    """
    if not isinstance(model, EncoderModel):
        raise UserError("a keras-nlp model cannot be trimmed; give one of a Hugging Face folder")
    if model.tokenizer is None:
        raise UserError("the model has no tokenizer to trim; set model.tokenizer first")
    kept = sorted(set(map(int, kept_ids)))
    tokenizer = trimmed_tokenizer(model.tokenizer, kept)
    architecture = replace(model.architecture, vocabulary_size=len(kept))
    check_tokenizer(architecture, tokenizer, "the trimmed model")
    config = model.get_config() | {"architecture": asdict(architecture), "tokenizer": None}
    trimmed = type(model).from_config(config)
    trimmed.tokenizer = tokenizer
    sources = named_variables(model)
    for name, variable in named_variables(trimmed).items():
        value = np.asarray(sources[name].value)
        variable.assign(value[kept] if name in _OF_THE_VOCABULARY else value)
    return trimmed


def trimmed_to(teacher: Teacher, tokenizer: Tokenizer | None) -> Teacher:
    """Cut a teacher's vocabulary to that of a student, which kept a part of its tokens.

    Only then do both read the same text, and choose from the same words.

    Args:
        teacher: with all its tokens.
        tokenizer: the student's; None if it has none.

    Returns:
        The teacher itself if that is its tokenizer, or is not known; otherwise what `trim_model`
        makes of it.

    Raises:
        UserError: the student's vocabulary is no part of the teacher's, or its tokenizer another;
            or the teacher would have to be cut, but is keras-nlp's.
    """
    whole = teacher.tokenizer
    if whole is None or tokenizer is None or whole.sha256 == tokenizer.sha256:
        return teacher
    # From the end, for of equal tokens the last one counts.
    left = iter(reversed(list(enumerate(whole.vocabulary))))
    kept = [
        next((i for i, known in left if known == token), -1)
        for token in reversed(tokenizer.vocabulary)
    ]
    try:
        is_part = trimmed_tokenizer(whole, kept).sha256 == tokenizer.sha256
    except UserError:  # it has a token of its own, or lacks one that every vocabulary needs
        is_part = False
    if not is_part:
        raise UserError(
            f"teacher ({len(whole.vocabulary)} tokens) and student ({len(tokenizer.vocabulary)}) "
            "have different vocabularies or tokenizers; their predictions cannot be compared"
        )
    return trim_model(teacher, kept)
