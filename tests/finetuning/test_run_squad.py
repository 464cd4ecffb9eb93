"""Windows and answers of real questions, beside run_squad of transformers 4.40.2."""

import json

import numpy as np
import pytest

from support import tiny
from support.task_files import squad_file, squad_question
from tf_distilbert.finetuning.answer_windows import (
    cut_answer_windows,
)
from tf_distilbert.finetuning.answers import best_answers
from tf_distilbert.finetuning.metrics import score
from tf_distilbert.finetuning.splits import read_split
from tf_distilbert.finetuning.squad_metrics import normalise
from tf_distilbert.finetuning.tasks import find_task
from tf_distilbert.tokenization.tokenizer import read_vocabulary
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer


@pytest.fixture(scope="module")
def tokenizer(shared):
    return WordPieceTokenizer(read_vocabulary(shared / "data/vocab/bert-base-uncased-vocab.txt"))


def mixed_logits(windows):
    """Logits with many ties, made of ids and columns alone."""
    starts, ends = [], []
    for window in windows:
        columns = np.arange(len(window.token_ids))
        starts.append((window.token_ids * 31 + columns * 17) % 101 / 10)
        ends.append((window.token_ids * 13 + columns * 29 + 7) % 103 / 10)
    return starts, ends


# Of all windows: tokens, sum of ids, tokens with most context, tokens of segment 1, sum of start
# columns; and the scores of the answers. Ends of answers that end inside a word differ: there
# run_squad takes the whole word.
RUN_SQUAD = {
    "squad": (384, 128, [1063, 141330, 597079746, 122861, 125814, 70248]),
    "squad-v2": (128, 32, [2170, 246322, 1034559056, 122861, 213648, 55940]),
}
RUN_SQUAD_SCORES = {
    "squad": {"exact_match": 0.0, "f1": 5.360732782894434},
    "squad-v2": {
        "exact_match": 0.3791469194312796,
        "f1": 3.957128027274023,
        "has_answer_exact_match": 0.0,
        "has_answer_f1": 5.361889302235929,
        "no_answer_exact_match": 1.1396011396011396,
        "no_answer_f1": 1.1396011396011396,
        "best_exact_match": 33.27014218009479,
        "best_exact_match_threshold": 0.0,
        "best_f1": 33.27014218009479,
        "best_f1_threshold": 0.0,
    },
}
RUN_SQUAD_NULL_ODDS = -12191.3
RUN_SQUAD_LISTED = {"squad": 21100, "squad-v2": 22155}


@pytest.fixture(scope="module")
def second_version(shared, tmp_path_factory):
    """The questions of 1.1, every third one without its answers."""
    content = json.loads((shared / "data/squad/dev-v1.1.json").read_text("utf-8"))
    number = 0
    for article in content["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                number += 1
                qa["is_impossible"] = number % 3 == 0
                if qa["is_impossible"]:
                    qa["plausible_answers"], qa["answers"] = qa["answers"], []
    folder = tmp_path_factory.mktemp("squad")
    (folder / "dev-v2.0.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", RUN_SQUAD)
def test_as_run_squad(shared, second_version, tokenizer, name):
    task = find_task(name)
    data = shared / "data" if name == "squad" else second_version
    examples = read_split(task, data, "validation")
    max_length, stride, expected = RUN_SQUAD[name]
    windows = cut_answer_windows(tokenizer, "bert", examples, max_length, stride)
    assert [
        len(windows),
        sum(len(window.token_ids) for window in windows),
        sum(int(window.token_ids.sum()) for window in windows),
        sum(int(window.max_context.sum()) for window in windows),
        sum(int(window.segment_ids.sum()) for window in windows),
        sum(window.start for window in windows),
    ] == expected
    null_answers = name == "squad-v2"
    answers = best_answers(examples, windows, *mixed_logits(windows), null_answers=null_answers)
    assert sum(len(answer.n_best) for answer in answers) == RUN_SQUAD_LISTED[name]
    null_odds = None
    if null_answers:
        null_odds = {answer.id: answer.null_odds for answer in answers}
        assert sum(null_odds.values()) == pytest.approx(RUN_SQUAD_NULL_ODDS)
    scores = score(task, {a.id: a.text for a in answers}, examples, null_odds=null_odds)
    assert scores == pytest.approx(RUN_SQUAD_SCORES[name], abs=1e-9)


def test_windows_point_at_the_real_answers(shared, tokenizer):
    """Logits that are largest at the marked columns give the gold answers back."""
    examples = read_split(find_task("squad"), shared / "data", "validation")
    windows = cut_answer_windows(tokenizer, "bert", examples, 128, 64)
    starts, ends = [], []
    for window in windows:
        columns = np.arange(len(window.token_ids))
        starts.append(5.0 * (columns == window.start) * (window.start > 0))
        ends.append(5.0 * (columns == window.end) * (window.start > 0))
    answers = best_answers(examples, windows, starts, ends, max_answer_length=128)
    wrong = [
        (answer.text, example.answers[0])
        for answer, example in zip(answers, examples, strict=True)
        if normalise(answer.text) != normalise(example.answers[0])
    ]
    # Answers that begin or end inside a word cannot be given.
    assert len(wrong) <= 10
    assert all(gold in text for text, gold in wrong)


def test_small_files_from_end_to_end(tmp_path):
    context = "Rome is the capital of Italy, Paris of France."
    questions = [squad_question("one", context, "Italy"), squad_question("two", context, "Paris")]
    squad_file(tmp_path / "dev-v1.1.json", context, *questions)
    examples = read_split(find_task("squad"), tmp_path, "validation")
    windows = cut_answer_windows(tiny.tokenizer(), "bert", examples, 32)
    starts = [3.0 * (np.arange(len(w.token_ids)) == w.start) for w in windows]
    ends = [3.0 * (np.arange(len(w.token_ids)) == w.end) for w in windows]
    answers = best_answers(examples, windows, starts, ends)
    assert [answer.text for answer in answers] == ["Italy", "Paris"]
    texts = {answer.id: answer.text for answer in answers}
    assert score(find_task("squad"), texts, examples) == {"f1": 100.0, "exact_match": 100.0}
