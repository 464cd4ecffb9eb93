"""Exact match and F1 of SQuAD, by the definitions of the official scripts."""

import numpy as np
import pytest

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.examples import QuestionExample
from tf_distilbert.finetuning.metrics import score
from tf_distilbert.finetuning.squad_metrics import (
    answer_f1,
    exact_match,
    normalise,
    squad_1_scores,
    squad_2_scores,
)
from tf_distilbert.finetuning.tasks import find_task


def question(name, *answers):
    return QuestionExample(name, "?", "", "", answers, (0,) * len(answers), not answers)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The Cat", "cat"),
        ("a  cat,\n an apple; the theatre", "cat apple theatre"),
        ("U.S.A.", "usa"),  # without punctuation, no space in its place
        ("mid-19th", "mid19th"),
        ("A. The!", ""),
        ("the-cat", "thecat"),  # punctuation goes first, then there is no article
        ("Émile Zola, “Nana” — 1880", "émile zola “nana” — 1880"),  # ASCII punctuation only
        ("the\u00a0cat\u2003sat", "cat sat"),  # every Unicode space
        ("ÉTÉ", "été"),
        ("1,000", "1000"),
        ("$5 + $6", "5 6"),
        ("", ""),
    ],
)
def test_normalisation(answer, expected):
    assert normalise(answer) == expected


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("the Denver Broncos", "Denver Broncos!", 1.0),
        ("Denver Broncos team", "Denver Broncos", 2 * (2 / 3) * 1 / (2 / 3 + 1)),
        ("New York New York", "New York", 2 * 0.5 * 1 / 1.5),  # each word as often as it is there
        ("Broncos Denver", "Denver Broncos", 1.0),  # order does not matter
        ("cat", "dog", 0.0),
        ("", "dog", 0.0),
        ("the", "a", 0.0),  # no words at all
    ],
)
def test_f1(answer, gold, expected):
    assert answer_f1(answer, gold) == pytest.approx(expected)
    assert exact_match(answer, gold) == (normalise(answer) == normalise(gold))


# --- 1.1 ---

FIRST = [
    question("one", "Denver Broncos", "The Broncos"),
    question("two", "1880"),
    question("three", "Saint Bernadette Soubirous"),
    question("four", "gold"),
]


def test_scores_of_1_1():
    answers = {"one": "broncos", "two": "in 1880", "three": ""}
    # 1, then 2/3 of F1, nothing, and nothing for what is not answered.
    scores = score(find_task("squad"), answers, FIRST)
    assert scores == {"f1": pytest.approx(100 * (1 + 2 / 3) / 4), "exact_match": 25.0}
    assert tuple(scores) == find_task("squad").metrics
    assert find_task("squad").main_score(scores) == scores["f1"]


def test_the_best_gold_answer_counts_for_each_metric_by_itself():
    golds = question("q", "a b c d", "x", "b c")
    assert squad_1_scores({"q": "x y"}, [golds])["f1"] == pytest.approx(100 * 2 / 3)
    assert squad_1_scores({"q": "b c"}, [golds]) == {"f1": 100.0, "exact_match": 100.0}


def test_an_answer_of_articles_alone():
    # As strings both are empty, but there is no word in common.
    assert squad_1_scores({"q": "the"}, [question("q", "A")]) == {"f1": 0.0, "exact_match": 100.0}


# --- 2.0 ---

SECOND = [
    question("has1", "Denver Broncos", "Broncos"),
    question("has2", "1880"),
    question("no1"),
    question("no2"),
    question("no3"),
]


def test_scores_of_2_0():
    answers = {"has1": "the Broncos", "has2": "in 1880", "no1": "", "no2": "cat", "no3": ""}
    scores = score(find_task("squad-v2"), answers, SECOND)
    assert scores == {
        "f1": pytest.approx(100 * (1 + 2 / 3 + 2) / 5),
        "exact_match": pytest.approx(100 * 3 / 5),
        "has_answer_f1": pytest.approx(100 * (1 + 2 / 3) / 2),
        "has_answer_exact_match": 50.0,
        "no_answer_f1": pytest.approx(100 * 2 / 3),
        "no_answer_exact_match": pytest.approx(100 * 2 / 3),
        "best_f1": scores["f1"],
        "best_f1_threshold": 0.0,
        "best_exact_match": scores["exact_match"],
        "best_exact_match_threshold": 0.0,
    }
    assert set(scores) == set(find_task("squad-v2").metrics)
    assert find_task("squad-v2").metrics[0] == "f1"


def test_an_empty_prediction_is_right_only_without_an_answer():
    for metric in ("f1", "exact_match"):
        assert squad_2_scores({"q": ""}, [question("q")])[metric] == 100.0
        assert squad_2_scores({"q": "."}, [question("q")])[metric] == 100.0  # empty as well
        assert squad_2_scores({"q": "x"}, [question("q")])[metric] == 0.0
        assert squad_2_scores({"q": ""}, [question("q", "x")])[metric] == 0.0


def test_gold_answers_without_a_word_count_as_none():
    assert squad_2_scores({"q": "the"}, [question("q", "A")])["f1"] == 100.0
    assert squad_2_scores({"q": ""}, [question("q", "A", "cat")])["f1"] == 0.0


def test_the_best_threshold():
    answers = {"has1": "Broncos", "has2": "in 1880", "no1": "cat", "no2": "dog", "no3": ""}
    odds = {"has1": -3.0, "has2": 1.0, "no1": -2.0, "no2": 2.0, "no3": 0.5}
    scores = squad_2_scores(answers, SECOND, odds)
    # No answers anywhere: 3. Then has1 answered, 4, no1, 3, no3 changes nothing, has2 2/3 of it.
    assert scores["best_f1"] == scores["best_exact_match"] == 80.0
    assert scores["best_f1_threshold"] == scores["best_exact_match_threshold"] == -3.0
    odds["no1"] = 3.0
    scores = squad_2_scores(answers, SECOND, odds)
    assert scores["best_f1"] == pytest.approx(100 * (4 + 2 / 3) / 5)
    assert (scores["best_f1_threshold"], scores["best_exact_match_threshold"]) == (1.0, -3.0)


@pytest.mark.parametrize("seed", range(8))
def test_the_threshold_is_the_best_of_all(seed):
    random = np.random.default_rng(seed)
    words = ["cat", "dog", "cat dog", "the cat", ""]
    examples, answers, odds = [], {}, {}
    for number in range(40):
        gold = random.choice(words[:3], random.integers(0, 3)).tolist()
        examples.append(question(str(number), *gold))
        answers[str(number)] = str(random.choice(words))
        odds[str(number)] = float(random.normal())
    scores = squad_2_scores(answers, examples, odds)
    for metric in ("f1", "exact_match"):
        tried = {}
        for threshold in (-np.inf, *odds.values()):
            cut = {name: "" if odds[name] > threshold else text for name, text in answers.items()}
            tried[threshold] = squad_2_scores(cut, examples)[metric]
        assert scores[f"best_{metric}"] == pytest.approx(max(tried.values()))
        chosen = scores[f"best_{metric}_threshold"]
        assert tried.get(chosen, tried[-np.inf]) == pytest.approx(max(tried.values()))


def test_questions_without_prediction():
    with pytest.raises(UserError, match=r"^2 questions have no prediction, no2 the first; write"):
        squad_2_scores({"has1": "a", "has2": "", "no1": ""}, SECOND)


@pytest.mark.parametrize("part", [slice(0, 2), slice(2, None)])
def test_a_split_of_one_kind(part):
    scores = squad_2_scores({e.id: "" for e in SECOND}, SECOND[part])
    other = "no_answer" if part.start == 0 else "has_answer"
    assert scores["f1"] == (0.0 if part.start == 0 else 100.0)
    assert scores[f"{other}_f1"] == scores[f"{other}_exact_match"] == 0.0
