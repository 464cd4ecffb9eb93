"""Answers from the logits of all windows of a question, as BERT's run_squad.py finds them.

Starts and ends are paired by `serving.question_answering`, so that a served model answers what is
scored here. It differs from run_squad in this:

- The text of an answer is cut out of the context by its characters, spaces, line breaks and all.
  run_squad joins whole words with single spaces and looks for the pieces in them; where it does
  not find them (some characters with accents; in `transformers` any answer that begins inside a
  word) it answers with the whole words. Scores see this only where an answer ends inside a word.
- Logits of padding do not compete: with rows as long as need be, results would depend on the batch.
- A question without any candidate is answered with nothing, not with the word ``empty``.

Dimensions: S tokens of a window.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.errors import NotFiniteError
from tf_distilbert.finetuning.answer_windows import AnswerWindow
from tf_distilbert.finetuning.examples import QuestionExample
from tf_distilbert.serving.question_answering import (
    MAX_ANSWER_LENGTH,
    N_BEST_SIZE,
    best_pairs,
)

_AT_ONCE = 256
"""Windows whose starts and ends are paired together."""


@dataclass(frozen=True)
class Candidate:
    """A stretch of a context that may be the answer; the whole empty for no answer.

    Attributes:
        text: of the stretch.
        start_logit: of its first token.
        end_logit: of its last token.
        start: its first character in the context.
        end: the character after its last.
        probability: among the candidates of the question.
    """

    text: str
    start_logit: float
    end_logit: float
    start: int = 0
    end: int = 0
    probability: float = 0.0

    @property
    def score(self) -> float:
        """The sum of its logits."""
        return self.start_logit + self.end_logit


@dataclass(frozen=True)
class Answer:
    """What a model answers.

    Attributes:
        id: of the question.
        text: of the answer; empty for none.
        n_best: candidates of different texts, the best first.
        null_odds: by how much the logits of no answer are larger in sum than those of the best
            text; None where there is always an answer (SQuAD 1.1).
    """

    id: str
    text: str
    n_best: tuple[Candidate, ...]
    null_odds: float | None = None


def best_answers(
    examples: Sequence[QuestionExample],
    windows: Sequence[AnswerWindow],
    start_logits: Sequence[np.ndarray],
    end_logits: Sequence[np.ndarray],
    *,
    n_best_size: int = N_BEST_SIZE,
    max_answer_length: int = MAX_ANSWER_LENGTH,
    null_answers: bool = False,
    null_threshold: float = 0.0,
) -> list[Answer]:
    """Give the best answer of each question.

    Args:
        examples: the questions.
        windows: all of theirs, from `cut_answer_windows`.
        start_logits: for each window float [S] or longer, what is more is padding.
        end_logits: the same.
        n_best_size: how many starts and ends of a window are paired, and how many candidates are
            kept.
        max_answer_length: tokens of the longest answer.
        null_answers: whether a question may have no answer (SQuAD 2.0).
        null_threshold: it has none if the null odds are larger than this.

    Returns:
        An answer for each example, in their order.

    Raises:
        NotFiniteError: a logit is not finite.
    """
    found: list[list[Candidate]] = [[] for _ in examples]
    nulls: list[Candidate | None] = [None] * len(examples)
    for begin in range(0, len(windows), _AT_ONCE):
        some = windows[begin : begin + _AT_ONCE]
        logits = [
            np.stack([np.asarray(side, np.float64)[: len(window.token_ids)] for side in sides], -1)
            for window, *sides in zip(
                some,
                start_logits[begin : begin + _AT_ONCE],
                end_logits[begin : begin + _AT_ONCE],
                strict=True,
            )
        ]
        for window, own in zip(some, logits, strict=True):
            example = examples[window.question]
            if not np.all(np.isfinite(own)):
                raise NotFiniteError(
                    f"question {example.id}: the model's logits are not finite; train with a lower "
                    "learning rate"
                )
            null = Candidate("", *own[0].tolist())
            best = nulls[window.question]
            if best is None or null.score < best.score:
                nulls[window.question] = null
        for window, candidate in _candidates(
            examples, some, logits, n_best_size, max_answer_length
        ):
            found[window.question].append(candidate)
    return [
        _answer(example.id, candidates, null if null_answers else None, n_best_size, null_threshold)
        for example, candidates, null in zip(examples, found, nulls, strict=True)
    ]


def _candidates(
    examples: Sequence[QuestionExample],
    windows: Sequence[AnswerWindow],
    logits: Sequence[np.ndarray],
    n_best_size: int,
    max_answer_length: int,
) -> Iterator[tuple[AnswerWindow, Candidate]]:
    """Give all pairs of all windows in their order, of each window the likeliest start first."""
    shape = len(windows), max(len(window.token_ids) for window in windows)
    padded = np.zeros((*shape, 2))
    real, owned, shown = np.zeros((3, *shape), bool)
    for i, (window, own) in enumerate(zip(windows, logits, strict=True)):
        body = slice(window.body, window.body + len(window.starts))
        padded[i, : len(own)], real[i, : len(own)] = own, True
        owned[i, body], shown[i, body] = window.max_context, True
    pairs = best_pairs(padded, real, owned, shown, n_best_size, max_answer_length)
    starts, ends, sums = (part.numpy() for part in pairs)
    for i, first, last in np.argwhere(np.isfinite(sums)).tolist():
        window, context = windows[i], examples[windows[i].question].context
        columns = starts[i, first], ends[i, last]
        logit, end_logit = (float(logits[i][c, side]) for side, c in enumerate(columns))
        start = int(window.starts[columns[0] - window.body])
        end = int(window.ends[columns[1] - window.body])
        yield window, Candidate(context[start:end], logit, end_logit, start, end)


def _answer(
    question: str,
    candidates: list[Candidate],
    null: Candidate | None,
    n_best_size: int,
    null_threshold: float,
) -> Answer:
    """The best of candidates and, unless it is None, the null answer."""
    if null is not None:
        candidates = [*candidates, null]
    n_best: dict[str, Candidate] = {}
    for candidate in sorted(candidates, key=lambda c: c.score, reverse=True):
        if len(n_best) < n_best_size:
            n_best.setdefault(candidate.text, candidate)
    if null is not None:
        n_best.setdefault("", null)
    listed = _with_probabilities(list(n_best.values()))
    texts = [candidate for candidate in listed if candidate.text]
    if null is None:
        return Answer(question, listed[0].text if listed else "", listed)
    odds = null.score - (texts[0].score if texts else 0.0)
    answered = texts and odds <= null_threshold
    return Answer(question, texts[0].text if answered else "", listed, odds)


def _with_probabilities(candidates: list[Candidate]) -> tuple[Candidate, ...]:
    if not candidates:
        return ()
    scores = np.array([candidate.score for candidate in candidates])
    exponentials = np.exp(scores - np.max(scores))
    return tuple(
        replace(candidate, probability=float(p))
        for candidate, p in zip(candidates, exponentials / np.sum(exponentials), strict=True)
    )


def write_n_best(path: str | Path, answers: Sequence[Answer]) -> None:
    """Write the candidates of each question, as run_squad's ``nbest_predictions.json``.

    Raises:
        UserError: the file cannot be written.
    """
    content = {
        answer.id: [
            {
                "text": candidate.text,
                "probability": candidate.probability,
                "start_logit": candidate.start_logit,
                "end_logit": candidate.end_logit,
            }
            for candidate in answer.n_best
        ]
        for answer in answers
    }
    write_atomically(Path(path), (json.dumps(content, indent=2) + "\n").encode("utf-8"))
