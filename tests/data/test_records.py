import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tf_distilbert.data.records import Records, token_dtype
from tf_distilbert.data.shards import EncodedBlock, ShardWriter, read_whole_shards, write_manifest
from tf_distilbert.data.text_warnings import text_warnings
from tf_distilbert.errors import UserError

VOCABULARY = ["[PAD]", "\u2028", "\x85", "##a"]


def random_block(random, num_sequences, vocabulary_size, sequence_length=40):
    lengths = random.integers(12, sequence_length + 1, num_sequences)
    token_ids = random.integers(0, vocabulary_size, lengths.sum()).astype(np.int32)
    return EncodedBlock(token_ids, lengths, {"short": 2, "unknown": 1}, 40, 3, 100, 50)


def write_records(folder, vocabulary_size=1000, num_sequences=(5, 0, 7, 3), shards=2):
    """Blocks of these numbers of sequences; returns them as a list of arrays."""
    random = np.random.default_rng(0)
    blocks = [random_block(random, n, vocabulary_size) for n in num_sequences]
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "vocab.txt").write_bytes("\n".join([*VOCABULARY, ""]).encode())
    for number, part in enumerate(np.array_split(np.arange(len(blocks)), shards)):
        writer = ShardWriter(folder, number, vocabulary_size, 40)
        for i in part:
            writer.append(blocks[i])
        writer.close()
    settings = {
        "vocabulary_size": vocabulary_size,
        "tokenizer_sha256": "ab",
        "special_ids": [9, 1, 2, 3, 4],
        "word_start": None,
        "sequence_length": 40,
    }
    write_manifest(folder, read_whole_shards(folder), settings)
    return [
        sequence
        for block in blocks
        for sequence in np.split(block.token_ids, np.cumsum(block.lengths)[:-1])
        if len(sequence)
    ]


@pytest.mark.parametrize("vocabulary_size", [1000, 100_000])
def test_gather_and_tensorflow_read_what_was_written(tmp_path, vocabulary_size):
    sequences = write_records(tmp_path, vocabulary_size)
    records = Records.open(tmp_path)
    rows = records.gather(np.arange(len(records)))
    files = sorted(map(str, tmp_path.glob("*.tfrecord")))
    feature = {"token_ids": tf.io.FixedLenFeature([], tf.string)}
    dtype = tf.uint16 if vocabulary_size == 1000 else tf.int32
    streamed = [
        tf.io.decode_raw(tf.io.parse_single_example(record, feature)["token_ids"], dtype).numpy()
        for record in tf.data.TFRecordDataset(files)
    ]
    assert len(records) == len(streamed) == len(sequences) == 15
    for row, stream, sequence in zip(rows, streamed, sequences, strict=True):
        np.testing.assert_array_equal(stream, sequence)
        np.testing.assert_array_equal(row[: len(sequence)], sequence)
        assert (row[len(sequence) :] == 9).all()
    assert rows.dtype == np.int32


def test_gather_in_any_order_with_padding_rows(tmp_path):
    sequences = write_records(tmp_path)
    records = Records.open(tmp_path)
    indices = np.array([14, -1, 0, 5, 5, 4])
    rows = records.gather(indices)
    lengths = records.lengths(indices)
    assert lengths.tolist() == [0 if i < 0 else len(sequences[i]) for i in indices]
    for i, row, length in zip(indices, rows, lengths, strict=True):
        assert row[:length].tolist() == (sequences[i].tolist() if i >= 0 else [])
        assert row[length:].tolist() == [9] * (40 - length)
    assert records.gather(np.array([], np.int64)).shape == (0, 40)
    for index in (-2, 15):
        with pytest.raises(IndexError, match=r"-1 \.\. 14"):
            records.gather(np.array([index]))


def test_totals(tmp_path):
    sequences = write_records(tmp_path)
    records = Records.open(tmp_path)
    tokens = np.concatenate(sequences)
    assert (records.num_sequences, records.num_tokens) == (15, len(tokens))
    np.testing.assert_array_equal(records.token_counts, np.bincount(tokens, minlength=1000))
    assert records.manifest["num_dropped"] == {"short": 8, "unknown": 4}
    assert (records.manifest["num_lines"], records.manifest["num_invalid_lines"]) == (160, 12)
    words = tokens[~np.isin(tokens, [9, 2, 3, 4])]
    assert records.unknown_share == np.mean(words == 1)
    # 4 of 15 + 12 sequences, 12 of 160 lines; of what is left hardly a token is [UNK].
    dropped, invalid = text_warnings(records)
    assert dropped.startswith("15% of the sequences are mostly [UNK] and were")
    assert invalid.startswith("7.5% of the lines are not UTF-8")
    short = sum(len(sequence) <= 32 for sequence in sequences)
    assert records.manifest["length_histogram"] == {"bin_width": 32, "counts": [short, 15 - short]}
    assert (records.sequence_length, records.vocabulary_size) == (40, 1000)
    assert (records.tokenizer_sha256, records.word_start, records.pad_id) == ("ab", None, 9)


def test_vocabulary_keeps_odd_tokens(tmp_path):
    write_records(tmp_path)
    assert Records.open(tmp_path).vocabulary == VOCABULARY


def test_uint16_where_the_vocabulary_fits():
    assert token_dtype(65536) == np.uint16
    assert token_dtype(65537) == np.int32


def test_damage_is_found_when_read(tmp_path):
    write_records(tmp_path)
    path = tmp_path / "records-00001.tfrecord"
    offset = int(np.load(tmp_path / "records-00001.index.npy")["offset"][2])
    content = bytearray(path.read_bytes())
    content[offset + 5] ^= 1
    path.write_bytes(content)
    records = Records.open(tmp_path)
    records.gather(np.array([0, 1, 2, 3, 4, 5, 6, 8, 9]))
    message = rf"records-00001\.tfrecord: record 2 at byte {offset} is damaged"
    with pytest.raises(UserError, match=message):
        records.gather(np.array([7]))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def rewrite_index(path):
    index = np.load(path)
    index["offset"][-1] += 1 << 20
    np.save(path, index)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("manifest.json", "remove", r"unfinished \(no manifest.json\); run prepare again"),
        ("manifest.json", truncate, "manifest.json: broken"),
        ("records-00001.tfrecord", "remove", "records-00001.tfrecord: missing"),
        ("records-00001.tfrecord", truncate, r"records-00001.tfrecord: truncated: .* the manifest"),
        ("records-00000.index.npy", "remove", "records-00000.index.npy: missing"),
        ("records-00000.index.npy", truncate, "records-00000.index.npy: broken"),
        ("records-00001.index.npy", rewrite_index, "records-00001.index.npy: broken"),
        ("token_counts.npy", truncate, "token_counts.npy: broken"),
    ],
)
def test_broken_folders_are_refused(tmp_path, name, change, message):
    write_records(tmp_path)
    path = tmp_path / name
    path.unlink() if change == "remove" else change(path)
    with pytest.raises(UserError, match=message) as caught:
        Records.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_other_versions_and_missing_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="none: no such folder"):
        Records.open(tmp_path / "none")
    write_records(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 7}))
    with pytest.raises(UserError, match="has format 7, this program reads 3"):
        Records.open(tmp_path)


def test_a_shard_without_sequences(tmp_path):
    sequences = write_records(tmp_path, num_sequences=(4, 0))
    records = Records.open(tmp_path)
    assert len(records) == 4
    assert records.gather(np.array([3]))[0, : len(sequences[3])].tolist() == sequences[3].tolist()


def test_nothing_has_its_final_name_before_the_shard_is_closed(tmp_path):
    writer = ShardWriter(tmp_path, 0, 1000, 40)
    writer.append(random_block(np.random.default_rng(0), 5, 1000))
    assert [path.name for path in tmp_path.iterdir()] == ["records-00000.tfrecord.partial"]
    writer.close()
    assert sorted(path.name.removeprefix("records-00000") for path in tmp_path.iterdir()) == [
        ".counts.npy",
        ".index.npy",
        ".json",
        ".tfrecord",
    ]


def test_reading_needs_no_tensorflow(tmp_path):
    sequences = write_records(tmp_path)
    program = (
        "import sys; sys.modules['tensorflow'] = None; import numpy as np\n"
        "from tf_distilbert.data.records import Records\n"
        f"rows = Records.open({str(tmp_path)!r}).gather(np.array([6]))\n"
        "import pickle; sys.stdout.buffer.write(pickle.dumps(rows))"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True)
    row = pickle.loads(result.stdout)[0]
    assert row[: len(sequences[6])].tolist() == sequences[6].tolist()


def test_the_two_parts_of_a_split_are_the_whole(tmp_path):
    sequences = write_records(tmp_path, num_sequences=(300, 200), shards=2)
    whole = Records.open(tmp_path)
    kept, held_out = whole.split(0.1)
    assert (len(kept), len(held_out)) == (450, 50)
    rows = np.concatenate([kept.gather(np.arange(450)), held_out.gather(np.arange(50))])
    assert sorted(map(bytes, rows)) == sorted(map(bytes, whole.gather(np.arange(500))))
    assert kept.num_tokens + held_out.num_tokens == whole.num_tokens == sum(map(len, sequences))
    assert held_out.num_tokens == held_out.lengths(np.arange(50)).sum()
    with pytest.raises(IndexError):
        held_out.gather(np.array([50]))
    assert len(held_out.split(0.5)[1].split(0.01)[1]) == 1


def test_held_out_blocks_are_spread_over_the_corpus(tmp_path):
    write_records(tmp_path, num_sequences=(300, 200), shards=2)
    _, held_out = Records.open(tmp_path).split(0.1)
    starts = [0, 160, 320, 480]
    expected = [*range(0, 16), *range(160, 176), *range(320, 336), 480, 481]
    assert held_out._rows.tolist() == expected and starts == expected[::16]


def test_identity_is_that_of_the_content(tmp_path):
    write_records(tmp_path / "a")
    write_records(tmp_path / "b")
    write_records(tmp_path / "c", num_sequences=(5, 0, 7, 4))
    a, b, c = (Records.open(tmp_path / name).identity for name in "abc")
    assert a == b != c


def test_a_single_sequence_cannot_be_split(tmp_path):
    write_records(tmp_path, num_sequences=(1,), shards=1)
    with pytest.raises(UserError, match="single sequence"):
        Records.open(tmp_path).split(0.5)
