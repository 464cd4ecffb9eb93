"""Exact match and F1 of answers, as SQuAD's evaluation scripts define them.

Source: evaluate-v1.1.py and evaluate-v2.0.py on https://rajpurkar.github.io/SQuAD-explorer/.
All scores are percents.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.examples import QuestionExample

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(answer: str) -> str:
    """Give an answer in lower case without ASCII punctuation, articles and needless spaces.

    Example:
        >>> normalise("The  U.S. of a Kind")
        'us of kind'
    """
    answer = answer.lower().translate(_WITHOUT_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", answer).split())


def exact_match(answer: str, gold: str) -> float:
    """Give 1 if two answers are the same once they are normalised, else 0."""
    return float(normalise(answer) == normalise(gold))


def answer_f1(answer: str, gold: str) -> float:
    """Give the F1 of the words of two normalised answers, each as often as it is there.

    0 if they have no word in common, also if neither has any: so SQuAD 1.1 has it.
    """
    words, gold_words = normalise(answer).split(), normalise(gold).split()
    common = sum((Counter(words) & Counter(gold_words)).values())
    return 2 * common / (len(words) + len(gold_words)) if common else 0.0


def squad_1_scores(
    answers: Mapping[str, str], examples: Sequence[QuestionExample]
) -> dict[str, float]:
    """Score SQuAD 1.1: the mean over questions of the best over their gold answers.

    Args:
        answers: text by the question's id; a question that is not there scores 0.
        examples: the questions.

    Returns:
        ``f1`` and ``exact_match``, in percent.
    """
    totals = {"f1": 0.0, "exact_match": 0.0}
    for example in examples:
        if example.id in answers:
            answer = answers[example.id]
            totals["f1"] += max(answer_f1(answer, gold) for gold in example.answers)
            totals["exact_match"] += max(exact_match(answer, gold) for gold in example.answers)
    return {name: 100 * total / len(examples) for name, total in totals.items()}


def squad_2_scores(
    answers: Mapping[str, str],
    examples: Sequence[QuestionExample],
    null_odds: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Score SQuAD 2.0, where a question may have no answer: the right one is then empty.

    Args:
        answers: text by the question's id; empty for none.
        examples: the questions.
        null_odds: by the question's id, the larger the likelier is it that there is no answer;
            without them no threshold is searched.

    Returns:
        In percent ``f1`` and ``exact_match`` of all questions, the same after ``has_answer_`` and
        ``no_answer_`` of those with and without an answer (0 if there are none), and after
        ``best_`` what it would be if the questions with odds above a threshold had no answer, with
        the best such threshold, ``best_f1_threshold`` and ``best_exact_match_threshold``. Without
        odds the best is what there is, and the threshold 0.

    Raises:
        UserError: a question is not answered. (The official script takes the mean of the others.)
    """
    missing = [example.id for example in examples if example.id not in answers]
    if missing:
        raise UserError(
            f"{len(missing)} questions have no prediction, {missing[0]} the first; write an empty "
            "text for no answer"
        )
    scores: dict[str, float] = {}
    raw = {
        "f1": {e.id: _best_2(answer_f1_2, answers[e.id], e) for e in examples},
        "exact_match": {e.id: _best_2(exact_match, answers[e.id], e) for e in examples},
    }
    parts = {
        "": [e.id for e in examples],
        "has_answer_": [e.id for e in examples if e.answers],
        "no_answer_": [e.id for e in examples if not e.answers],
    }
    for name, values in raw.items():
        for prefix, ids in parts.items():
            total = sum(values[i] for i in ids)
            scores[prefix + name] = 100 * total / len(ids) if ids else 0.0
        best, threshold = scores[name], 0.0
        if null_odds is not None:
            best, threshold = _best_threshold(values, answers, null_odds, parts["no_answer_"])
        scores[f"best_{name}"], scores[f"best_{name}_threshold"] = best, threshold
    return scores


def answer_f1_2(answer: str, gold: str) -> float:
    """As `answer_f1`, but 1 if neither has a word: so SQuAD 2.0 has it."""
    if not normalise(answer) and not normalise(gold):
        return 1.0
    return answer_f1(answer, gold)


def _best_2(metric: Callable[[str, str], float], answer: str, example: QuestionExample) -> float:
    """The best over gold answers; those that normalise to nothing count as none."""
    gold = [text for text in example.answers if normalise(text)] or [""]
    return max(metric(answer, text) for text in gold)


def _best_threshold(
    values: Mapping[str, float],
    answers: Mapping[str, str],
    null_odds: Mapping[str, float],
    without_answer: Sequence[str],
) -> tuple[float, float]:
    """The best mean, in percent, and its threshold: questions with larger odds have no answer.

    As the official script it goes through the questions by their odds, those of equal odds one by
    one in the order of `null_odds`.
    """
    impossible = set(without_answer)
    total = best = float(len(impossible))  # of a threshold below all odds
    threshold = 0.0
    for question in sorted(null_odds, key=null_odds.__getitem__):
        if question not in values:
            continue
        if question in impossible:
            total -= bool(answers[question])
        else:
            total += values[question]
        if total > best:
            best, threshold = total, null_odds[question]
    return 100 * best / len(values), threshold
