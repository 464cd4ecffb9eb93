"""From what files write to numbers of classes and scores."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.tasks import Task

_NUM_LISTED = 20


def label_numbers(task: Task) -> dict[str, int]:
    """Give the number of each class by how the files of the task write it."""
    return {label: number for number, label in enumerate(task.written_labels or task.labels)}


def label_number(value: Any, numbers: Mapping[str, int], where: str) -> int:
    """Give the number of a class.

    Args:
        value: as the file has it.
        numbers: of all classes.
        where: file and line, for the message.

    Raises:
        UserError: it is none of the classes.
    """
    text = label_text(value, where)
    if text not in numbers:
        known = list(numbers)
        rest = f" and {len(known) - _NUM_LISTED} more" if len(known) > _NUM_LISTED else ""
        raise UserError(
            f"{where}: label {text!r} is none of {', '.join(known[:_NUM_LISTED])}{rest}; mend the "
            "line"
        )
    return numbers[text]


def label_text(value: Any, where: str) -> str:
    """Give a label as text; JSON may write it as a whole number.

    Raises:
        UserError: it is empty, or neither text nor a whole number.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise UserError(f"{where}: the label is {value!r}; write a text or a whole number")
    return value


def label_value(task: Task, value: Any, numbers: Mapping[str, int], where: str) -> int | float:
    """Give a score or the number of a class; see `score_of`, `label_number`."""
    if task.has_numbers:
        return score_of(value, where)
    return label_number(value, numbers, where)


def score_of(value: Any, where: str) -> float:
    """Give the number that a regression is to give.

    Raises:
        UserError: it is no finite number.
    """
    try:
        score = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise UserError(f"{where}: the score is {value!r}, no finite number; mend the line")
    return score


def with_found_labels(task: Task, found: Iterable[str], source: str) -> Task:
    """Give the task with the classes of its training data, sorted as text.

    Args:
        task: of the user's own.
        found: every label of the training data, as often as you like.
        source: for the message.

    Raises:
        UserError: there are fewer than two.
    """
    labels = tuple(sorted(set(found)))
    if len(labels) < 2:
        only = f"the only label is {labels[0]!r}" if labels else "there is no label"
        raise UserError(f"{source}: {only}; a classification needs two or more")
    return replace(task, labels=labels)
