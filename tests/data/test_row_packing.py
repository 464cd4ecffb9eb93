"""Packed rows: every sequence once, little padding, and the same losses and gradients."""

import numpy as np
import pytest
import tensorflow as tf

from support import tiny
from support.records import LENGTH, VOCABULARY, write_records
from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.data.pipeline import masked_lm_dataset
from tf_distilbert.data.row_packing import PackedRecords, merge_rows, pack_rows
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.student import build_student
from tf_distilbert.training.batch import count_tokens


@pytest.mark.parametrize("seed", range(5))
def test_rows_hold_every_sequence_once_and_are_full(seed):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 65, 2000)
    rows = pack_rows(lengths, 64)
    chosen = rows[rows >= 0]
    assert sorted(chosen) == list(range(2000))
    filled = np.where(rows >= 0, lengths[rows], 0).sum(axis=1)
    assert filled.max() <= 64
    assert filled.sum() / (64 * len(rows)) > 0.98


def test_the_example():
    np.testing.assert_array_equal(pack_rows(np.array([3, 8, 5, 2]), 8), [[1, -1], [2, 0], [3, -1]])


def unpacked_batch(records, masker, rows, epochs=0):
    token_ids, sequences, row_of = records.gather(np.array(rows))
    return masker(token_ids, 0, tf.zeros_like(sequences) + epochs, sequences), row_of


@pytest.fixture
def records(tmp_path):
    return PackedRecords(write_records(tmp_path / "records", 300, shortest=4))


@pytest.fixture
def masker(records):
    return TokenMasker.for_records(records.records)


def test_each_sequence_keeps_its_tokens_masks_and_positions(records, masker):
    rows = [5, 0, 7, len(records) - 1]
    masked, row_of = unpacked_batch(records, masker, rows)
    num_slots = records.num_slots(masker.rate)
    inputs, mask_ids, mask_weights = merge_rows(masked, row_of, len(rows), num_slots, pad_id=0)
    inputs = {name: tensor.numpy() for name, tensor in inputs.items()}
    np.testing.assert_array_equal(inputs["padding_mask"], inputs["token_ids"] != 0)
    seen = []
    for row in range(len(rows)):
        numbers = inputs["sequence_ids"][row]
        predictions = set()
        for slot in np.flatnonzero(mask_weights[row]):
            place = inputs["mask_positions"][row, slot]
            place = numbers[place], inputs["position_ids"][row, place]
            predictions.add((*place, int(mask_ids[row, slot])))
        for number in range(1, numbers.max() + 1):
            where = numbers == number
            positions = inputs["position_ids"][row, where]
            np.testing.assert_array_equal(positions, np.arange(where.sum()))
            own = {(p, t) for n, p, t in predictions if n == number}
            seen.append((inputs["token_ids"][row, where].tolist(), own))
        assert (np.diff(np.flatnonzero(numbers)) == 1).all()
    tokens, mask, places, ids, weights = (
        np.asarray(x) for x in (*(masked[0][k] for k in masked[0]), *masked[1:])
    )
    expected = [
        (
            tokens[i, mask[i]].tolist(),
            {(p, t) for p, t, w in zip(places[i], ids[i], weights[i], strict=True) if w},
        )
        for i in range(len(tokens))
    ]
    assert seen == expected


def test_packed_and_unpacked_give_the_same_losses_and_gradients(records, masker):
    teacher = tiny.model(num_layers=2, vocabulary_size=len(VOCABULARY), max_positions=LENGTH)
    teacher.tokenizer = None
    student = build_student(teacher, 1)
    distiller = Distiller(teacher, student, mse_weight=0.5)
    distiller.compile("sgd")
    unpacked, row_of = unpacked_batch(records, masker, range(len(records) - 9, len(records) - 1))
    packed = merge_rows(unpacked, row_of, 8, records.num_slots(masker.rate), pad_id=0)
    assert len(unpacked[1]) > 8  # some rows hold several sequences
    results = []
    for batch in (unpacked, packed):
        figures = distiller.test_step(batch)
        distiller.reset_metrics()
        weights = student.trainable_variables
        with tf.GradientTape() as tape:
            tape.watch([w.value for w in weights])
            loss = losses(distiller, batch)
        results.append((figures, tape.gradient(loss, [w.value for w in weights])))
    (figures, gradients), (packed_figures, packed_gradients) = results
    assert figures.keys() == packed_figures.keys()
    for name in figures:
        np.testing.assert_allclose(packed_figures[name], figures[name], rtol=1e-5, err_msg=name)
    for w, ours, theirs in zip(weights, packed_gradients, gradients, strict=True):
        ours, theirs = tf.convert_to_tensor(ours).numpy(), tf.convert_to_tensor(theirs).numpy()
        scale = np.abs(theirs).max()
        tolerance = 1e-5 * max(scale, 1e-2)  # the gradient of a key's bias is 0 but for rounding
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance, err_msg=w.path)


def losses(distiller, batch):
    return distiller._partial_means(batch, count_tokens(batch), training=True)[0]


def test_sequences_of_a_row_do_not_see_each_other(records, masker):
    model = tiny.model(num_layers=2, vocabulary_size=len(VOCABULARY), max_positions=LENGTH)
    masked, row_of = unpacked_batch(records, masker, range(len(records) - 5, len(records) - 1))
    inputs, *_ = merge_rows(masked, row_of, 4, 40, pad_id=0)
    row = int(np.argmax(inputs["sequence_ids"].numpy().max(axis=1)))
    first = inputs["sequence_ids"].numpy()[row] == 1
    changed = np.where(first, 7, inputs["token_ids"].numpy()[row])
    token_ids = inputs["token_ids"].numpy()
    token_ids[row] = changed
    before = model.hidden_states(inputs)[-1].numpy()[row]
    after = model.hidden_states({**inputs, "token_ids": token_ids})[-1].numpy()[row]
    others = inputs["sequence_ids"].numpy()[row] > 1
    assert others.any()
    np.testing.assert_array_equal(before[others], after[others])
    assert np.abs(before[first] - after[first]).max() > 0.01


def test_an_epoch_of_packed_batches_has_every_sequence_once(records, masker):
    stream = masked_lm_dataset(records, masker, 1, num_steps=len(records))
    batches = list(stream)
    numbers = [int(inputs["sequence_ids"].numpy().max()) for inputs, *_ in batches]
    assert sum(numbers) == len(records.records)
    again = masked_lm_dataset(records, masker, 1, first_step=3, num_steps=1)
    pairs = zip(tf.nest.flatten(next(iter(again))), tf.nest.flatten(batches[3]), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours, theirs)
