"""Predictions in the format of the official evaluation."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.finetuning.examples import Example, QueryExample
from tf_distilbert.finetuning.tasks import Task

_STSB_RANGE = (0.0, 5.0)


def submission_name(task: Task, split: str) -> str:
    """Give the name that a file of predictions should have: GLUE's for test splits, else our own.

    Example:
        >>> submission_name(find_task("mnli"), "test_mismatched")
        'MNLI-mm.tsv'
    """
    if task.submissions and split in task.test_splits:
        return task.submissions[task.test_splits.index(split)]
    return f"{task.name}_{split}.{'json' if task.kind == 'question_answering' else 'tsv'}"


def write_predictions(
    task: Task,
    path: str | Path,
    predictions: Any,
    examples: Sequence[Example],
    *,
    null_odds: Mapping[str, float] | None = None,
) -> None:
    """Write predictions as the official evaluation takes them.

    GLUE's are ``index``, tab, ``prediction``, a class as the official files write it; numbers of
    STS-B are cut to its range, 0 to 5. SQuAD's are JSON: text by id, and the null odds of 2.0 in
    a file beside it whose name ends with ``_null_odds.json``. Others are written as GLUE's, with
    ``id`` for ``index``; labels of words have spaces between. Of a retrieval it is ``query``,
    ``passage``, ``place``, a line for each passage that was found, the nearest first.

    Args:
        task: with its classes.
        path: of the file.
        predictions: as `score` takes them.
        examples: of the split, in the order of the predictions.
        null_odds: of SQuAD 2.0, by id.

    Raises:
        UserError: the file cannot be written.
        ValueError: predictions are not as many as examples.
    """
    path = Path(path)
    if task.kind == "question_answering":
        _write_json(path, {e.id: predictions[e.id] for e in examples if e.id in predictions})
        if null_odds is not None:
            _write_json(path.with_name(f"{path.stem}_null_odds.json"), dict(null_odds))
        return
    if task.kind == "retrieval":
        lines = ["query\tpassage\tplace"]
        lines += _found(predictions, cast(Sequence[QueryExample], examples))
    else:
        lines = [f"{'index' if task.layout == 'glue' else 'id'}\tprediction"]
        texts = map(_cell, _texts(task, predictions))
        lines += [f"{_cell(e.id)}\t{text}" for e, text in zip(examples, texts, strict=True)]
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode("utf-8"))


def _texts(task: Task, predictions: Iterable[Any]) -> Iterable[str]:
    names = task.written_labels or task.labels
    if task.kind == "token_classification":
        return (" ".join(names[label] for label in sentence) for sentence in predictions)
    if task.kind == "classification":
        return (names[label] for label in predictions)
    if task.name == "stsb" and task.kind == "regression":  # not the cosines
        low, high = _STSB_RANGE
        return (f"{min(max(float(number), low), high):.3f}" for number in predictions)
    return (repr(float(number)) for number in predictions)


def _found(rankings: Iterable[Any], queries: Sequence[QueryExample]) -> Iterator[str]:
    for query, ranking in zip(queries, rankings, strict=True):
        for place, passage in enumerate(ranking, start=1):
            yield f"{_cell(query.id)}\t{_cell(query.passages.ids[passage])}\t{place}"


def _cell(text: str) -> str:
    """Tabs and line breaks would break the table."""
    return " ".join(text.split()) if any(c in text for c in "\t\r\n") else text


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode("utf-8"))
