"""Shards, indexes and manifests with any byte changed: what is read is what was written, or
nothing."""

import numpy as np
import pytest
from test_records import write_records as write_wide_records

from support.damage import INDEX, SHARD, all_rows, flip, offsets, twelve_sequences
from support.records import VOCABULARY
from tf_distilbert.data.records import Records
from tf_distilbert.data.shard_files import index_of_shard
from tf_distilbert.data.shards import EncodedBlock, ShardWriter
from tf_distilbert.errors import UserError


@pytest.fixture
def folder(tmp_path):
    return twelve_sequences(tmp_path)


def flipped(path):
    """Flip every byte of a file, one after the other, and put it right again."""
    content = path.read_bytes()
    for position in range(len(content)):
        flip(path, position, 1 << position % 8)
        yield position
        path.write_bytes(content)


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
    writer.append(EncodedBlock(tokens, lengths, {}, 0, 0, 0, 0))
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
