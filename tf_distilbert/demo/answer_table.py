"""What teacher and student answered, as tables whose rows are read across."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tf_distilbert.demo.model_pair import ModelPair

Answer = Mapping[str, Any]
"""What `Predictor.predict` gives for one request."""

MOST_CLASSES = 10
"""Of more classes than this, those that are most probable to the teacher are shown."""

NO_ANSWER = "no answer (above 0: there is none)"


@dataclass(frozen=True)
class AnswerTable:
    """A table with a column for each of the two.

    Attributes:
        caption: what its rows are about.
        rows: for each its name, the teacher's and the student's cell.
        is_ranked: whether the rows' names are places, 1, 2, ..., which need little room.
    """

    caption: str
    rows: tuple[tuple[str, ...], ...]
    is_ranked: bool = False


@dataclass(frozen=True)
class Answers:
    """The answers to one request.

    Attributes:
        agreement: in one sentence, how far the two agree.
        tables: what they said.
    """

    agreement: str
    tables: tuple[AnswerTable, ...]


def read_answers(
    pair: ModelPair, request: Mapping[str, str], teacher: Answer, student: Answer
) -> Answers:
    """Put the two answers to a request side by side.

    Args:
        pair: who was asked.
        request: what they were asked.
        teacher, student: what they answered.
    """
    served = pair.teacher.served
    if served.task == "masked_lm":
        return _words(served.tokenizer.special_tokens.mask, teacher, student)
    if served.task == "token_classification":
        return _tokens(request["text"], teacher, student)
    if served.task == "question_answering":
        return _stretches(teacher, student)
    if served.task == "embedding":
        return _nearest(lines_of(request["texts"]), teacher["cosines"], student["cosines"])
    if served.problem == "regression":
        return _values(teacher["value"], student["value"])
    theirs, own = (
        dict(zip(model.served.labels, answer["probabilities"], strict=True))
        for model, answer in zip(pair, (teacher, student), strict=True)
    )
    if served.problem == "multi_label":
        return Answers(_same_yes_or_no(theirs, own), (_classes(theirs, own),))
    verdicts = (("says", teacher["label"], student["label"]),)
    same = teacher["label"] == student["label"]
    agreement = f"Both say {teacher['label']}." if same else "They say different classes."
    return Answers(agreement, (AnswerTable("Class", verdicts), _classes(theirs, own)))


def _words(mask: str, teacher: Answer, student: Answer) -> Answers:
    predictions = [
        [list(zip(*blank, strict=True)) for blank in zip(a["tokens"], a["scores"], strict=True)]
        for a in (teacher, student)
    ]
    blanks = list(zip(*predictions, strict=True))
    tables = []
    for number, (theirs, own) in enumerate(blanks, start=1):
        # An export may give more words than a folder.
        rows = tuple(
            (str(place), _with_share(*one), _with_share(*other))
            for place, (one, other) in enumerate(zip(theirs, own, strict=False), start=1)
        )
        caption = f"{mask} {number}" if len(blanks) > 1 else mask
        tables.append(AnswerTable(caption, rows, is_ranked=True))
    same = sum(theirs[0][0] == own[0][0] for theirs, own in blanks)
    return Answers(f"The same first word at {same} of {len(blanks)} masks.", tuple(tables))


def _tokens(text: str, teacher: Answer, student: Answer) -> Answers:
    theirs, own = map(_labelled_words, (teacher, student))
    # Two tokenizers may cut at different places.
    places = sorted(theirs.keys() | own.keys())
    rows = tuple(
        (
            text[slice(*place)],
            *(_with_share(*x[place]) if place in x else "" for x in (theirs, own)),
        )
        for place in places
    )
    same = sum(theirs[place][0] == own[place][0] for place in theirs.keys() & own.keys())
    agreement = f"The same label for {same} of {len(places)} words."
    return Answers(agreement, (AnswerTable("Words", rows),))


def _labelled_words(answer: Answer) -> dict[tuple[int, int], tuple[str, float]]:
    """Label and probability of each word by its place; they are those of its first piece."""
    words: list[tuple[int, int, str, float]] = []
    names = ("tokens", "start", "end", "labels", "scores")
    for token, start, end, *label in zip(*map(answer.get, names), strict=True):
        if token.startswith("##") and words:
            words[-1] = (words[-1][0], end, *words[-1][2:])
        else:
            words.append((start, end, *label))
    return {(start, end): (label, score) for start, end, label, score in words}


def _stretches(teacher: Answer, student: Answer) -> Answers:
    both = (teacher, student)
    rows = (
        ("answer", *(answer["answer"] for answer in both)),
        ("characters", *(f"{answer['start']} to {answer['end']}" for answer in both)),
        ("probability", *(_share(answer["score"]) for answer in both)),
        (NO_ANSWER, *(f"{answer['no_answer']:.2f}" for answer in both)),
    )
    same = teacher["answer"] == student["answer"]
    agreement = "Both give the same answer." if same else "They give different answers."
    return Answers(agreement, (AnswerTable("Answer", rows),))


def lines_of(texts: str) -> list[str]:
    """Give the texts of a box, one a line."""
    return [line for line in texts.splitlines() if line.strip()]


def _nearest(texts: Sequence[str], theirs: Sequence[float], own: Sequence[float]) -> Answers:
    rankings = [
        sorted(zip(cosines, texts, strict=True), key=lambda pair: -pair[0])
        for cosines in (theirs, own)
    ]
    rows = tuple(
        (str(place), *(f"{text} {cosine:.3f}" for cosine, text in pair))
        for place, pair in enumerate(zip(*rankings, strict=True), start=1)
    )
    first, second = (ranking[0][1] for ranking in rankings)
    agreement = "Both put the same text first." if first == second else "They put others first."
    return Answers(agreement, (AnswerTable("Texts and cosines", rows, is_ranked=True),))


def _values(theirs: float, own: float) -> Answers:
    rows = (("value", f"{theirs:.3f}", f"{own:.3f}"),)
    return Answers(f"They differ by {abs(theirs - own):.3f}.", (AnswerTable("Value", rows),))


def _same_yes_or_no(theirs: Mapping[str, float], own: Mapping[str, float]) -> str:
    same = sum((theirs[label] > 0.5) == (own[label] > 0.5) for label in theirs)
    return f"The same yes (above 50 %) or no for {same} of {len(theirs)} classes."


def _classes(theirs: Mapping[str, float], own: Mapping[str, float]) -> AnswerTable:
    shown = sorted(theirs, key=lambda label: -theirs[label])[:MOST_CLASSES]
    rows = tuple((label, _share(theirs[label]), _share(own[label])) for label in shown)
    more = f", {len(shown)} of {len(theirs)} classes" if len(shown) < len(theirs) else ""
    return AnswerTable(f"Probabilities{more}", rows)


def _with_share(word: str, share: float) -> str:
    return f"{word} {_share(share)}"


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"
