"""Windows over the contexts of questions."""

import numpy as np
import pytest

from support import tiny
from support.task_files import CONTEXT, question
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.answer_windows import cut_answer_windows
from tf_distilbert.finetuning.answers import best_answers


def windows_of(count, max_length, stride):
    """Of one letter that is the question, and a text of so many: what windows show of it."""
    letters = ("paris rome " * count).split()[:count]
    examples = [question("is", " ".join(letters))]
    windows = cut_answer_windows(tiny.tokenizer(), "bert", examples, max_length, stride)
    return [(w.place, w.place + len(w.starts)) for w in windows], windows


def test_spans():
    assert windows_of(9, 10, 2)[0] == [(0, 6), (2, 8), (4, 9)]
    assert windows_of(6, 10, 2)[0] == [(0, 6)]
    assert windows_of(7, 10, 3)[0] == [(0, 6), (3, 7)]
    assert windows_of(13, 9, 9)[0] == [(0, 5), (5, 10), (10, 13)]  # no token is in none
    assert windows_of(0, 9, 2)[0] == [(0, 0)]


@pytest.mark.parametrize("seed", range(20))
def test_one_window_of_each_token_has_most_context(seed):
    random = np.random.default_rng(seed)
    # Windows of hundreds of tokens too, where the length outweighs a token.
    scale = 1 if seed % 2 else 13
    count, room = (scale * int(random.integers(2, high)) for high in (80, 30))
    stride = scale * int(random.integers(1, 30))
    count += seed % scale
    spans, windows = windows_of(count, room + 4, stride)
    assert spans[0][0] == 0 and spans[-1][1] == count
    assert [len(window.max_context) for window in windows] == [end - begin for begin, end in spans]
    for place in range(count):
        shown = [n for n, (first, last) in enumerate(spans) if first <= place < last]
        amount = [min(place - spans[n][0], spans[n][1] - 1 - place) for n in shown]
        length = [spans[n][1] - spans[n][0] for n in shown]
        totals = [a + 0.01 * b for a, b in zip(amount, length, strict=True)]
        best = shown[totals.index(max(totals))]
        assert [n for n in shown if windows[n].max_context[place - spans[n][0]]] == [best]


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
