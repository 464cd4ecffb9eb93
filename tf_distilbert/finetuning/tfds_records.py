"""Tasks' splits from tensorflow-datasets."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tf_distilbert.data.tfds_split import load_split
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.example import Example, QuestionExample, TextExample
from tf_distilbert.finetuning.squad_file import check_questions, with_matching_answers
from tf_distilbert.finetuning.task_table import Task


def read_tfds(task: Task, split: str, warn: Callable[[str], None]) -> Sequence[Example]:
    """Read a split; the builder's classes have the order of `Task.labels`.

    Args:
        task: one that tensorflow-datasets has.
        split: of the task; of the same name there.
        warn: is told what was left out, as in `read_squad`.

    Raises:
        UserError: there is no such data set, or it cannot be loaded.
    """
    if not task.builder:
        raise UserError(f"{task.name}: is not in tensorflow-datasets; name the folder of its files")
    source = f"tfds:{task.builder}#{split}"
    records = load_split(source, task.builder, split).as_numpy_iterator()
    try:
        if task.kind != "question_answering":
            return [_text_example(task, record, n) for n, record in enumerate(records)]
        examples = list(_questions(records))
    except KeyError as error:
        raise UserError(
            f"{source}: has no feature {error}; install the newest tensorflow-datasets"
        ) from None
    check_questions(task, examples, source)
    return with_matching_answers(examples, source, warn) if split == "train" else examples


def _text_example(task: Task, record: dict[str, Any], number: int) -> TextExample:
    texts = tuple(record[name].decode("utf-8") for name in task.features)
    index = str(record.get("idx", number))
    if task.kind == "regression":
        # Of a split without labels all scores are -1.
        score = float(record["label"])
        return TextExample(index, texts, score if score >= 0 else None)
    label = int(record["label"])
    return TextExample(index, texts, label if label >= 0 else None)


def _questions(records: Iterator[dict[str, Any]]) -> Iterator[QuestionExample]:
    for record in records:
        answers = record["answers"]
        names = ("id", "question", "context", "title")
        yield QuestionExample(
            **{name: record[name].decode("utf-8") for name in names},
            answers=tuple(text.decode("utf-8") for text in answers["text"]),
            starts=tuple(map(int, answers["answer_start"])),
            is_impossible=bool(record.get("is_impossible", False)),
        )
