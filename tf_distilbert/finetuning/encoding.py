"""Examples as rows of token ids; where they are text, cut as a served model cuts them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import tensorflow as tf

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.answer_windows import AnswerWindow, cut_answer_windows
from tf_distilbert.finetuning.examples import Example, QuestionExample, TextExample, TokenExample
from tf_distilbert.finetuning.rows import IGNORED, BatchRows, Row, TaskRows
from tf_distilbert.finetuning.tasks import Task
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.serving.question_answering import STRIDE
from tf_distilbert.serving.served_model import SPECIAL_TOKENS, ServedModel
from tf_distilbert.serving.token_windows import cut_into_windows, cut_pair, pair_room
from tf_distilbert.tokenization.tokenizer import Tokenizer

_AT_ONCE = 4096
"""Texts that are encoded together."""


def encode_texts(
    examples: Sequence[TextExample],
    tokenizer: Tokenizer,
    *,
    family: str,
    segments: bool,
    max_length: int,
    scores: bool,
) -> TaskRows:
    """Encode texts and pairs of texts; what is too long is cut as `transformers` cuts it.

    Args:
        examples: all with as many texts.
        tokenizer: the model's.
        family: the model's; RoBERTa has two tokens between the texts of a pair.
        segments: whether the model, or its teacher, tells the texts of a pair apart by segment ids.
        max_length: tokens of a row, special tokens included.
        scores: whether the labels are numbers, not classes.
    """
    served = ServedModel("sequence_classification", family, tokenizer, max_length, segments)
    rows: list[Row] = []
    for begin in range(0, len(examples), _AT_ONCE):
        some = examples[begin : begin + _AT_ONCE]
        columns = zip(*(example.texts for example in some), strict=True)
        first, *others = (tokenizer.tokenize(column) for column in columns)
        if others:
            first, second = cut_pair(first, others[0], pair_room(served))
            windows = cut_into_windows(served, second, first)
        else:
            windows = cut_into_windows(served, first)
        token_ids = windows.inputs["token_ids"].numpy()
        sizes = tf.reduce_sum(windows.inputs["padding_mask"], 1).numpy().tolist()
        # Of a single text, there is no second one from its end on.
        seconds = windows.body.numpy().tolist() if others else sizes
        for example, ids, size, at in zip(some, token_ids, sizes, seconds, strict=True):
            rows.append(Row(ids[:size], at, 0 if example.label is None else example.label))
    return TaskRows(rows, tokenizer, segments, max_length, "float32" if scores else "int32")


def encode_words(
    examples: Sequence[TokenExample], tokenizer: Tokenizer, *, segments: bool, max_length: int
) -> TaskRows:
    """Encode sentences of labelled words: a word's label is that of its first token.

    Words beyond `max_length` are not counted. A tokenizer that marks where words begin is shown the
    space before each word but the first, as it sees it in a text.
    """
    space = " " if tokenizer.word_start else ""
    words = [space * (i > 0) + word for example in examples for i, word in enumerate(example.words)]
    tokens = iter(tokenizer.tokenize(words).to_list())
    rows = []
    for example in examples:
        labels = example.labels or (0,) * len(example.words)
        token_ids: list[int] = []
        targets: list[int] = []
        for label in labels:
            pieces = next(tokens) or [tokenizer.unknown_id]  # of a word of spaces alone
            token_ids += pieces
            targets += [label, *[IGNORED] * (len(pieces) - 1)][: len(pieces)]
        room = max_length - SPECIAL_TOKENS
        row = np.array([tokenizer.start_id, *token_ids[:room], tokenizer.end_id], np.int32)
        target = np.array([IGNORED, *targets[:room], IGNORED], np.int32)
        rows.append(Row(row, len(row), target))
    return TaskRows(rows, tokenizer, segments, max_length)


_LONGEST = {"squad": 384, "imdb": 512}
_USUAL_LENGTH = 128


@dataclass(frozen=True)
class EncodedSplit:
    """What is learnt from, or predicted.

    Attributes:
        task: with its classes.
        examples: in the order of their file.
        rows: one for each example; of questions one for each of their windows, of queries one for
            each of their relevant passages.
        windows: of questions, in the order of the rows.
    """

    task: Task
    examples: Sequence[Example]
    rows: BatchRows
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
