"""Windows over contexts and the answers of all windows: run_squad's, and the served ones."""

import json

import numpy as np
import pytest
import tensorflow as tf
import tiny
from task_files import squad_file, squad_question
from test_services import runner
from test_task_models import task_model

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.answer_windows import (
    AnswerWindow,
    cut_answer_windows,
    max_context,
    window_spans,
)
from tf_distilbert.finetuning.answers import best_answers, write_n_best
from tf_distilbert.finetuning.example import QuestionExample
from tf_distilbert.finetuning.squad_metrics import normalise
from tf_distilbert.finetuning.task import find_task, read_split, score
from tf_distilbert.serving.question_answering import QuestionAnsweringService
from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.tokenization.vocabulary_file import read_vocabulary
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

CONTEXT = "Paris is the capital of France . Rome  is the capital of Italy, an old city."


def question(text="what is rome ?", context=CONTEXT, *answers, name="q", impossible=False):
    starts = tuple(context.index(answer) for answer in answers)
    return QuestionExample(name, text, context, "", answers, starts, impossible)


# --- windows ---


def test_spans():
    assert window_spans(9, 6, 2) == [(0, 6), (2, 8), (4, 9)]
    assert window_spans(6, 6, 2) == [(0, 6)]
    assert window_spans(7, 6, 6) == [(0, 6), (6, 7)]
    assert window_spans(13, 5, 9) == [(0, 5), (5, 10), (10, 13)]  # no token is in none
    assert window_spans(0, 5, 2) == [(0, 0)]


@pytest.mark.parametrize("seed", range(20))
def test_one_window_of_each_token_has_most_context(seed):
    random = np.random.default_rng(seed)
    # Windows of hundreds of tokens too, where the length outweighs a token.
    scale = 1 if seed % 2 else 13
    count, room, stride = (scale * int(random.integers(1, high)) for high in (80, 30, 30))
    count += seed % scale
    spans = window_spans(count, room, stride)
    assert spans[0][0] == 0 and spans[-1][1] == count
    rows = max_context(spans)
    assert [len(row) for row in rows] == [last - first for first, last in spans]
    for place in range(count):
        shown = [n for n, (first, last) in enumerate(spans) if first <= place < last]
        amount = [min(place - spans[n][0], spans[n][1] - 1 - place) for n in shown]
        length = [spans[n][1] - spans[n][0] for n in shown]
        totals = [a + 0.01 * b for a, b in zip(amount, length, strict=True)]
        best = shown[totals.index(max(totals))]
        assert [n for n in shown if rows[n][place - spans[n][0]]] == [best]


def test_a_window_row_by_row():
    tokenizer = tiny.tokenizer()
    context = "rome is old. paris"
    (window,) = cut_answer_windows(tokenizer, "bert", [question("is rome?", context, "old")], 32)
    ids = tokenizer.vocabulary.index
    tokens = ["[CLS]", "is", "rome", "?", "[SEP]", "rome", "is", "old", ".", "paris", "[SEP]"]
    assert window.token_ids.tolist() == [ids(token) for token in tokens]
    assert window.segment_ids.tolist() == [0] * 5 + [1] * 6
    assert (window.body, window.place, window.question) == (5, 0, 0)
    assert [context[a:b] for a, b in zip(window.starts, window.ends, strict=True)] == tokens[5:10]
    assert (window.start, window.end) == (7, 7)
    assert window.max_context.all()
    assert window.token_ids.dtype == window.segment_ids.dtype == window.starts.dtype == np.int32


def test_roberta_has_two_tokens_between():
    tokenizer = tiny.byte_pair_tokenizer()
    (window,) = cut_answer_windows(tokenizer, "roberta", [question("a", "the cat", "cat")], 32)
    end = tokenizer.end_id
    assert window.token_ids[0] == tokenizer.start_id
    assert (window.token_ids == end).nonzero()[0].tolist() == [2, 3, len(window.token_ids) - 1]
    assert window.body == 4
    columns = slice(window.start - window.body, window.end - window.body + 1)
    assert (window.starts[columns][0], window.ends[columns][-1]) == (4, 7)


def test_sliding_windows():
    tokenizer = tiny.tokenizer()
    example = question("what is rome ?", CONTEXT, "capital of Italy")
    windows = cut_answer_windows(tokenizer, "distilbert", [question(), example], 16, 3)
    spans = tokenizer.tokenize_with_offsets([CONTEXT])
    count = len(spans.token_ids[0])
    mine = [window for window in windows if window.question == 1]
    room = 16 - 3 - 4
    assert [window.place for window in mine] == list(range(0, count - room + 3, 3))
    for window in mine:
        assert len(window.token_ids) <= 16
        shown = slice(window.place, window.place + len(window.starts))
        assert (
            window.token_ids[window.body : -1].tolist()
            == spans.token_ids[0][shown].numpy().tolist()
        )
        assert window.starts.tolist() == spans.starts[0][shown].numpy().tolist()
        if window.start:
            columns = slice(window.start - window.body, window.end - window.body + 1)
            begin, end = window.starts[columns][0], window.ends[columns][-1]
            assert CONTEXT[begin:end] == "capital of Italy"
    first, last = 10, 12  # of "capital of Italy" among the tokens
    seen = [w.place <= first and last < w.place + len(w.starts) for w in mine]
    assert [bool(window.start) for window in mine] == seen and any(seen) and not all(seen)
    assert all((w.start, w.end) == (0, 0) for w, there in zip(mine, seen, strict=True) if not there)


def test_questions_without_answer_point_at_the_start_token():
    (window,) = cut_answer_windows(tiny.tokenizer(), "bert", [question(impossible=True)], 64)
    assert (window.start, window.end) == (0, 0)


def test_long_questions_are_cut():
    tokenizer = tiny.tokenizer()
    long = question("rome " * 100, CONTEXT, "Paris")
    for max_length, most, kept in ((384, 64, 64), (384, 7, 7), (23, 64, 10), (23, 4, 4)):
        windows = cut_answer_windows(tokenizer, "bert", [long], max_length, 5, most)
        assert {window.body for window in windows} == {kept + 2}
        assert max(len(window.token_ids) for window in windows) <= max_length


@pytest.mark.parametrize("context", ["", " \n"])
def test_a_context_without_tokens_has_a_window(context):
    (window,) = cut_answer_windows(tiny.tokenizer(), "bert", [question("is rome ?", context)], 32)
    assert len(window.starts) == 0 and window.token_ids[-1] == tiny.tokenizer().end_id
    logits = np.zeros((1, len(window.token_ids)))
    (answer,) = best_answers([question("is rome ?", context)], [window], logits, logits)
    assert (answer.text, answer.n_best) == ("", ())


@pytest.mark.parametrize(("max_length", "stride"), [(4, 2), (64, 0)])
def test_no_room(max_length, stride):
    message = rf"^max_length {max_length} and stride {stride}: windows need room .* 5 tokens, and 1"
    with pytest.raises(UserError, match=message):
        cut_answer_windows(tiny.tokenizer(), "bert", [question()], max_length, stride)
    assert cut_answer_windows(tiny.tokenizer(), "bert", [question()], 5, 1)


# --- answers ---


def window_of(example, length, body=3, place=0, max_context=None, number=0):
    """A window whose tokens are the context's words of one letter and a space each."""
    starts = 2 * np.arange(place, place + length, dtype=np.int32)
    shown = np.ones(length, bool) if max_context is None else np.array(max_context)
    ids = np.zeros(body + length + 1, np.int32)
    return AnswerWindow(number, ids, ids, body, place, starts, starts + 1, shown, 0, 0)


LETTERS = "a b c d e f g h i j k l m n o p q r s t u v w x y z"
EXAMPLE = question("?", LETTERS)


def logits_of(window, **columns):
    """Logits of -1 but where a letter, ``null`` or ``question`` is given another one."""
    logits = np.full(len(window.token_ids), -1.0)
    for name, value in columns.items():
        column = {"null": 0, "question": 1, "last": len(logits) - 1}.get(name)
        if column is None:
            column = window.body + ord(name) - ord("a") - window.place
        logits[column] = value
    return logits


def answer_of(windows, starts, ends, **options):
    (answer,) = best_answers([EXAMPLE], windows, starts, ends, **options)
    return answer


def test_the_best_pair_answers():
    window = window_of(EXAMPLE, 6)
    answer = answer_of([window], [logits_of(window, b=4, d=3)], [logits_of(window, c=5, e=2)])
    assert (answer.id, answer.text, answer.null_odds) == ("q", "b c", None)
    best, second = answer.n_best[:2]
    assert (best.start_logit, best.end_logit, best.score, best.start, best.end) == (4, 5, 9, 2, 5)
    assert (second.text, second.score) == ("b c d e", 6)
    scores = np.array([candidate.score for candidate in answer.n_best])
    assert (np.diff(scores) <= 0).all()
    expected = np.exp(scores) / np.exp(scores).sum()
    assert np.allclose([candidate.probability for candidate in answer.n_best], expected)


def test_only_the_contexts_tokens_in_their_order_count():
    window = window_of(EXAMPLE, 6)
    starts = [logits_of(window, null=9, question=9, last=9, d=4, a=3)]
    ends = [logits_of(window, null=9, question=9, last=9, b=5, e=1)]
    # From d to b is no answer; the best are a b with 8 and d e with 5.
    answer = answer_of([window], starts, ends)
    assert [candidate.text for candidate in answer.n_best[:2]] == ["a b", "d e"]


def test_answers_are_not_too_long():
    window = window_of(EXAMPLE, 20)
    starts, ends = [logits_of(window, a=5)], [logits_of(window, e=5, d=3)]
    assert answer_of([window], starts, ends).text == "a b c d e"
    assert answer_of([window], starts, ends, max_answer_length=5).text == "a b c d e"
    assert answer_of([window], starts, ends, max_answer_length=4).text == "a b c d"
    long = window_of(question("?", "a " * 40), 40)
    starts, ends = np.full(44, -1.0), np.full(44, -1.0)
    starts[3], ends[3 + 30], ends[3 + 29] = 9, 9, 8
    (answer,) = best_answers([question("?", "a " * 40)], [long], [starts], [ends])
    assert len(answer.text.split()) == 30


def test_a_start_counts_only_where_it_has_most_context():
    first = window_of(EXAMPLE, 6, max_context=[1, 1, 1, 1, 0, 0])
    second = window_of(EXAMPLE, 6, place=2, max_context=[0, 0, 1, 1, 1, 1])
    starts = [logits_of(first, e=9, b=2), logits_of(second, c=8, f=3)]
    ends = [logits_of(first, f=5), logits_of(second, g=6)]
    # In the first e does not count, in the second c does not; f may end an answer in the first.
    answer = answer_of([first, second], starts, ends)
    texts = [candidate.text for candidate in answer.n_best]
    assert answer.text == texts[0] == "f g"
    assert "b c d e f" in texts and not any(text.startswith("c d e f") for text in texts[:2])
    assert max(c.start_logit for c in answer.n_best) == 3


def test_texts_are_listed_once():
    example = question("?", "a b a b")
    window = window_of(example, 4)
    starts, ends = np.array([[-9.0, 0, 0, 5, 0, 4, 0, 0]]), np.array([[-9.0, 0, 0, 0, 5, 0, 4, 0]])
    (answer,) = best_answers([example], [window], starts, ends)
    texts = [candidate.text for candidate in answer.n_best]
    assert texts.count("a b") == 1 and texts[0] == "a b" and len(set(texts)) == len(texts)
    assert answer.n_best[0].score == 10


def test_sizes_of_the_lists():
    window = window_of(EXAMPLE, 26)
    random = np.random.default_rng(0)
    starts, ends = random.normal(size=(2, 1, 30))
    all_pairs = answer_of([window], starts, ends, n_best_size=40)
    assert len(answer_of([window], starts, ends).n_best) == 20
    few = answer_of([window], starts, ends, n_best_size=3)
    assert len(few.n_best) <= 3
    allowed_starts = np.sort(starts[0])[-3:]
    assert {c.start_logit for c in few.n_best} <= set(allowed_starts)
    assert all_pairs.n_best[0].score >= few.n_best[0].score
    # Every pair was looked at, so that the best one is the best of all.
    s, e = starts[0, 3:29], ends[0, 3:29]
    assert all_pairs.n_best[0].score == max(s[i] + e[j] for i in range(26) for j in range(i, 26))


def test_padding_does_not_count():
    window = window_of(EXAMPLE, 6)
    starts, ends = logits_of(window, b=4), logits_of(window, c=5)
    padded = [np.concatenate([logits, np.full(50, 100.0)]) for logits in (starts, ends)]
    same = answer_of([window], [padded[0]], [padded[1]])
    assert same == answer_of([window], [starts], [ends])


# --- no answer ---


def test_null_odds():
    first = window_of(EXAMPLE, 4)
    second = window_of(EXAMPLE, 4, place=4)
    starts = [logits_of(first, null=3, b=2), logits_of(second, null=1)]
    ends = [logits_of(first, null=4, c=2.5), logits_of(second, null=2)]
    # The least of 7 and 3, less 4.5.
    answer = answer_of([first, second], starts, ends, null_answers=True)
    assert (answer.null_odds, answer.text) == (-1.5, "b c")
    assert [c.text for c in answer.n_best[:2]] == ["b c", ""]
    assert answer.n_best[1].score == 3
    for threshold, text in ((-1.4, "b c"), (-1.5, "b c"), (-1.6, "")):
        options = {"null_answers": True, "null_threshold": threshold}
        answer = answer_of([first, second], starts, ends, **options)
        assert (answer.text, answer.null_odds) == (text, -1.5)
    assert answer_of([first, second], starts, ends).null_odds is None


def test_null_answers_are_listed_even_if_they_are_unlikely():
    window = window_of(EXAMPLE, 26)
    starts, ends = np.zeros((2, 1, 30))
    starts[0, 0] = -50
    answer = answer_of([window], starts, ends, null_answers=True)
    assert answer.n_best[-1].text == "" and len(answer.n_best) == 21
    assert answer.null_odds == -50


def test_nothing_but_no_answer():
    window = window_of(EXAMPLE, 0)
    logits = [np.array([1.5, 9, 9, 9])]
    answer = answer_of([window], logits, logits, null_answers=True)
    assert (answer.text, answer.null_odds) == ("", 3.0)
    json.dumps(answer.null_odds, allow_nan=False)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite(value):
    window = window_of(EXAMPLE, 6)
    good, bad = logits_of(window), logits_of(window, b=value)
    for starts, ends in ((good, bad), (bad, good)):
        with pytest.raises(UserError, match=r"^question q: the model's logits are not finite; tra"):
            answer_of([window], [starts], [ends])


def test_the_list_as_a_file(tmp_path):
    window = window_of(EXAMPLE, 6)
    answer = answer_of([window], [logits_of(window, b=4)], [logits_of(window, c=5)])
    write_n_best(tmp_path / "n_best.json", [answer])
    content = json.loads((tmp_path / "n_best.json").read_text())
    assert list(content) == ["q"] and len(content["q"]) == len(answer.n_best)
    assert content["q"][0] == {
        "text": "b c",
        "probability": answer.n_best[0].probability,
        "start_logit": 4.0,
        "end_logit": 5.0,
    }


# --- beside the served answers ---


def test_the_served_answer_of_one_window():
    """Fewer than 20 tokens in all, so that both look at every pair."""
    model = task_model("question_answering")
    service = QuestionAnsweringService(ServedModel.of(model, 32), runner(model))
    contexts = ["rome is the capital of italy .", "the sun", "Pârïs — is old, 中 in", "people"]
    questions = ["what is rome ?", "", "¿ is ?", "people people"]
    examples = [
        question(q, c, name=str(n))
        for n, (q, c) in enumerate(zip(questions, contexts, strict=True))
    ]
    served = service.answer(tf.constant(questions), tf.constant(contexts))
    windows = cut_answer_windows(model.tokenizer, "distilbert", examples, 32)
    logits = []
    for window in windows:
        ids = window.token_ids[None]
        logits.append(model({"token_ids": ids, "padding_mask": np.ones_like(ids)}).numpy()[0])
    starts, ends = ([row[:, side] for row in logits] for side in (0, 1))
    for null_answers in (False, True):
        answers = best_answers(
            examples, windows, starts, ends, null_answers=null_answers, null_threshold=np.inf
        )
        assert [a.text.encode() for a in answers] == served["answer"].numpy().tolist()
        best = [next(c for c in answer.n_best if c.text) for answer in answers]
        assert [c.start for c in best] == served["start"].numpy().tolist()
        assert [c.end for c in best] == served["end"].numpy().tolist()
    assert np.allclose([a.null_odds for a in answers], served["no_answer"].numpy(), atol=1e-4)


# --- beside run_squad, of transformers 4.40.2, on real questions ---


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
