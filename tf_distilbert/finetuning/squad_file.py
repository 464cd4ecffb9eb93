"""SQuAD's official JSON files."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.examples import QuestionExample
from tf_distilbert.finetuning.files import find_file, is_text, read_lines
from tf_distilbert.finetuning.tasks import Task

_NUM_LISTED = 20


def read_squad(
    task: Task, folder: Path, split: str, warn: Callable[[str], None]
) -> list[QuestionExample]:
    """Read a split: ``train-v1.1.json``, ``dev-v2.0.json`` and so on, packed or not.

    Of the training split, questions are left out that `with_matching_answers` leaves out.

    Args:
        task: SQuAD 1.1 or 2.0.
        folder: of the files.
        split: ``train`` or ``validation``.
        warn: is told what was left out.

    Raises:
        UserError: the file is missing or not SQuAD's, or a question of 1.1 has no answer.
    """
    version = task.builder.removeprefix("squad/")
    stem = split.replace("validation", "dev")
    path = find_file(task, folder, (f"{stem}-{version}.json", f"{stem}.json"))
    try:
        content = json.loads("\n".join(line for _, line in read_lines(path)))
    except (ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: is not JSON ({error}); fetch it again") from None
    examples = list(_questions(content, path))
    check_questions(task, examples, str(path))
    return with_matching_answers(examples, str(path), warn) if split == "train" else examples


def _questions(content: Any, path: Path) -> Iterator[QuestionExample]:
    at = "the beginning"
    try:
        for article in content["data"]:
            for paragraph in article["paragraphs"]:
                context = paragraph["context"]
                for question in paragraph["qas"]:
                    at = f"question {question['id']}"
                    impossible = bool(question.get("is_impossible", False))
                    answers = [] if impossible else question["answers"]
                    example = QuestionExample(
                        question["id"],
                        question["question"],
                        context,
                        article.get("title", ""),
                        tuple(answer["text"] for answer in answers),
                        tuple(int(answer["answer_start"]) for answer in answers),
                        impossible,
                    )
                    texts = (example.id, example.question, context, *example.answers)
                    if not all(isinstance(text, str) and is_text(text) for text in texts):
                        raise UserError(f"{path}: {at} has something else than text; mend it")
                    yield example
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        lacks = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path}: is not in SQuAD's format, near {at}: {lacks}; mend it") from None


def check_questions(task: Task, examples: Sequence[QuestionExample], source: str) -> None:
    """Check that predictions can be told apart, and that the data is not the other version's.

    Args:
        task: SQuAD 1.1 or 2.0.
        examples: of one split.
        source: for the message.

    Raises:
        UserError: two questions have the same id, or one of 1.1 has no answer.
    """
    seen = set()
    for example in examples:
        if example.id in seen:
            raise UserError(f"{source}: two questions have the id {example.id}; change one")
        seen.add(example.id)
        if not example.answers and task.name == "squad":
            raise UserError(
                f"{source}: question {example.id} has no answer, as only SQuAD 2.0 has them; take "
                "the task squad-v2"
            )


def with_matching_answers(
    examples: Sequence[QuestionExample], source: str, warn: Callable[[str], None]
) -> list[QuestionExample]:
    """Leave out what a model cannot be trained on: answers that do not stand where they should.

    An answer is left out unless the context has its very characters at its start; a question
    without an answer left is left out too, unless it had none before.

    Args:
        examples: of a training split.
        source: for the message.
        warn: is told how many questions are left out, and which.
    """
    kept, left_out = [], []
    for example in examples:
        pairs = zip(example.answers, example.starts, strict=True)
        # A negative start would count from the end.
        match = [p for p in pairs if p[1] >= 0 and example.context.startswith(*p) and p[0]]
        if example.answers and not match:
            left_out.append(example.id)
            continue
        answers, starts = zip(*match, strict=True) if match else ((), ())
        kept.append(replace(example, answers=answers, starts=starts))
    if left_out:
        rest = len(left_out) - _NUM_LISTED
        listed = ", ".join(left_out[:_NUM_LISTED]) + f" and {rest} more" * (rest > 0)
        warn(
            f"{source}: {len(left_out)} of {len(examples)} questions are left out, for their "
            f"answers do not stand where answer_start says: {listed}"
        )
    return kept
