"""A split of a task as a model reads it: examples, and the rows of tokens made of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from tf_distilbert.encoder_model import EncoderModel
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.answer_windows import STRIDE, AnswerWindow, cut_answer_windows
from tf_distilbert.finetuning.encoding import encode_texts, encode_words
from tf_distilbert.finetuning.example import Example, QuestionExample, TextExample, TokenExample
from tf_distilbert.finetuning.task import Task
from tf_distilbert.finetuning.task_rows import Row, TaskRows

_LONGEST = {"squad": 384, "imdb": 512}
_USUAL_LENGTH = 128


@dataclass(frozen=True)
class EncodedSplit:
    """What is learnt from, or predicted.

    Attributes:
        task: with its classes.
        examples: in the order of their file.
        rows: one for each example; of questions one for each of their windows.
        windows: of questions, in the order of the rows.
    """

    task: Task
    examples: Sequence[Example]
    rows: TaskRows
    windows: Sequence[AnswerWindow] = ()


def encode_split(
    task: Task,
    examples: Sequence[Example],
    model: EncoderModel,
    *,
    teacher: EncoderModel | None = None,
    max_length: int | None = None,
    stride: int = STRIDE,
) -> EncodedSplit:
    """Encode examples for a model.

    Args:
        task: with its classes.
        examples: of it.
        model: whose tokenizer and family are used.
        teacher: reads the same rows; if it tells pairs apart by segment ids, they have them.
        max_length: tokens of a row; by default what is usual for the task, or the models'
            positions, if those are fewer.
        stride: of questions, from one window to the next.

    Raises:
        UserError: rows are to be longer than a model has positions.
    """
    readers = [model, *([teacher] if teacher else [])]
    if max_length is None:
        usual = _LONGEST.get(task.layout, _USUAL_LENGTH)
        max_length = min(usual, *(reader.architecture.max_positions for reader in readers))
    for reader in readers:
        reader.check_length(max_length)
    segments = any(reader.architecture.num_segments > 1 for reader in readers)
    tokenizer, family = model.tokenizer, model.architecture.family
    if tokenizer is None:
        raise UserError("the model has no tokenizer; set model.tokenizer first")
    if task.kind == "token_classification":
        sentences = cast(Sequence[TokenExample], examples)
        rows = encode_words(sentences, tokenizer, segments=segments, max_length=max_length)
        return EncodedSplit(task, examples, rows)
    if task.kind == "question_answering":
        questions = cast(Sequence[QuestionExample], examples)
        windows = cut_answer_windows(tokenizer, family, questions, max_length, stride)
        rows = TaskRows([_row(window) for window in windows], tokenizer, segments, max_length)
        return EncodedSplit(task, examples, rows, windows)
    rows = encode_texts(
        cast(Sequence[TextExample], examples),
        tokenizer,
        family=family,
        segments=segments,
        max_length=max_length,
        scores=task.kind == "regression",
    )
    return EncodedSplit(task, examples, rows)


def _row(window: AnswerWindow) -> Row:
    possible = np.zeros(len(window.token_ids), bool)
    possible[0] = True  # no answer
    possible[window.body : window.body + len(window.starts)] = True
    return Row(window.token_ids, window.body, (window.start, window.end), possible)
