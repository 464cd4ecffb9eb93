"""Rows of several texts: their tokens, targets and batches."""

import numpy as np
import pytest

from support import tiny
from support.task_model import task_model
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.examples import Passages, QueryExample, TextExample
from tf_distilbert.finetuning.rows import TaskBatches
from tf_distilbert.finetuning.sentence_rows import (
    ScoreRange,
    encode_sentence_splits,
    encode_sentences,
)
from tf_distilbert.finetuning.tasks import find_task

SIMILARITY, RETRIEVAL = find_task("similarity"), find_task("retrieval")
PROMPTS = {"query": "the city ", "passage": "of one "}


def pair(a, b, score=None):
    return TextExample("0", (a, b), score)


def tokens(*texts):
    """Each text by itself, between start and end."""
    tokenizer = tiny.tokenizer()
    made = tokenizer.tokenize(list(texts)).to_list()
    return [[tokenizer.start_id, *ids, tokenizer.end_id] for ids in made]


def lists(rows):
    return [[text.tolist() for text in row] for row in rows.token_ids]


def test_each_text_is_by_itself_and_cut_where_the_model_cuts():
    model = task_model("embedding", "bert", max_length=6)
    examples = [pair("paris", "the capital of france", 4.0), pair(tiny.SENTENCES[0], "rome", 1.0)]
    rows = encode_sentences(SIMILARITY, examples, model, ScoreRange(0.0, 5.0))
    whole = [tokens(*example.texts) for example in examples]
    end = tiny.tokenizer().end_id
    expected = [[ids if len(ids) <= 6 else [*ids[:5], end] for ids in row] for row in whole]
    assert lists(rows) == expected and len(expected[1][0]) == 6
    np.testing.assert_array_equal(rows.targets, np.float32([0.8, 0.2]))
    np.testing.assert_array_equal(rows.lengths, [6, 6])
    assert rows.num_tokens == 3 + 6 + 6 + 3


def test_pairs_have_the_default_prompt_and_searches_their_own():
    model = task_model("embedding", "bert", prompts=PROMPTS, default_prompt="passage")
    rows = encode_sentences(SIMILARITY, [pair("rome", "sea", 0.5)], model, ScoreRange(0.0, 1.0))
    assert lists(rows) == [tokens("of one rome", "of one sea")]
    examples = [TextExample("0", ("rome", "sea", "moon"), None)]
    found = encode_sentences(RETRIEVAL, examples, model)
    assert lists(found) == [tokens("the city rome", "of one sea", "of one moon")]


def test_equal_texts_have_one_number():
    examples = [TextExample("", texts, None) for texts in (("a", "b", "c"), ("d", "c", "b"))]
    rows = encode_sentences(RETRIEVAL, examples, task_model("embedding"))
    assert rows.targets.dtype == "int32"
    (a, b, c), (d, *others) = rows.targets.tolist()
    assert others == [c, b] and len({a, b, c, d}) == 4


def test_a_query_has_a_row_for_each_relevant_passage():
    passages = Passages(["0", "1", "2"], ["sea", "moon", "sun"])
    queries = [QueryExample("x", "rome", {2: 1.0, 0: 3.0}, passages)]
    rows = encode_sentences(RETRIEVAL, queries, task_model("embedding", "bert"))
    assert lists(rows) == [tokens("rome", "sun"), tokens("rome", "sea")]


@pytest.mark.parametrize(
    ("train", "held_out", "expected"),
    [
        ((0.0, 5.0, 2.5), (1.0, 6.0), (0.2, 1.2)),  # of the training split alone
        ((1.0, 3.0), (2.0, 1.0), (0.5, 0.0)),
        ((0.2, 0.9), (0.5, 1.0), (0.5, 1.0)),
        ((-1.0, 1.0), (0.5, -0.5), (0.5, -0.5)),  # cosines already
    ],
)
def test_scores_become_cosines(train, held_out, expected):
    splits = {
        name: [pair("rome", "sea", score) for score in scores]
        for name, scores in (("train", train), ("validation", held_out))
    }
    found = encode_sentence_splits(SIMILARITY, splits, task_model("embedding"))
    np.testing.assert_allclose(found["validation"].targets, expected, rtol=1e-6)


def test_equal_scores_are_refused():
    with pytest.raises(UserError, match=r"^similarity: all scores of its split train are 3, of wh"):
        ScoreRange.of(SIMILARITY, [pair("a", "b", 3.0)] * 2)


def test_batches_hold_the_texts_of_a_row_together():
    texts = [("a", "paris"), (tiny.SENTENCES[5], "rome"), ("the sea", "one two three")]
    examples = [pair(*some, score / 2) for score, some in enumerate(texts)]
    rows = encode_sentences(SIMILARITY, examples, task_model("embedding"), ScoreRange(0.0, 1.0))
    inputs, targets, weights = rows.batch([2, -1, 0], 5)
    pad = tiny.tokenizer().pad_id
    shown = [*tokens(*texts[2]), [], [], *tokens(*texts[0])]
    expected = [ids + [pad] * (5 - len(ids)) for ids in shown]
    assert inputs["token_ids"].tolist() == expected
    assert inputs["padding_mask"].sum(1).tolist() == list(map(len, shown))
    assert targets.tolist() == [1.0, 0.0, 0.0] and weights.tolist() == [1.0, 0.0, 1.0]
    [(streamed, scores, counts)] = TaskBatches(rows, 4, seed=None).stream(0, 1)
    assert streamed["token_ids"].shape == (8, 16) and scores.shape == counts.shape == (4,)
    expected = rows.batch([1, 2, 0, -1], 16)[0]["token_ids"]  # the longest first
    np.testing.assert_array_equal(streamed["token_ids"], expected)


def test_other_content_is_another():
    def identity(*examples):
        rows = encode_sentences(RETRIEVAL, examples, task_model("embedding"))
        return rows.identity

    one = identity(pair("the sea", "rome"))
    assert identity(pair("the sea", "rome")) == one
    assert len({one, identity(pair("the", "sea rome")), identity(pair("rome", "the sea"))}) == 3
