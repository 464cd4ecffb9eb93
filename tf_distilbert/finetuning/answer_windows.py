"""Questions on long texts as rows of tokens: windows that slide over the text.

As BERT's run_squad.py cuts them: each window has the question and as much of the text as there is
room for, and begins `stride` tokens after the one before it, so that most tokens are in several.
`serving.token_windows` cuts the same in a graph, but there windows share half of their room at
most, which is faster, and fewer than what models are trained and compared with.

Dimensions: S tokens of a window, N of them the context's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.example import QuestionExample
from tf_distilbert.serving.served_model import SPECIAL_TOKENS, separators
from tf_distilbert.tokenization.tokenizer import Tokenizer

MAX_LENGTH = 384
STRIDE = 128
MAX_QUESTION_LENGTH = 64

_BATCH = 128


class TokenisedText(NamedTuple):
    """Ids and where in the text they stand: int32 [N] each, as `TokenSpans`."""

    token_ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


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
    """Cut questions and their contexts into windows.

    Args:
        tokenizer: of the model.
        family: of the model, which says how a pair is divided.
        examples: for training and for answering alike.
        max_length: the most tokens of a window, S.
        stride: tokens from the beginning of a window to that of the next, but never so many that
            some are in none.
        max_question_length: of a longer question the first tokens are taken; so are they of one
            that would have more than half of the room.

    Returns:
        One or more for each example, in the order of the examples and of the text. A context
        without any token has a window too.

    Raises:
        UserError: there is no room for a text, or the tokenizer does not tell offsets.

    Example:
        With room for 6 tokens of a text of 9 and a stride of 2, windows show the tokens 0-5, 2-7
        and 4-8. On the side of token 5 where they show fewer, these show 0, 2 and 1 tokens: the
        second window answers for it.
    """
    room = max_length - SPECIAL_TOKENS - separators(family)
    if room < 2 or stride < 1:
        raise UserError(
            f"max_length {max_length} and stride {stride}: windows need room for a question and a "
            f"text, {max_length - room + 2} tokens, and 1 token from one to the next"
        )
    most = min(max_question_length, room // 2)
    questions = _tokenise(tokenizer, [example.question for example in examples])
    contexts = list(dict.fromkeys(example.context for example in examples))
    bodies = dict(zip(contexts, _tokenise(tokenizer, contexts), strict=True))
    windows = []
    for number, (example, question) in enumerate(zip(examples, questions, strict=True)):
        ids, body = question.token_ids[:most], bodies[example.context]
        spans = window_spans(len(body.token_ids), room - len(ids), stride)
        begin = np.array([tokenizer.start_id, *ids, *[tokenizer.end_id] * separators(family)])
        answer = _answer_tokens(example, body)
        for (first, last), most_context in zip(spans, max_context(spans), strict=True):
            windows.append(
                _window(tokenizer, number, begin, body, first, last, most_context, answer)
            )
    return windows


def window_spans(count: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Give which tokens of a text each window shows: the first, and the one after the last.

    Args:
        count: tokens of the text.
        room: tokens of a window.
        stride: tokens from the beginning of a window to that of the next.
    """
    spans = [(0, min(count, room))]
    while spans[-1][1] < count:
        first = spans[-1][0] + min(stride, room)
        spans.append((first, min(count, first + room)))
    return spans


def max_context(spans: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Tell for each token of each window whether that is the one which shows most around it.

    What a window shows around a token are the tokens on the side where it has fewer of them, and,
    as run_squad counts, a hundredth of the window's length; of equal windows the first one counts.

    Args:
        spans: the windows of a text, from `window_spans`.

    Returns:
        For each window bool [N].
    """
    places = np.arange(spans[-1][1])
    first, last = (np.array(side)[:, None] for side in zip(*spans, strict=True))
    shown = (places >= first) & (places < last)
    # By the hundredth a full window wins against a last one that is shorter by more than 100.
    amounts = np.minimum(places - first, last - 1 - places) + 0.01 * (last - first)
    best = np.argmax(np.where(shown, amounts, -np.inf), axis=0)
    return [best[a:b] == number for number, (a, b) in enumerate(spans)]


def _window(
    tokenizer: Tokenizer,
    number: int,
    begin: np.ndarray,
    body: TokenisedText,
    first: int,
    last: int,
    most_context: np.ndarray,
    answer: tuple[int, int] | None,
) -> AnswerWindow:
    token_ids = np.concatenate([begin, body.token_ids[first:last], [tokenizer.end_id]])
    start = end = 0
    if answer is not None and first <= answer[0] and answer[1] < last:
        start, end = (len(begin) + token - first for token in answer)
    return AnswerWindow(
        question=number,
        token_ids=token_ids.astype(np.int32),
        segment_ids=(np.arange(len(token_ids)) >= len(begin)).astype(np.int32),
        body=len(begin),
        place=first,
        starts=body.starts[first:last],
        ends=body.ends[first:last],
        max_context=most_context,
        start=start,
        end=end,
    )


def _answer_tokens(example: QuestionExample, body: TokenisedText) -> tuple[int, int] | None:
    """The first and the last token that have a character of the first answer in them."""
    if not example.answers:
        return None
    start = example.starts[0]
    first = int(np.searchsorted(body.ends, start, side="right"))
    last = int(np.searchsorted(body.starts, start + len(example.answers[0]), side="left")) - 1
    return (first, last) if first <= last else None


def _tokenise(tokenizer: Tokenizer, texts: Sequence[str]) -> list[TokenisedText]:
    tokenised: list[TokenisedText] = []
    for begin in range(0, len(texts), _BATCH):
        spans = tokenizer.tokenize_with_offsets(list(texts[begin : begin + _BATCH]))
        splits = spans.token_ids.row_splits.numpy()[1:-1]
        parts = (np.split(part.flat_values.numpy(), splits) for part in spans)
        tokenised += map(TokenisedText, *parts)
    return tokenised
