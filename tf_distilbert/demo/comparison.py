"""Ask teacher and student the same, and time them."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tf_distilbert.demo.answer_table import Answer, Answers, read_answers
from tf_distilbert.demo.model_pair import ModelPair
from tf_distilbert.errors import UserError
from tf_distilbert.mask_filling import count_masks
from tf_distilbert.prediction import Predictor

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
    [answer] = model.predict([request])
    return answer


def _check_masks(pair: ModelPair, text: str, answers: Sequence[Answer]) -> None:
    """Refuse what `Predictor` answers without a word: no mask, or one beyond what is read."""
    for who, model, answer in zip(("teacher", "student"), pair, answers, strict=True):
        count, read = count_masks(text, model.served.tokenizer), len(answer["tokens"])
        if read < count:
            raise UserError(
                f"the {who} reads {read} of the text's {count} masks: it takes "
                f"{model.served.max_length} tokens; shorten the text"
            )
