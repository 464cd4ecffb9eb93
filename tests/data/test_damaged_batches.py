"""Batches of damaged records: what is skipped leaves all else as it was."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from support import tiny
from support.damage import SHARD, all_rows, flip_two, remove, truncate, twelve_sequences
from support.records import LENGTH, VOCABULARY, flatten, write_records
from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.data.pipeline import evaluation_dataset, masked_lm_dataset
from tf_distilbert.data.records import Records
from tf_distilbert.data.row_packing import PackedRecords
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.pretrainer import MaskedLMPretrainer
from tf_distilbert.distillation.student import build_student
from tf_distilbert.errors import UserError, reveal_user_errors
from tf_distilbert.training.optimizer import AdamW


@pytest.fixture
def folder(tmp_path):
    return twelve_sequences(tmp_path)


# Streams


@pytest.mark.parametrize(
    ("damage", "whole_word"), [(flip_two, True), (truncate, False), (remove, True)]
)
def test_a_stream_is_that_of_whole_data_but_for_empty_rows(folder, damage, whole_word):
    def stream(on_corrupt):
        records = Records.open(folder, on_corrupt)
        masker = TokenMasker.for_records(records, seed=5, smoothing=0.7, whole_word=whole_word)
        batches = list(masked_lm_dataset(records, masker, 5, seed=1, first_step=2, num_steps=7))
        batches += evaluation_dataset(records, masker, 5)
        return [
            np.concatenate(parts) for parts in zip(*map(flatten, batches), strict=True)
        ], records

    expected, records = stream("error")
    rows = all_rows(records)
    lost, _ = damage(folder)
    parts, records = stream("skip")
    assert len(records.damaged) == len(lost)
    assert [part.shape for part in parts] == [part.shape for part in expected]
    unmasked = expected[0].copy()
    for row, positions, tokens, weights in zip(unmasked, *expected[2:], strict=True):
        row[positions[weights == 1]] = tokens[weights == 1]
    is_lost = (unmasked[:, None] == rows[sorted(lost)][None]).all(axis=2).any(axis=1)
    assert (is_lost.sum() > 0) == bool(lost)
    for part, whole in zip(parts, expected, strict=True):
        np.testing.assert_array_equal(part[~is_lost], whole[~is_lost])
        assert not part[is_lost].any()


def test_packed_rows_keep_the_other_sequences(tmp_path):
    write_records(tmp_path, 300, shortest=4)
    batches = {}
    for on_corrupt in ("error", "skip"):
        records = PackedRecords(Records.open(tmp_path, on_corrupt))
        masker = TokenMasker.for_records(records.records, seed=5)
        stream = masked_lm_dataset(records, masker, 4, seed=1, num_steps=len(records) // 4)
        batches[on_corrupt] = list(stream)
        if on_corrupt == "error":
            alone = [row[row >= 0] for row in records.rows if (row >= 0).sum() == 1]
            assert any(row[0] >= 150 for row in alone)  # such a row becomes empty
            content = bytearray((tmp_path / SHARD).read_bytes())
            content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
            (tmp_path / SHARD).write_bytes(content)
    assert 50 < len(records.damaged) < 100
    assert (
        records.identity == PackedRecords(write_records(tmp_path / "b", 300, shortest=4)).identity
    )

    def sequences(batch):
        """By row: tokens, positions in the sequence and predictions of each sequence."""
        inputs = {name: tensor.numpy() for name, tensor in batch[0].items()}
        for row, numbers in enumerate(inputs["sequence_ids"]):
            found = set()
            for number in set(numbers[numbers > 0].tolist()):
                where = numbers == number
                predictions = {
                    (int(inputs["position_ids"][row, place]), int(token))
                    for place, token, weight in zip(
                        inputs["mask_positions"][row], batch[1][row], batch[2][row], strict=True
                    )
                    if weight and where[place]
                }
                values = (inputs["token_ids"], inputs["position_ids"])
                found.add((*(tuple(v[row, where]) for v in values), tuple(sorted(predictions))))
            yield found

    num_lost = num_empty = 0
    for whole, skipped in zip(batches["error"], batches["skip"], strict=True):
        assert [p.shape for p in flatten(whole)] == [p.shape for p in flatten(skipped)]
        for row, (before, after) in enumerate(
            zip(sequences(whole), sequences(skipped), strict=True)
        ):
            assert after <= before
            num_lost += len(before) - len(after)
            num_empty += not after
            if after == before:
                for part, other in zip(flatten(whole), flatten(skipped), strict=True):
                    np.testing.assert_array_equal(part[row], other[row])
    assert num_empty and num_lost >= 0.9 * len(records.damaged)  # the last rows fill no batch


def test_an_error_in_a_stream_names_the_way_on(folder):
    flip_two(folder)
    records = Records.open(folder)
    stream = masked_lm_dataset(records, TokenMasker.for_records(records), 4, num_steps=3)
    message = (
        rf"{SHARD}: record \d+ at byte \d+ is damaged \(its checksum differs\); remove .*=skip$"
    )
    with pytest.raises(UserError, match=message), reveal_user_errors():
        list(stream)


# Batches of empty rows alone


def empty_batch(tmp_path, packing):
    records = write_records(tmp_path / "records", 40, shortest=4)
    for path in (tmp_path / "records").glob("*.tfrecord"):
        path.write_bytes(bytes(path.stat().st_size))
    records = Records.open(tmp_path / "records", on_corrupt="skip")
    masker = TokenMasker.for_records(records)
    records = PackedRecords(records) if packing else records
    [batch] = masked_lm_dataset(records, masker, 4, num_steps=1)
    assert not any(part.any() for part in flatten(batch))
    return batch


def trainers():
    teacher = tiny.model(num_layers=2, vocabulary_size=len(VOCABULARY), max_positions=LENGTH)
    teacher.tokenizer = None
    for positions in ("all", "masked"):
        student = build_student(teacher, 1)
        yield Distiller(
            teacher, student, mse_weight=0.5, micro_batches=2, distillation_positions=positions
        )
    yield MaskedLMPretrainer(tiny.model(vocabulary_size=len(VOCABULARY), max_positions=LENGTH))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("packing", "jit_compile", "precision"),
    [(False, False, "float32"), (True, False, "float32"), (False, True, "mixed_bfloat16")],
)
def test_a_batch_of_empty_rows_does_nothing(tmp_path, packing, jit_compile, precision):
    keras.config.set_dtype_policy(precision)
    batch = empty_batch(tmp_path, packing)
    dataset = tf.data.Dataset.from_tensors(batch)
    # The first one has all terms; to compile more of them takes minutes.
    for trainer in [next(trainers())] if jit_compile else trainers():
        trainer.compile(AdamW(1e-2, clip_norm=1.0), jit_compile=jit_compile)
        before = tiny.weights(trainer)
        history = trainer.fit(dataset, verbose=0).history
        assert all(np.isfinite(value) for [value] in history.values())
        assert history["loss"] == history["gradient_norm"] == [0.0]
        np.testing.assert_array_equal(tiny.weights(trainer), before)
        figures = trainer.evaluate(dataset, verbose=0, return_dict=True)
        assert set(figures.values()) == {0.0}
