"""Whether a written file answers as its model does: the same labels, words and places.

Numbers that are close say little where the answers are close to each other, too: a model that was
hardly trained has outputs that differ in the third digit, and 8 bits do not hold three.
"""

from dataclasses import dataclass

import numpy as np

from tf_distilbert.errors import UserError
from tf_distilbert.serving.served_model import ServedModel

EXPECTED_AGREEMENT = {
    "float32": 0.99,
    "float16": 0.95,
    "bfloat16": 0.95,
    "int8": 0.9,
    "full_int8": 0.9,
}
"""By precision: an export that agrees less is kept with a warning."""

LEAST_AGREEMENT = 0.5
"""An export in 8 bits that agrees less is not kept."""

# Of others the numbers are so close that only a model whose answers are noise can disagree.
_IN_8_BITS = ("int8", "full_int8")

_ANSWERS = {
    "masked_lm": "words at masks",
    "token_classification": "labels of tokens",
    "question_answering": "places of answers",
    "encoder": "vectors",
    "embedding": "vectors",
}
_LABELS = {
    "single_label": "labels",
    "multi_label": "sets of labels",
    "regression": "pairs in order",
}


@dataclass(frozen=True)
class Agreement:
    """How many answers of a file are its model's.

    Attributes:
        share: of the answers that are the same: the likeliest label of a text (or its set of
            labels) or of a token, the likeliest word at a mask, the likeliest start and end of an
            answer. Of a regression, the pairs of texts that both put in the same order. Of an
            encoder, the mean cosine of the file's vectors with the model's, one a token; of a
            sentence encoder, one a text.
        count: how many answers were compared.
        answers: what they are.
        distinct: how many different ones the model gave, as far as they are labels or words; with 1
            the share says nothing.
    """

    share: float
    count: int
    answers: str
    distinct: int | None = None

    def __str__(self) -> str:
        share = f"{self.share:.1%}"
        if self.answers == _ANSWERS["encoder"]:
            share = f"mean cosine {self.share:.4f}"
        return f"{share} of {self.count:,} {self.answers}"


def measure_agreement(
    served: ServedModel, expected: np.ndarray, found: np.ndarray, counted: np.ndarray
) -> Agreement:
    """Compare the answers that follow from raw outputs.

    Args:
        served: the model.
        expected: its output, float [W, ...]; see `Service`.
        found: the file's, of the same shape.
        counted: which answers count; see `CheckRows`.
    """
    if served.task == "embedding":
        same, answers = _cosine(expected, found), _ANSWERS[served.task]
    elif served.task == "sequence_classification":
        same, answers = _SAME[served.problem](expected, found), _LABELS[served.problem]
    elif served.task == "question_answering":
        with_text = counted.any(axis=1)
        same = (_places(expected, counted) == _places(found, counted)).all(axis=1)[with_text]
        answers = _ANSWERS[served.task]
    else:
        compare = _cosine if served.task == "encoder" else _same_best
        same, answers = compare(expected[counted], found[counted]), _ANSWERS[served.task]
    share = float(np.mean(same)) if same.size else 1.0
    return Agreement(share, same.size, answers, _count_distinct(served, expected, counted))


def _count_distinct(served: ServedModel, expected: np.ndarray, counted: np.ndarray) -> int | None:
    """Count the different labels or words that the model gives."""
    if served.task == "sequence_classification" and served.problem != "regression":
        found = expected > 0 if served.problem == "multi_label" else expected.argmax(-1)
        return len(np.unique(found, axis=0))
    if served.task in ("token_classification", "masked_lm"):
        return len(np.unique(expected[counted].argmax(-1)))
    return None


def check_agreement(agreement: Agreement, precision: str) -> str | None:
    """Give a warning of one line, if one is due.

    Raises:
        UserError: a file in 8 bits has so few of the model's answers that it is useless.
    """
    says = f"the agreement of {precision} with the model is {agreement}"
    if precision in _IN_8_BITS and agreement.share < LEAST_AGREEMENT:
        raise UserError(
            f"the export: {says}; nothing was kept of it; use another --precision, or train the "
            "model until its answers are less close to each other"
        )
    expected = EXPECTED_AGREEMENT[precision]
    if agreement.share < expected:
        return (
            f"warning: {says}, less than {expected:.0%}; measure the export on your own task, or "
            "use another --precision"
        )
    if agreement.distinct == 1:
        return (
            f"warning: the model gives all {agreement.count:,} {agreement.answers} alike, so their "
            "agreement says nothing; measure the export on your own task"
        )
    return None


def _same_best(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    return expected.argmax(-1) == found.argmax(-1)


def _same_set(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """A label is given where its sigmoid is above one half."""
    return ((expected > 0) == (found > 0)).all(-1)


def _same_order(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    first, second = np.triu_indices(len(expected), 1)
    orders = (np.sign(values[first, 0] - values[second, 0]) for values in (expected, found))
    return np.equal(*orders)


_SAME = {"single_label": _same_best, "multi_label": _same_set, "regression": _same_order}


def _places(logits: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Likeliest start and end in the text: float [W, S, 2] and bool [W, S] to int [W, 2]."""
    return np.where(counted[..., None], logits, -np.inf).argmax(1)


def _cosine(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    products = (expected * found).sum(-1)
    lengths = np.linalg.norm(expected, axis=-1) * np.linalg.norm(found, axis=-1)
    return products / np.maximum(lengths, 1e-12)
