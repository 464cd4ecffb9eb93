"""The texts on which a written file is compared with its model, and their rows of ids."""

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_distilbert.data.text import read_blocks
from tf_distilbert.sample.corpus import sample_text
from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.token_windows import cut_into_windows, cut_off, pair_room

SAMPLE_TEXTS = (
    "A short text with a [MASK] in it.",
    "The quick brown fox jumps over the lazy dog, while 12 others watch it from the river bank.",
    "Crème brûlée, naïve façades, Ελλάδα, 東京 and an emoji 🙂 in one line!",
)

CHECKED_TEXTS = 64
"""Texts whose answers are compared; fewer where each takes long, see `num_checked`."""

CALIBRATION_TEXTS = 200
"""Texts from which ranges of integers are learnt."""

_LEAST_CHECKED = 16
_TOKENS_AT_LENGTH = 8192
_MOST_MASKS, _TOKENS_PER_MASK = 4, 8


class CheckRows(NamedTuple):
    """Rows as a model takes them, and which of its answers count.

    Attributes:
        inputs: int32 by the names of `ServedModel.input_names`, [W, S]; ``mask_positions`` [W, P].
        counted: bool: of a masked language model [W, P], the masks; of others [W, S], the tokens
            of the text that is answered, without special tokens and without a question.
    """

    inputs: dict[str, np.ndarray]
    counted: np.ndarray


def num_checked(row_length: int | None) -> int:
    """Give how many texts to compare so that it takes seconds.

    Args:
        row_length: tokens that a row has in the file, however short its text; None where a row is
            as long as its text.
    """
    if row_length is None:
        return CHECKED_TEXTS
    return max(_LEAST_CHECKED, min(CHECKED_TEXTS, _TOKENS_AT_LENGTH // row_length))


def check_texts(number: int) -> list[str]:
    """Give `SAMPLE_TEXTS` and lines of the built-in sample's validation text, of all its parts."""
    lines = [line for line in sample_text("validation").splitlines() if line]
    wanted = number - len(SAMPLE_TEXTS)
    return [*SAMPLE_TEXTS, *(lines[i * len(lines) // wanted] for i in range(wanted))]


def calibration_texts(sources: Sequence[str], num_checks: int) -> tuple[list[str], list[str]]:
    """Read the lines to calibrate on, and those to compare the answers on.

    Args:
        sources: see `read_blocks`.
        num_checks: how many lines to compare on. They follow those calibrated on; of a text that
            ends before, they are its last lines, which were calibrated on, too.
    """
    lines = (
        paragraph.decode()
        for block in read_blocks(sources)
        for document in block.documents
        for paragraph in document
    )
    seen: set[str] = set()
    different = (line for line in lines if not (line in seen or seen.add(line)))  # type: ignore[func-returns-value]
    texts = list(islice(different, CALIBRATION_TEXTS + num_checks))
    return texts[:CALIBRATION_TEXTS], texts[-num_checks:]


def check_rows(served: ServedModel, texts: Sequence[str]) -> CheckRows:
    """Make rows of ids of texts as the model takes them.

    A masked language model is asked for some words of each text, one in eight. Where a model takes
    questions, that of each text is another text.
    """
    tokens = served.tokenizer.tokenize(list(texts))
    questions = None
    if served.task == "question_answering":
        questions = cut_off(tf.reverse(tokens, [0]), pair_room(served) // 2)
    windows = cut_into_windows(served, tokens, questions)
    inputs = {name: tensor.numpy() for name, tensor in windows.inputs.items()}
    counted = windows.shown.numpy()
    if served.task == "masked_lm":
        inputs, counted = _with_masks(inputs, counted, served.tokenizer.mask_id)
    return CheckRows(inputs, counted)


def _with_masks(
    inputs: dict[str, np.ndarray], shown: np.ndarray, mask_id: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Put masks over tokens, evenly over each text."""
    token_ids = inputs["token_ids"].copy()
    positions = np.zeros((len(shown), _MOST_MASKS), np.int32)
    counted = np.zeros(positions.shape, bool)
    for row, places in enumerate(map(np.flatnonzero, shown)):
        if len(places):
            number = min(_MOST_MASKS, max(1, len(places) // _TOKENS_PER_MASK))
            chosen = places[[len(places) * (2 * i + 1) // (2 * number) for i in range(number)]]
            token_ids[row, chosen] = mask_id
            positions[row, :number], counted[row, :number] = chosen, True
    return inputs | {"token_ids": token_ids, "mask_positions": positions}, counted
