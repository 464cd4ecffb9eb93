"""The training stream as a function of the step, and the pass over held-out records."""

import itertools
import subprocess
import sys
from pathlib import Path

import keras_nlp
import numpy as np
import pytest
import tensorflow as tf

from support.records import LENGTH, VOCABULARY, flatten, write_records
from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.data.pipeline import evaluation_dataset, masked_lm_dataset
from tf_distilbert.data.records import Records
from tf_distilbert.errors import UserError


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_records(tmp_path_factory.mktemp("records"), 23)


@pytest.fixture
def masker(records):
    return TokenMasker.for_records(records, seed=5)


def assert_same(batches, other_batches):
    for batch, other in zip(batches, other_batches, strict=True):
        for one, another in zip(flatten(batch), flatten(other), strict=True):
            np.testing.assert_array_equal(one, another)


def which_records(records, batches):
    """The numbers of the records in the order of the stream, read from the unmasked rows."""
    numbers = {row.tobytes(): i for i, row in enumerate(records.gather(np.arange(len(records))))}
    assert len(numbers) == len(records)
    found = []
    for inputs, mask_ids, mask_weights in batches:
        for row, positions, tokens, weights in zip(
            inputs["token_ids"].numpy(),
            inputs["mask_positions"].numpy(),
            mask_ids.numpy(),
            mask_weights.numpy(),
            strict=True,
        ):
            row[positions[weights == 1]] = tokens[weights == 1]
            found.append(numbers[row.tobytes()])
    return found


def test_a_stream_that_is_iterated_again_goes_on(records, masker):
    """As `fit` does at each epoch: it sees other records with other masks, and those only once."""
    stream = masked_lm_dataset(records, masker, 5, seed=1, first_step=2, num_steps=4)
    assert int(stream.cardinality()) == 4
    whole = list(masked_lm_dataset(records, masker, 5, seed=1, first_step=2, num_steps=12))
    for iteration in range(3):
        assert_same(stream, whole[4 * iteration : 4 * iteration + 4])


# 5 does not divide 23, 23 does, 50 is more than two epochs, 1 is the least.
@pytest.mark.parametrize(("batch_size", "num_epochs"), [(5, 5), (23, 3), (50, 50), (1, 2)])
def test_each_record_comes_once_an_epoch(records, masker, batch_size, num_epochs):
    num_steps = 23 * num_epochs // batch_size
    batches = masked_lm_dataset(records, masker, batch_size, seed=1, num_steps=num_steps)
    numbers = which_records(records, batches)
    assert len(numbers) == 23 * num_epochs
    epochs = np.reshape(numbers, (num_epochs, 23))
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(23), (num_epochs, 1)))
    assert len({tuple(epoch) for epoch in epochs}) == num_epochs
    assert tuple(range(23)) not in {tuple(epoch) for epoch in epochs}


def test_orders_are_shuffled_well(records, masker):
    """Over 400 epochs each record is at each place about equally often."""
    batches = masked_lm_dataset(records, masker, 230, seed=2, num_steps=40)
    epochs = np.reshape(which_records(records, batches), (400, 23))
    assert len({tuple(epoch) for epoch in epochs}) == 400
    counts = np.stack([np.bincount(place, minlength=23) for place in epochs.T])
    expected = 400 / 23
    chi_square = ((counts - expected) ** 2 / expected).sum()
    freedom = 22 * 22
    assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("num_sequences", [1, 2, 3])
def test_very_few_records(tmp_path, num_sequences):
    few = write_records(tmp_path, num_sequences, num_shards=1)
    batches = masked_lm_dataset(few, TokenMasker.for_records(few), 6, num_steps=2)
    numbers = np.reshape(which_records(few, batches), (-1, num_sequences))
    assert (np.sort(numbers) == np.arange(num_sequences)).all()


def test_the_batch_size_changes_nothing_but_the_cuts(records, masker):
    def rows(batch_size):
        batches = masked_lm_dataset(records, masker, batch_size, seed=3, num_steps=60 // batch_size)
        return [np.concatenate(parts) for parts in zip(*map(flatten, batches), strict=True)]

    for one, other in zip(rows(4), rows(15), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_seed_decides_the_order_and_epochs_are_masked_anew(records, masker):
    def numbers(seed):
        batches = masked_lm_dataset(records, masker, 23, seed=seed, num_steps=1)
        return which_records(records, batches)

    assert numbers(1) == numbers(1)
    assert numbers(1) != numbers(2)
    [first, second] = masked_lm_dataset(records, masker, 23, seed=1, num_steps=2)
    orders = [np.argsort(which_records(records, [batch])) for batch in (first, second)]
    seen = [
        batch[0]["token_ids"].numpy()[order]
        for batch, order in zip((first, second), orders, strict=True)
    ]
    assert ((seen[0] != seen[1]).sum(axis=1) > 0).mean() > 0.9


@pytest.mark.parametrize("first_step", [1, 4, 5, 37])
def test_first_step_equals_skipping(records, masker, first_step):
    stream = masked_lm_dataset(records, masker, 5, seed=1)
    later = masked_lm_dataset(records, masker, 5, seed=1, first_step=first_step, num_steps=6)
    assert_same(later, stream.skip(first_step).take(6))


def test_a_late_step_costs_nothing(records, masker):
    stream = masked_lm_dataset(records, masker, 5, first_step=10**12, num_steps=1)
    assert len(which_records(records, stream)) == 5


def test_the_stream_is_endless_and_the_same_again(records, masker):
    stream = masked_lm_dataset(records, masker, 5, seed=1)
    assert_same(itertools.islice(stream, 30), itertools.islice(stream, 30))
    assert stream.cardinality() > 10**15 or stream.cardinality() == tf.data.INFINITE_CARDINALITY
    assert masked_lm_dataset(records, masker, 5, first_step=7, num_steps=9).cardinality() == 9


def test_batches_are_those_of_keras_nlp(records, masker):
    num_slots = 3
    tokenizer = keras_nlp.models.DistilBertTokenizer(vocabulary=VOCABULARY, lowercase=True)
    preprocessor = keras_nlp.models.DistilBertMaskedLMPreprocessor(
        tokenizer, sequence_length=LENGTH, mask_selection_length=num_slots
    )
    text = tf.data.Dataset.from_tensor_slices(["w1 w2 w3"] * 4).batch(4, drop_remainder=True)
    expected = text.map(preprocessor).element_spec
    stream = masked_lm_dataset(records, masker, 4)
    # Positions are int64 there; int32, as all ids are, is what TPUs have.
    positions = expected[0]["mask_positions"]
    assert positions.dtype == tf.int64
    expected[0]["mask_positions"] = tf.TensorSpec(positions.shape, tf.int32)
    assert tf.nest.map_structure(lambda spec: spec.dtype, stream.element_spec) == (
        tf.nest.map_structure(lambda spec: spec.dtype, expected)
    )
    shapes = tf.nest.map_structure(lambda spec: tuple(spec.shape), stream.element_spec)
    assert shapes == (
        {"token_ids": (4, 20), "padding_mask": (4, 20), "mask_positions": (4, 3)},
        (4, 3),
        (4, 3),
    )
    widths = [spec.shape[1] for spec in tf.nest.flatten(stream.element_spec)]
    assert widths == [spec.shape[1] for spec in tf.nest.flatten(expected)]
    assert evaluation_dataset(records, masker, 4).element_spec == stream.element_spec


def test_evaluation_is_one_pass_in_order_and_the_same_twice(records, masker):
    held_out = evaluation_dataset(records, masker, 5)
    batches = list(held_out)
    assert_same(batches, list(held_out))
    assert len(batches) == held_out.cardinality() == 5
    rows = [np.concatenate(parts) for parts in zip(*map(flatten, batches), strict=True)]
    token_ids, padding_mask, mask_positions, mask_ids, mask_weights = rows
    assert (mask_weights.sum(axis=1) > 0).tolist() == [True] * 23 + [False] * 2
    for empty in (token_ids, padding_mask, mask_positions, mask_ids, mask_weights):
        assert not empty[23:].any()
    parts = (token_ids, mask_positions, mask_ids, mask_weights)
    for row, positions, tokens, weights in zip(*parts, strict=True):
        row[positions[weights == 1]] = tokens[weights == 1]
    np.testing.assert_array_equal(token_ids[:23], records.gather(np.arange(23)))


def test_the_batch_size_of_an_evaluation_has_no_influence_on_its_masks(records, masker):
    def rows(batch_size):
        batches = map(flatten, evaluation_dataset(records, masker, batch_size))
        return [np.concatenate(parts)[:23] for parts in zip(*batches, strict=True)]

    for one, other in zip(rows(4), rows(64), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("make", [masked_lm_dataset, evaluation_dataset])
def test_a_damaged_record_stops_the_stream_and_names_its_shard(tmp_path, make):
    write_records(tmp_path, 12)
    path = tmp_path / "records-00001.tfrecord"
    content = bytearray(path.read_bytes())
    content[int(np.load(tmp_path / "records-00001.index.npy")["offset"][2]) + 4] ^= 1
    path.write_bytes(content)
    damaged = Records.open(tmp_path)
    stream = make(damaged, TokenMasker.for_records(damaged), 4)
    with pytest.raises(
        Exception, match=r"records-00001\.tfrecord: record 2 at byte \d+ is damaged"
    ):
        list(itertools.islice(stream, 3))


@pytest.mark.parametrize(("num_workers", "per_worker"), [(1, 2), (1, 4), (2, 2), (3, 1)])
def test_workers_and_replicas_share_an_epoch_without_gap_or_overlap(
    records, masker, num_workers, per_worker
):
    """Put together in order, the parts are the batches of one device; so each comes once."""
    size, replicas = 12, num_workers * per_worker
    num_steps = -(-len(records) // size)
    whole = list(
        masked_lm_dataset(records, masker, size, seed=3, first_step=2, num_steps=num_steps)
    )
    streams = []
    for worker in range(num_workers):
        parts = range(worker * per_worker, (worker + 1) * per_worker)
        options = {"seed": 3, "first_step": 2, "num_steps": num_steps}
        stream = masked_lm_dataset(
            records, masker, size, num_parts=replicas, parts=parts, **options
        )
        streams.append(list(stream.batch(per_worker)))
    for step, batch in enumerate(whole):
        parts = [tf.nest.map_structure(lambda t: t.numpy(), stream[step]) for stream in streams]
        for i, expected in enumerate(tf.nest.flatten(batch)):
            found = [np.concatenate(tf.nest.flatten(part)[i]) for part in parts]
            np.testing.assert_array_equal(np.concatenate(found), expected)


def test_an_evaluation_in_parts_is_the_same_pass(records, masker):
    whole = list(evaluation_dataset(records, masker, 12))
    parts = [
        list(evaluation_dataset(records, masker, 12, num_parts=3, parts=range(i, i + 1)))
        for i in range(3)
    ]
    assert len(whole) == len(parts[0])
    for step, (inputs, *_) in enumerate(whole):
        found = np.concatenate([part[step][0]["token_ids"] for part in parts])
        np.testing.assert_array_equal(found, inputs["token_ids"])


def test_a_batch_that_replicas_cannot_share_is_refused(records, masker):
    with pytest.raises(UserError, match="10 sequences cannot be shared by 4 replicas"):
        masked_lm_dataset(records, masker, 10, num_parts=4)


def test_a_program_can_end_while_a_stream_reads_ahead(tmp_path):
    """Without waiting for the threads that are in Python, it hangs."""
    write_records(tmp_path, 50)
    program = f"""
import time
from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.data.pipeline import masked_lm_dataset
from tf_distilbert.data.records import Records
gather, delay = Records.gather, 0
Records.gather = lambda *arguments: time.sleep(delay) or gather(*arguments)
records = Records.open({str(tmp_path)!r})
batches = iter(masked_lm_dataset(records, TokenMasker.for_records(records), 4))
for _ in range(20):
    next(batches)
time.sleep(0.5)  # all buffers are full
delay = 2
next(batches)  # leaves a place to fill
print("ends", flush=True)
"""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=root, capture_output=True, timeout=90)
    assert (result.returncode, result.stdout) == (0, b"ends\n"), result.stderr
