"""One example of a task, whatever file it was read from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TextExample:
    """A text or a pair of texts, with a class or a number.

    Attributes:
        id: as the file's index column says, else the row's number from 0.
        texts: one, or two in the task's official order.
        label: the class's number in the order of `Task.labels`, or the number that a regression
            is to give; None where it is not known, as in test splits.
    """

    id: str
    texts: tuple[str, ...]
    label: int | float | None


@dataclass(frozen=True)
class TokenExample:
    """Words, with a class each.

    Attributes:
        id: as the file's index column says, else the sentence's number from 0.
        words: as the file divides them.
        labels: the classes' numbers in the order of `Task.labels`, one a word; None where they are
            not known.
    """

    id: str
    words: tuple[str, ...]
    labels: tuple[int, ...] | None


@dataclass(frozen=True)
class QuestionExample:
    """A question on a text, with the pieces of the text that answer it.

    Attributes:
        id: of the question.
        question: as it is asked.
        context: the text.
        title: of the article that the text is from.
        answers: what annotators took for the answer; empty where there is none.
        starts: the character of the context at which each answer begins (Unicode code points).
        is_impossible: the context has no answer (SQuAD 2.0).
    """

    id: str
    question: str
    context: str
    title: str
    answers: tuple[str, ...]
    starts: tuple[int, ...]
    is_impossible: bool = False


@dataclass(frozen=True)
class Passages:
    """What is searched.

    Attributes:
        ids: as their file has them.
        texts: as many.
    """

    ids: Sequence[str]
    texts: Sequence[str]


@dataclass(frozen=True)
class QueryExample:
    """A query, and the passages that are to be found for it.

    Attributes:
        id: as its file has it.
        text: the query.
        relevant: the number of a passage, from 0, to its grade, above 0.
        passages: among which it is searched; one object that all queries of a split share.
    """

    id: str
    text: str
    relevant: Mapping[int, float]
    passages: Passages


Example = TextExample | TokenExample | QuestionExample | QueryExample
