"""The answers of all windows, and the served ones beside them."""

import json

import numpy as np
import pytest
import tensorflow as tf

from support import tiny
from support.service_reference import runner
from support.task_files import question
from support.task_model import task_model
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.answer_windows import (
    AnswerWindow,
    cut_answer_windows,
)
from tf_distilbert.finetuning.answers import Candidate, best_answers, write_n_best
from tf_distilbert.serving.question_answering import QuestionAnsweringService
from tf_distilbert.serving.served_model import ServedModel


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


@pytest.mark.parametrize("max_length", [32, 14])
def test_a_served_model_answers_what_is_scored(max_length):
    """Of one window or many, with more tokens than are in the lists of the best."""
    model = task_model("question_answering")
    run = runner(model)
    service = QuestionAnsweringService(ServedModel.of(model, max_length), run, stride=3)
    random = np.random.default_rng(0)
    contexts = ["rome is the capital of italy .", "the sun", "Pârïs — is old, 中 in", "people", ""]
    contexts += [" ".join(random.permutation(tiny.SENTENCES * 4)) for _ in range(20)]
    questions = ["what is rome ?", "", "¿ is ?", "people people", "is"] * 5
    examples = [
        question(q, c, name=str(n))
        for n, (q, c) in enumerate(zip(questions, contexts, strict=True))
    ]
    served = service.answer(tf.constant(questions), tf.constant(contexts))
    windows = cut_answer_windows(model.tokenizer, "distilbert", examples, max_length, 3)
    assert len(windows) > 3 * len(examples)
    logits = []
    for window in windows:
        ids = window.token_ids[None]
        logits.append(run({"token_ids": ids, "padding_mask": np.ones_like(ids)}).numpy()[0])
    starts, ends = ([row[:, side] for row in logits] for side in (0, 1))
    for null_answers in (False, True):
        answers = best_answers(
            examples, windows, starts, ends, null_answers=null_answers, null_threshold=np.inf
        )
        assert [a.text.encode() for a in answers] == served["answer"].numpy().tolist()
        best = [next((c for c in a.n_best if c.text), Candidate("", 0, 0)) for a in answers]
        assert [c.start for c in best] == served["start"].numpy().tolist()
        assert [c.end for c in best] == served["end"].numpy().tolist()
    assert np.allclose([a.null_odds for a in answers], served["no_answer"].numpy(), atol=1e-4)
