"""Damaged sequences: refused or skipped, each of them named once."""

import errno
import os
import threading

import numpy as np
import pytest

from support.damage import SHARD, all_rows, flip_two, offsets, remove, truncate, twelve_sequences
from support.records import write_records
from tf_distilbert.data import shard_files
from tf_distilbert.data.records import Records
from tf_distilbert.data.row_packing import PackedRecords
from tf_distilbert.errors import UserError


@pytest.fixture
def folder(tmp_path):
    return twelve_sequences(tmp_path)


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
    monkeypatch.setattr(shard_files, "os", type("os", (), {**vars(os), "pread": pread}))
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

    monkeypatch.setattr(shard_files, "os", type("os", (), {**vars(os), "open": refuse}))
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
