"""Ask teacher and student the same, time them, and show it as HTML.

Tables are such that a screen reader can read them, and nothing of a text is taken as markup.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from tf_distilbert.demo.answer_table import (
    Answer,
    Answers,
    AnswerTable,
    lines_of,
    read_answers,
)
from tf_distilbert.demo.model_pair import ModelPair
from tf_distilbert.errors import UserError
from tf_distilbert.evaluation.fill_mask import count_masks
from tf_distilbert.exports.prediction import Predictor

WHAT_LATENCY_IS = (
    "Latency is the time from a text to its answer on this machine: one text at a time, tokenizing "
    "included, this page not; the median of {calls} after one that is not counted, the two models "
    "in turns. What runs as one graph runs as on a server; what runs in steps is slower here than "
    "it need be. Many texts at once take less time each."
)

MOST_CALLS = 7

ENOUGH_SECONDS = 3.0
"""Nobody waits longer than this for a latency: slow models are called less often."""


@dataclass(frozen=True)
class Comparison:
    """What came of one request.

    Attributes:
        answers: what the two said.
        seconds: of teacher and student, from the request to the answer: the median of the calls.
        calls: of each of the two that were timed.
        is_one_graph: of teacher and student, see `Predictor`.
    """

    answers: Answers
    seconds: tuple[float, float]
    calls: int
    is_one_graph: tuple[bool, bool]


def compare(pair: ModelPair, request: Mapping[str, str]) -> Comparison:
    """Ask both the same.

    The answers are those of a first call, which is not timed: it compiles and warms up. The
    latencies are of those that follow, in turns.

    Args:
        pair: who is asked.
        request: as `Predictor.predict` takes it.

    Raises:
        UserError: a text is empty, has no mask, or one that a model does not read.
    """
    for name, text in request.items():
        if not text.strip():
            raise UserError(f"{name}: is empty; write something")
    answers = [_ask(model, request) for model in pair]
    if pair.teacher.served.task == "masked_lm":
        _check_masks(pair, request["text"], answers)
    seconds: tuple[list[float], list[float]] = ([], [])
    begin = time.perf_counter()
    for _ in range(MOST_CALLS):
        for model, times in zip(pair, seconds, strict=True):
            start = time.perf_counter()
            _ask(model, request)
            times.append(time.perf_counter() - start)
        if time.perf_counter() - begin > ENOUGH_SECONDS:
            break
    teacher, student = map(statistics.median, seconds)
    return Comparison(
        read_answers(pair, request, *answers),
        seconds=(teacher, student),
        calls=len(seconds[0]),
        is_one_graph=(pair.teacher.is_one_graph, pair.student.is_one_graph),
    )


def _ask(model: Predictor, request: Mapping[str, str]) -> Answer:
    if model.served.task == "embedding":
        texts = lines_of(request["texts"])
        query, *others = (
            np.array(answer["embedding"])
            for answer in model.predict([{"text": text} for text in (request["text"], *texts)])
        )
        return {"cosines": [float(_cosine(query, other)) for other in others]}
    [answer] = model.predict([request])
    return answer


def _cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return one @ other / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-12)


def _check_masks(pair: ModelPair, text: str, answers: Sequence[Answer]) -> None:
    """Refuse what `Predictor` answers without a word: no mask, or one beyond what is read."""
    for who, model, answer in zip(("teacher", "student"), pair, answers, strict=True):
        count, read = count_masks(text, model.served.tokenizer), len(answer["tokens"])
        if read < count:
            raise UserError(
                f"the {who} reads {read} of the text's {count} masks: it takes "
                f"{model.served.max_length} tokens; shorten the text"
            )


def comparison_html(comparison: Comparison) -> str:
    """Show answers and latencies."""
    seconds = comparison.seconds
    milliseconds = (f"{1000 * value:.2f}" for value in seconds)
    ways = ("one graph" if is_one else "steps" for is_one in comparison.is_one_graph)
    latency = AnswerTable("Latency", (("ms", *milliseconds), ("runs as", *ways)))
    calls = f"{comparison.calls} calls" if comparison.calls > 1 else "one call"
    return "\n".join(
        (
            f"<p><strong>{escape(comparison.answers.agreement)}</strong></p>",
            *map(_table, (*comparison.answers.tables, latency)),
            f"<p>The student takes {seconds[1] / seconds[0]:.2f} of the teacher's time.</p>",
            f"<p><small>{WHAT_LATENCY_IS.format(calls=calls)}</small></p>",
        )
    )


def error_html(message: str) -> str:
    """Show what is wrong with a request."""
    return f'<p role="alert">{escape(message)}</p>'


def _table(table: AnswerTable) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in table.rows
    )
    head = '<td></td><th scope="col">Teacher</th><th scope="col">Student</th>'
    caption = f"<caption>{escape(table.caption)}</caption>"
    kind = ' class="ranked"' if table.is_ranked else ""
    return f"<table{kind}>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
