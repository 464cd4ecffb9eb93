"""Damaged shards: nothing wrong is ever read, and what is skipped leaves all else as it was."""

import errno
import os
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
from test_pipeline import LENGTH, VOCABULARY, flatten, write_records
from test_records import write_records as write_wide_records

from tf_distilbert.data import shard_file
from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.data.pipeline import evaluation_dataset, masked_lm_dataset, reveal_user_errors
from tf_distilbert.data.records import Records
from tf_distilbert.data.row_packing import PackedRecords
from tf_distilbert.data.shard_index import index_of_shard
from tf_distilbert.data.shards import EncodedBlock, ShardWriter
from tf_distilbert.distiller import Distiller
from tf_distilbert.errors import UserError
from tf_distilbert.optimization import AdamW
from tf_distilbert.pretrainer import MaskedLMPretrainer
from tf_distilbert.student import build_student

SHARD, INDEX = "records-00001.tfrecord", "records-00001.index.npy"


@pytest.fixture
def folder(tmp_path):
    """Twelve sequences in two shards: 6 to 11 are in the second."""
    write_records(tmp_path / "records", 12)
    return tmp_path / "records"


def all_rows(records):
    return records.gather(np.arange(len(records)))


def offsets(folder):
    return np.load(folder / INDEX)["offset"].astype(int).tolist()


def flip(path, position, bits=1):
    content = bytearray(path.read_bytes())
    content[position] ^= bits
    path.write_bytes(content)


def flipped(path):
    """Flip every byte of a file, one after the other, and put it right again."""
    content = path.read_bytes()
    for position in range(len(content)):
        flip(path, position, 1 << position % 8)
        yield position
        path.write_bytes(content)


# What is read is what was written, or nothing


def test_every_byte_of_a_shard(folder):
    expected = all_rows(Records.open(folder))
    starts, lengths = offsets(folder), np.load(folder / INDEX)["length"]
    harmed = set()
    for position in flipped(folder / SHARD):
        records = Records.open(folder, on_corrupt="skip")
        rows = all_rows(records)
        of_position = [
            number
            for number, (start, length) in enumerate(zip(starts, lengths, strict=True))
            if start <= position < start + 2 * length
        ]
        assert [damaged.record for damaged in records.damaged] == of_position
        harmed.update(of_position)
        for row, whole, number in zip(rows, expected, range(-6, 6), strict=True):
            np.testing.assert_array_equal(row, 0 if number in of_position else whole)
    assert harmed == set(range(6))


def test_every_byte_of_an_index(folder):
    expected, refused = all_rows(Records.open(folder)), 0
    for _ in flipped(folder / INDEX):
        try:
            np.testing.assert_array_equal(all_rows(Records.open(folder)), expected)
        except UserError as error:
            assert f"{folder / INDEX}: broken" in str(error)
            refused += 1
        # The shard itself says all that the index did.
        records = Records.open(folder, on_corrupt="skip")
        np.testing.assert_array_equal(all_rows(records), expected)
        assert not len(records.damaged)
    assert refused == 6 * 16  # every byte but those of the header


def test_every_byte_of_the_manifest(folder):
    expected, refused = Records.open(folder), 0
    size = (folder / "manifest.json").stat().st_size
    for _ in flipped(folder / "manifest.json"):
        try:
            records = Records.open(folder)
        except UserError as error:
            assert str(folder / "manifest.json") in str(error)
            refused += 1
            continue
        assert records.manifest == expected.manifest
    assert refused > 0.6 * size  # the rest is space between the words


@pytest.mark.parametrize("name", ["vocab.txt", "token_counts.npy"])
@pytest.mark.parametrize("on_corrupt", ["error", "skip"])
def test_every_byte_of_what_all_sequences_need(folder, name, on_corrupt):
    expected, refused = Records.open(folder), 0
    size = (folder / name).stat().st_size
    for _ in flipped(folder / name):
        try:
            records = Records.open(folder, on_corrupt)
            assert records.vocabulary == expected.vocabulary
        except UserError as error:
            assert str(error).startswith(f"{folder / name}: ")
            refused += 1
            continue
        np.testing.assert_array_equal(records.token_counts, expected.token_counts)
    assert refused == (size if name == "vocab.txt" else 8 * len(VOCABULARY))


def swap_entries(folder):
    """The checksum of each entry is right, but they are in each other's place."""
    index = np.load(folder / INDEX)
    index[[1, 4]] = index[[4, 1]]
    np.save(folder / INDEX, index)


def clear_entry(folder):
    """An empty sequence has the checksum 0."""
    index = np.load(folder / INDEX)
    index[3] = 0
    np.save(folder / INDEX, index)


def remove_index(folder):
    (folder / INDEX).unlink()


@pytest.mark.parametrize("change", [swap_entries, clear_entry, remove_index])
def test_an_index_that_only_its_own_checksum_gives_away(folder, change):
    expected = all_rows(Records.open(folder))
    change(folder)
    message = r"00001\.index\.npy: (broken|missing).*, or make it again .* data\.on_corrupt=skip$"
    with pytest.raises(UserError, match=message):
        Records.open(folder)
    np.testing.assert_array_equal(all_rows(Records.open(folder, on_corrupt="skip")), expected)


def test_an_index_of_wide_ids_and_of_long_sequences_is_made_again(tmp_path):
    write_wide_records(tmp_path / "wide", vocabulary_size=100_000)
    writer = ShardWriter(tmp_path, 0, 60_000, 20_000)
    lengths = np.array([1, 60, 63, 64, 5000, 8191, 20_000])  # their sizes take one to three bytes
    tokens = np.random.default_rng(0).integers(0, 60_000, lengths.sum())
    writer.append(EncodedBlock(tokens, lengths, {}, 0, 0, 0))
    writer.close()
    for path, item_bytes in (
        (tmp_path / "wide" / "records-00000", 4),
        (tmp_path / "wide" / "records-00001", 4),
        (tmp_path / "records-00000", 2),
    ):
        made = index_of_shard(path.with_suffix(".tfrecord"), item_bytes)
        np.testing.assert_array_equal(made, np.load(path.with_suffix(".index.npy")))


def test_an_index_is_not_made_again_from_a_shard_that_is_damaged(folder):
    offsets_before = offsets(folder)
    remove_index(folder)
    flip(folder / SHARD, offsets_before[2])
    with pytest.raises(UserError, match=r"records-00001\.index\.npy: missing; remove .* again$"):
        Records.open(folder, on_corrupt="skip")
    (folder / SHARD).unlink()
    with pytest.raises(UserError, match=r"records-00001\.index\.npy: missing; remove .* again$"):
        Records.open(folder, on_corrupt="skip")


# What is skipped


def flip_two(folder):
    flip(folder / SHARD, offsets(folder)[1] + 3)
    flip(folder / SHARD, offsets(folder)[4])
    return {7, 10}, "its checksum differs"


def truncate(folder):
    with open(folder / SHARD, "r+b") as file:
        file.truncate(offsets(folder)[4] + 5)
    return {10, 11}, "the file ends before it does"


def lengthen(folder):
    with open(folder / SHARD, "ab") as file:
        file.write(b"more")
    return set(), None


def overwrite(folder):
    size = (folder / SHARD).stat().st_size
    (folder / SHARD).write_bytes(np.random.default_rng(0).bytes(size))
    return set(range(6, 12)), "its checksum differs"


def empty(folder):
    (folder / SHARD).write_bytes(b"")
    return set(range(6, 12)), "the file ends before it does"


def remove(folder):
    (folder / SHARD).unlink()
    return set(range(6, 12)), "it cannot be read: No such file or directory"


def replace_by_a_folder(folder):
    (folder / SHARD).unlink()
    (folder / SHARD).mkdir()
    return set(range(6, 12)), "it cannot be read: Is a directory"


DAMAGES = [flip_two, truncate, lengthen, overwrite, empty, remove, replace_by_a_folder]


@pytest.mark.parametrize("damage", DAMAGES)
def test_skipped_sequences_are_empty_rows_and_named_once(folder, damage):
    expected, where = all_rows(Records.open(folder)), offsets(folder)
    lost, reason = damage(folder)
    with pytest.raises(UserError, match=rf"{SHARD}: .*data\.on_corrupt=skip$") as caught:
        all_rows(Records.open(folder))
    assert "\n" not in str(caught.value)
    records = Records.open(folder, on_corrupt="skip")
    assert list(records.damaged) == []
    for _ in range(2):
        rows = all_rows(records)
        for sequence, (row, whole) in enumerate(zip(rows, expected, strict=True)):
            np.testing.assert_array_equal(row, 0 if sequence in lost else whole)
        assert list(records.damaged) == [
            (folder / SHARD, sequence - 6, where[sequence - 6], reason) for sequence in sorted(lost)
        ]
    assert records.identity == f"ab-12-{records.num_tokens}-{records.identity[-8:]}"
    assert records.num_tokens == records.lengths(np.arange(12)).sum()
    if lost:
        named = str(next(iter(records.damaged)))
        assert named == (
            f"{folder / SHARD}: record {min(lost) - 6} at byte {where[min(lost) - 6]} is damaged "
            f"({reason})"
        )


@pytest.mark.parametrize("on_corrupt", ["error", "skip"])
def test_a_shard_that_is_cut_while_it_is_read(folder, on_corrupt):
    records = Records.open(folder, on_corrupt)
    all_rows(records)
    truncate(folder)
    if on_corrupt == "skip":
        assert not all_rows(records)[10:].any()
        assert [damaged.record for damaged in records.damaged] == [4, 5]
    else:
        with pytest.raises(UserError, match=rf"{SHARD}: record 4 at byte \d+ .*file ends before"):
            all_rows(records)


@pytest.mark.parametrize("on_corrupt", ["error", "skip"])
def test_a_disk_that_gives_no_answer(folder, on_corrupt, monkeypatch):
    bad = offsets(folder)[2]

    def pread(descriptor, size, offset):
        if offset == bad and os.readlink(f"/proc/self/fd/{descriptor}").endswith(SHARD):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return os.pread(descriptor, size, offset)

    records = Records.open(folder, on_corrupt)
    expected = all_rows(records)
    monkeypatch.setattr(shard_file, "os", type("os", (), {**vars(os), "pread": pread}))
    if on_corrupt == "skip":
        expected[8] = 0
        np.testing.assert_array_equal(all_rows(records), expected)
        [damaged] = records.damaged
        assert damaged == (folder / SHARD, 2, bad, "it cannot be read: Input/output error")
    else:
        message = rf"{SHARD}: record 2 at byte {bad} is damaged \(it cannot be read: Input/output"
        with pytest.raises(UserError, match=message):
            all_rows(records)


def test_too_many_open_files_are_no_damage(folder, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(shard_file, "os", type("os", (), {**vars(os), "open": refuse}))
    with pytest.raises(UserError, match=r"records-00000\.tfrecord: too many files .*`ulimit -n`"):
        Records.open(folder, on_corrupt="skip")


def test_shards_are_closed(folder):
    before = len(os.listdir("/proc/self/fd"))
    records = Records.open(folder)
    view = records.split(0.5)[0]
    assert len(os.listdir("/proc/self/fd")) == before + 2
    del records
    assert view.gather(np.arange(2)).any()
    del view
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_without_any_shard_is_refused(folder):
    for path in folder.glob("*.tfrecord"):
        path.unlink()
    with pytest.raises(UserError, match=rf"{folder}: none of its shards can be read; prepare"):
        Records.open(folder, on_corrupt="skip")


def test_on_corrupt_is_one_of_two(folder):
    with pytest.raises(UserError, match=r"on_corrupt: 'ignore' is neither 'error' nor 'skip'"):
        Records.open(folder, on_corrupt="ignore")


def test_threads_note_each_sequence_once_and_views_share_the_notes(tmp_path):
    write_records(tmp_path, 400)
    (tmp_path / SHARD).write_bytes(bytes((tmp_path / SHARD).stat().st_size))
    records = Records.open(tmp_path, on_corrupt="skip")
    parts = records.split(0.3)
    start = threading.Barrier(4)

    def read(view, seed):
        order = np.random.default_rng(seed).permutation(len(view))
        start.wait()
        for indices in np.array_split(order, 40):
            view.gather(indices)

    threads = [threading.Thread(target=read, args=(parts[i % 2], i)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert records.damaged is parts[0].damaged is parts[1].damaged
    assert sorted(damaged.record for damaged in records.damaged) == list(range(200))
    assert records.damaged.since(199) == list(records.damaged)[199:]
    assert PackedRecords(parts[0]).damaged is records.damaged


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
