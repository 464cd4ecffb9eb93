"""Rows and batches of a fine-tuning: nothing lost, nothing twice, little padding."""

from dataclasses import replace

import numpy as np
import pytest

from support import tiny
from tf_distilbert.finetuning.encoding import encode_texts, encode_words
from tf_distilbert.finetuning.examples import TextExample, TokenExample
from tf_distilbert.finetuning.rows import (
    BUCKETS,
    Row,
    TaskBatches,
    TaskRows,
    bucket_of,
)


def rows_of(number, seed=0, longest=60):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(3, longest, number)
    made = [Row(np.full(n, 5 + i % 40, np.int32), int(n), i % 3) for i, n in enumerate(lengths)]
    return TaskRows(made, tiny.tokenizer(), segments=False, max_length=512)


def test_every_row_comes_once_an_epoch_in_another_order():
    batches = TaskBatches(rows_of(1001), 16, seed=3)
    assert batches.steps_per_epoch == 63
    epochs = [
        np.concatenate([batches.indices(step) for step in range(e * 63, (e + 1) * 63)])
        for e in range(2)
    ]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch[epoch >= 0]), np.arange(1001))
        assert (epoch == -1).sum() == 63 * 16 - 1001
    assert (epochs[0] != epochs[1]).mean() > 0.9
    again = TaskBatches(rows_of(1001), 16, seed=3)
    np.testing.assert_array_equal(again.indices(70), batches.indices(70))


def test_rows_of_like_length_are_together():
    """Less than half of the padding that batches in a random order have."""
    rows = rows_of(4000)
    batches = TaskBatches(rows, 16, seed=1)
    orders = (
        [batches.indices(step) for step in range(250)],
        np.random.default_rng(0).permutation(4000).reshape(-1, 16),
    )
    padding = [
        sum(16 * bucket_of(int(rows.lengths[indices].max())) for indices in order)
        - rows.lengths.sum()
        for order in orders
    ]
    assert padding[0] < 0.5 * padding[1]


def test_the_stream_is_the_batches_and_its_parts_are_theirs():
    rows = rows_of(50)
    batches = TaskBatches(rows, 8, seed=1)
    whole = list(batches.stream(5, 9).as_numpy_iterator())
    assert len(whole) == 4
    for step, (inputs, targets, weights) in zip(range(5, 9), whole, strict=True):
        indices = batches.indices(step)
        real = indices >= 0
        np.testing.assert_array_equal(weights, real)
        np.testing.assert_array_equal(
            inputs["padding_mask"].sum(1)[real], rows.lengths[indices[real]]
        )
        np.testing.assert_array_equal(targets[real], indices[real] % 3)
        assert inputs["token_ids"].shape[1] in BUCKETS
    first, second = (
        list(batches.stream(5, 9, 2, range(part, part + 1)).as_numpy_iterator()) for part in (0, 1)
    )
    for (inputs, *_), (left, *_), (right, *_) in zip(whole, first, second, strict=True):
        both = np.concatenate([left["token_ids"], right["token_ids"]])
        np.testing.assert_array_equal(both, inputs["token_ids"])


def test_predictions_come_in_the_order_of_the_rows():
    rows = rows_of(45)
    lengths = TaskBatches(rows, 8, None).predict(lambda inputs: inputs["padding_mask"].sum(1))
    np.testing.assert_array_equal(lengths, rows.lengths)


@pytest.mark.parity
def test_pairs_are_cut_as_transformers_cuts_them(tmp_path):
    transformers = pytest.importorskip("transformers")
    (tmp_path / "vocab.txt").write_text("\n".join(tiny.VOCABULARY) + "\n")
    theirs = transformers.BertTokenizerFast(vocab=str(tmp_path / "vocab.txt"))
    generator = np.random.default_rng(0)
    words = [word for word in tiny.WORDS if not word.startswith("##")]
    texts = [
        tuple(" ".join(generator.choice(words, generator.integers(1, 14))) for _ in range(2))
        for _ in range(200)
    ]
    rows = encode_texts(
        [TextExample(str(i), pair, 0) for i, pair in enumerate(texts)],
        tiny.tokenizer(),
        family="bert",
        segments=True,
        max_length=16,
        scores=False,
    )
    for i, (first, second) in enumerate(texts):
        expected = theirs(first, second, truncation=True, max_length=16)
        inputs, _, _ = rows.batch([i], len(expected["input_ids"]))
        np.testing.assert_array_equal(inputs["token_ids"][0], expected["input_ids"])
        np.testing.assert_array_equal(inputs["segment_ids"][0], expected["token_type_ids"])


def test_a_word_is_labelled_at_its_first_token():
    example = TokenExample("0", ("cities", "in", " "), (2, 1, 0))
    rows = encode_words([example], tiny.tokenizer(), segments=False, max_length=32)
    [row] = rows.rows
    inputs, targets, weights = rows.batch([0, -1], 16)
    pieces = tiny.tokenizer().tokenize(["cities"]).to_list()[0]
    counted = np.flatnonzero(weights[0])
    np.testing.assert_array_equal(counted, [1, 1 + len(pieces), 2 + len(pieces)])
    np.testing.assert_array_equal(targets[0][counted], [2, 1, 0])
    assert not weights[1].any() and not inputs["padding_mask"][1].any()
    assert len(row.token_ids) == len(pieces) + 4


def test_no_batch_is_longer_than_the_model_reads():
    rows = replace(rows_of(50, longest=40), max_length=39)
    longest = np.array([np.argmax(rows.lengths), -1])
    assert bucket_of(rows.lengths.max()) == 48 and rows.padded_length(longest) == 39
    batches = TaskBatches(rows, 8, seed=None)
    assert {inputs["token_ids"].shape[1] for inputs, _, _ in batches.stream(0, 7)} <= {16, 32, 39}


def test_a_byte_pair_tokenizer_sees_the_space_before_a_word():
    """As in the whole text, which is what it reads when it serves."""
    tokenizer = tiny.byte_pair_tokenizer()
    example = TokenExample("0", ("the", "capital", "of", "paris"), (0, 1, 2, 0))
    rows = encode_words([example], tokenizer, segments=False, max_length=32)
    [whole] = tokenizer.tokenize(["the capital of paris"]).to_list()
    assert rows.rows[0].token_ids.tolist() == [tokenizer.start_id, *whole, tokenizer.end_id]
    assert (rows.rows[0].target != -1).sum() == 4
