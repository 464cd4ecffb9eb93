"""Questions on long texts as rows of tokens: the windows of `serving.question_answering`, in NumPy.

Dimensions: S tokens of a window, N of them the context's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.examples import QuestionExample
from tf_distilbert.serving.question_answering import (
    MAX_QUESTION_LENGTH,
    STRIDE,
    cut_question_windows,
)
from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.token_windows import pair_room
from tf_distilbert.tokenization.tokenizer import Tokenizer

MAX_LENGTH = 384

_AT_ONCE = 256
"""Questions that are cut together."""


@dataclass(frozen=True, eq=False)
class AnswerWindow:
    """A row of tokens that shows a question and a part of its context.

    Attributes:
        question: the number of the example.
        token_ids: int32 [S], special tokens and all; not padded.
        segment_ids: int32 [S], 1 at the context and the end token behind it.
        body: the column of the context's first token.
        place: the number of that token among the context's.
        starts: int32 [N], the first characters of the context's tokens.
        ends: int32 [N], the characters after their last.
        max_context: bool [N], whether no other window shows more of what is around the token.
        start: the column of the first answer's first token; 0, the start token, where the question
            has no answer or the window does not show the whole of it.
        end: the same of its last token.
    """

    question: int
    token_ids: np.ndarray
    segment_ids: np.ndarray
    body: int
    place: int
    starts: np.ndarray
    ends: np.ndarray
    max_context: np.ndarray
    start: int
    end: int


def cut_answer_windows(
    tokenizer: Tokenizer,
    family: str,
    examples: Sequence[QuestionExample],
    max_length: int = MAX_LENGTH,
    stride: int = STRIDE,
    max_question_length: int = MAX_QUESTION_LENGTH,
) -> list[AnswerWindow]:
    """Cut questions and their contexts into windows; see `cut_question_windows`.

    Args:
        tokenizer: of the model.
        family: of the model, which says how a pair is divided.
        examples: for training and for answering alike.
        max_length: the most tokens of a window, S.
        stride: tokens from the beginning of a window to that of the next, but never so many that
            some are in none.
        max_question_length: of a longer question the first tokens are taken.

    Returns:
        One or more for each example, in the order of the examples and of the text. A context
        without any token has a window too.

    Raises:
        UserError: there is no room for a text, or the tokenizer does not tell offsets.

    Example:
        With room for 6 tokens of a text of 9 and a stride of 2, windows show the tokens 0-5, 2-7
        and 4-8. On the side of token 5 where they show fewer, these show 0, 2 and 3 tokens: the
        third window answers for it.
    """
    served = ServedModel("question_answering", family, tokenizer, max_length, segments=True)
    room = pair_room(served)
    if room < 2 or stride < 1:
        raise UserError(
            f"max_length {max_length} and stride {stride}: windows need room for a question and a "
            f"text, {max_length - room + 2} tokens, and 1 token from one to the next"
        )
    texts = list(dict.fromkeys(example.context for example in examples))
    numbers = {text: number for number, text in enumerate(texts)}
    contexts = _tokenise(tokenizer, texts)
    windows: list[AnswerWindow] = []
    for begin in range(0, len(examples), _AT_ONCE):
        some = examples[begin : begin + _AT_ONCE]
        questions = tokenizer.tokenize([example.question for example in some])
        spans = [contexts[numbers[example.context]] for example in some]
        bodies = tf.RaggedTensor.from_row_lengths(
            np.concatenate([ids for ids, _, _ in spans]), [len(ids) for ids, _, _ in spans]
        )
        found = cut_question_windows(served, questions, bodies, stride, max_question_length)
        inputs = {name: tensor.numpy() for name, tensor in found.inputs.items()}
        owned = found.owned.numpy()
        for row, (text, place, body) in enumerate(
            np.stack([found.texts, found.starts, found.body], axis=1).tolist()
        ):
            size = int(inputs["padding_mask"][row].sum())
            last = place + size - body - 1
            _, starts, ends = spans[text]
            start = end = 0
            answer = _answer_tokens(some[text], starts, ends)
            if answer is not None and place <= answer[0] and answer[1] < last:
                start, end = (body + token - place for token in answer)
            windows.append(
                AnswerWindow(
                    question=begin + text,
                    token_ids=inputs["token_ids"][row, :size],
                    segment_ids=inputs["segment_ids"][row, :size],
                    body=body,
                    place=place,
                    starts=starts[place:last],
                    ends=ends[place:last],
                    max_context=owned[row, body : size - 1],
                    start=start,
                    end=end,
                )
            )
    return windows


def _tokenise(
    tokenizer: Tokenizer, texts: Sequence[str]
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Give the ids of each text, and where they begin and end in it: int32 [N] each."""
    tokenised: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for begin in range(0, len(texts), _AT_ONCE):
        spans = tokenizer.tokenize_with_offsets(list(texts[begin : begin + _AT_ONCE]))
        splits = spans.token_ids.row_splits.numpy()[1:-1]
        parts = (np.split(part.flat_values.numpy(), splits) for part in spans)
        tokenised += zip(*parts, strict=True)
    return tokenised


def _answer_tokens(
    example: QuestionExample, starts: np.ndarray, ends: np.ndarray
) -> tuple[int, int] | None:
    """The first and the last token that have a character of the first answer in them."""
    if not example.answers:
        return None
    start = example.starts[0]
    first = int(np.searchsorted(ends, start, side="right"))
    last = int(np.searchsorted(starts, start + len(example.answers[0]), side="left")) - 1
    return (first, last) if first <= last else None
