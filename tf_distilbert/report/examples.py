"""Held-out sentences with one word hidden, and what the models of all runs would put there."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from tf_distilbert.data.records import Records
from tf_distilbert.evaluation.fill_mask import Prediction
from tf_distilbert.report.run_models import HeldOut, RunModels
from tf_distilbert.tokenization.tokenizer import Tokenizer

_FREQUENT = 100  # tokens; what they say can be guessed without having learnt anything
_BEFORE, _AFTER = 24, 12  # tokens that are shown
_POINTS = ".,;:!?%)]"  # before them is no space


@dataclass(frozen=True)
class Blank:
    """A word that is hidden in a sequence.

    Attributes:
        token_ids: the sequence as a model sees it, int32 [S], padded.
        length: of its tokens.
        position: of the blank.
        before, word, after: the text around it; they stand together without spaces of their own.
    """

    token_ids: np.ndarray
    length: int
    position: int
    before: str
    word: str
    after: str


def choose_blanks(records: Records, tokenizer: Tokenizer, number: int = 8) -> list[Blank]:
    """Hide a word in each of some sequences, spread evenly; always the same ones.

    The words are whole tokens of three letters or more; none of the most frequent, where there are
    others.
    """
    generator = np.random.default_rng(0)
    indices = np.unique(np.linspace(0, len(records) - 1, number).round().astype(np.int64))
    frequent = set(np.argsort(-records.token_counts, kind="stable")[:_FREQUENT].tolist())
    forms = tokenizer.surface_forms
    blanks = []
    for row, length in zip(records.gather(indices), records.lengths(indices), strict=True):
        places = [i for i in range(1, length - 1) if _is_word(tokenizer, forms, row, i, length)]
        places = [i for i in places if int(row[i]) not in frequent] or places
        if places:
            blanks.append(_blank(tokenizer, forms, row, int(length), int(generator.choice(places))))
    return blanks


def answer(
    model: keras.Model, tokenizer: Tokenizer, blanks: Sequence[Blank], top_k: int = 3
) -> list[list[Prediction]]:
    """Give the words that a model finds likeliest at each blank, best first."""
    lengths = np.array([blank.length for blank in blanks])[:, None]
    token_ids = np.stack([blank.token_ids for blank in blanks])
    inputs = {
        "token_ids": token_ids,
        "padding_mask": np.arange(token_ids.shape[1])[None] < lengths,
        "mask_positions": np.array([[blank.position] for blank in blanks], np.int32),
    }
    logits = ops.cast(model(inputs, training=False)[:, 0], "float32")
    probabilities, ids = map(ops.convert_to_numpy, ops.top_k(ops.softmax(logits), top_k))
    forms = tokenizer.surface_forms
    return [
        [Prediction(forms[i].strip(), float(p)) for p, i in zip(*found, strict=True)]
        for found in zip(probabilities, ids, strict=True)
    ]


def _blank(
    tokenizer: Tokenizer, forms: Sequence[str], row: np.ndarray, length: int, position: int
) -> Blank:
    seen = row.copy()
    seen[position] = tokenizer.mask_id
    start, end = max(1, position - _BEFORE), min(length - 1, position + 1 + _AFTER)
    before = _text(tokenizer, forms, row[start:position]).lstrip(_POINTS)
    after = _text(tokenizer, forms, row[position + 1 : end])
    return Blank(
        token_ids=seen,
        length=length,
        position=position,
        before=("… " if start > 1 else "") + before + " ",
        word=forms[row[position]].strip(),
        after=("" if after[:1] in _POINTS else " ") + after + (" …" if end < length - 1 else ""),
    )


def _is_word(
    tokenizer: Tokenizer, forms: Sequence[str], row: np.ndarray, i: int, length: int
) -> bool:
    form = forms[row[i]].strip()
    whole = _begins(tokenizer, row[i]) and (i + 1 == length or _ends(tokenizer, forms, row[i + 1]))
    return whole and len(form) >= 3 and form.isalpha() and row[i] not in tokenizer.special_ids


def _begins(tokenizer: Tokenizer, token: int) -> bool:
    """Whether a token begins a word."""
    name, start = tokenizer.vocabulary[token], tokenizer.word_start
    return name.startswith(start) if start else not name.startswith("##")


def _ends(tokenizer: Tokenizer, forms: Sequence[str], token: int) -> bool:
    """Whether a word is over before a token: another one begins, or none."""
    after_word_start = bool(tokenizer.word_start) and not forms[token].strip().isalpha()
    return _begins(tokenizer, token) or after_word_start


def _text(tokenizer: Tokenizer, forms: Sequence[str], ids: np.ndarray) -> str:
    """Write tokens as text; of WordPiece, which forgets where spaces were, a likely one."""
    if tokenizer.word_start:
        return "".join(forms[i] for i in ids).strip()
    text = " ".join(forms[i] for i in ids).replace(" ##", "").removeprefix("##")
    return re.sub(rf" ([{re.escape(_POINTS)}])", r"\1", text)


@dataclass(frozen=True)
class Example:
    """A sentence with a blank, and each model's answers.

    Attributes:
        blank: the sentence.
        answers: name of a model to its predictions, best first.
    """

    blank: Blank
    answers: dict[str, list[Prediction]]


class Examples:
    """Collects answers, model by model.

    Attributes:
        shown: the examples, of the first run's held-out text.
    """

    def __init__(self) -> None:
        self.shown: list[Example] = []
        self._vocabulary: str | None = None
        self._teachers: list[str] = []

    def add(self, models: RunModels, held_out: HeldOut) -> None:
        """Let the models of a run answer, a teacher of several runs once.

        Args:
            models: of a run.
            held_out: what the run held out; the first run's has the sentences.
        """
        tokenizer = models.model.tokenizer
        if self._vocabulary is None:
            blanks = choose_blanks(held_out.records, tokenizer)
            self.shown = [Example(blank, {}) for blank in blanks]
            self._vocabulary = tokenizer.sha256
        if self._vocabulary != tokenizer.sha256:
            models.notes.append("Its vocabulary is not that of the examples, which it leaves out.")
            return
        source = models.run.teacher
        if models.teacher is not None and source is not None and source not in self._teachers:
            others = f" of {models.run.name}" if self._teachers else ""
            self._teachers.append(source)
            self._answer(f"teacher{others}", models.teacher)
        kind = "student " if models.run.teacher else ""
        self._answer(kind + models.run.name, models.model)

    def _answer(self, name: str, model: keras.Model) -> None:
        blanks: Sequence[Blank] = [example.blank for example in self.shown]
        if not blanks:
            return
        answers = answer(model, model.tokenizer, blanks)
        for example, predictions in zip(self.shown, answers, strict=True):
            example.answers[name] = predictions
