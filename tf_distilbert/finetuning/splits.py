"""Reading a split of a task, wherever it lies: a folder of files, or tensorflow-datasets."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tf_distilbert.data.tfds_split import load_split
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.examples import Example, QuestionExample, TextExample
from tf_distilbert.finetuning.files import find_folder
from tf_distilbert.finetuning.official_files import read_glue, read_imdb
from tf_distilbert.finetuning.own_files import read_own, with_own_labels
from tf_distilbert.finetuning.ranking_files import read_ranking, read_ranking_pairs
from tf_distilbert.finetuning.squad_file import check_questions, read_squad, with_matching_answers
from tf_distilbert.finetuning.tasks import Task


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
    if task.has_numbers:
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


TFDS = "tfds"
"""Instead of a folder: tensorflow-datasets."""


def read_split(
    task: Task, data: str | Path, split: str, warn: Callable[[str], None] = print
) -> Sequence[Example]:
    """Read the examples of a split in the order of its file.

    Args:
        task: of the user's own ones without classes it gets those of its training data, as
            `with_labels` gives them.
        data: a folder of official files, or the folder above, as GLUE's with ``CoLA``, ``SST-2``
            and so on; or `TFDS`.
        split: one of `Task.splits`.
        warn: is told of examples that are left out.

    Raises:
        UserError: the task has no such split, a file or a column is missing, a row is broken, a
            label or score is none, or the split is empty.

    Example:
        >>> read_split(find_task("cola"), "glue", "validation")[0]
        TextExample(id='0', texts=('The sailors rode the breeze clear of the rocks.',), label=1)
    """
    if split not in task.splits:
        hint = f"; train a model of {task.model_of}" if task.model_of and split == "train" else ""
        raise UserError(
            f"{task.name}: has no split {split!r}{hint}; its splits: {', '.join(task.splits)}"
        )
    task = with_labels(task, data)
    if str(data) == TFDS:
        examples = read_tfds(task, split, warn)
    else:
        examples = _read_folder(task, find_folder(task, Path(data)), split, warn)
    if not examples:
        raise UserError(f"{task.name}: its split {split} in {data} has no example; check the file")
    return examples


def with_labels(task: Task, data: str | Path) -> Task:
    """Give the task with its classes: one of the user's own gets those of its training data.

    They are sorted as text. For the classes of a model instead: ``dataclasses.replace(task,
    labels=model.labels)``.

    Args:
        task: any.
        data: as `read_split` takes it.

    Raises:
        UserError: the training data is missing, a label is empty, or there is only one.
    """
    fixed = task.layout != "own" or task.has_numbers or task.by_vectors or str(data) == TFDS
    if task.labels or fixed:
        return task
    return with_own_labels(task, find_folder(task, Path(data)))


def _read_folder(
    task: Task, folder: Path, split: str, warn: Callable[[str], None]
) -> Sequence[Example]:
    if task.layout == "glue":
        return read_glue(task, folder, split, warn)
    if task.layout == "squad":
        return read_squad(task, folder, split, warn)
    if task.layout == "imdb":
        return read_imdb(task, folder, split)
    if task.kind == "retrieval":
        return read_ranking_pairs(task, folder) if split == "train" else read_ranking(folder)
    return read_own(task, folder, split)
