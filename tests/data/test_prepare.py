import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tf_distilbert.data import prepare as prepare_module
from tf_distilbert.data.prepare import prepare
from tf_distilbert.data.records import Records
from tf_distilbert.data.text_warnings import text_warnings
from tf_distilbert.errors import UserError
from tf_distilbert.tokenization.tokenizer import BERT_TOKENS
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

VOCABULARY = [*BERT_TOKENS, *"abcdefghijklmnopqrstuvwxyz.?!"]
IDS = {token: i for i, token in enumerate(VOCABULARY)}


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer(VOCABULARY)


def write_corpus(path, num_documents=3000, seed=0):
    """Documents of sentences of one-letter words, some of them unknown: about 0.4 MB."""
    random = np.random.default_rng(seed)
    letters = np.array([*"abcdefghijklmnopqrstuvwxyz", "??", "x.", "y!", "zz"])
    lines = [" ".join(random.choice(letters, n)) for n in random.integers(5, 120, num_documents)]
    path.write_text("".join(line + "\n" * (1 + i % 2) for i, line in enumerate(lines)))
    return path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def make(source, output, tokenizer, **options):
    options = {"sequence_length": 64, "workers": 2, "shard_tokens": 40_000, **options}
    return prepare([str(source)], tokenizer, output, **options)


def small_blocks(monkeypatch):
    monkeypatch.setattr(prepare_module, "BLOCK_BYTES", 20_000)


def test_a_corpus_worked_out_by_hand(tmp_path, tokenizer, capsys):
    sentence = "a b c d. "  # five tokens
    text = (
        sentence * 3  # 15 tokens with a capacity of 14: two sentences, and one that is too short
        + "\n\n"
        + "b " * 20  # a sentence of 20: cut after 14, and a rest of 6 that is too short
        + "\n\nA b\nc D e F g h\n\n"  # 8 tokens: too short
        + "zz " * 9  # 9 unknown of 11: short before it is unknown
        + "\n\n"
        + "zz " * 6  # 6 unknown in 12 tokens
        + "a b c d\n\n"
        + "zz " * 5  # 5 unknown in 12 tokens
        + "a b c d e"
    )
    (tmp_path / "a.txt").write_bytes(text.encode() + b"\nbad \xff\n")
    records = prepare([str(tmp_path / "a.txt")], tokenizer, tmp_path / "out", sequence_length=16)
    expected = ["a b c d . a b c d .", "b " * 14, "? ? ? ? ? a b c d e"]
    ids = {**IDS, "?": 1}
    rows = [[2, *(ids[word] for word in words.split()), 3] for words in expected]
    result = records.gather(np.arange(3))
    assert result.tolist() == [row + [0] * (16 - len(row)) for row in rows]
    assert records.lengths(np.arange(3)).tolist() == [12, 16, 12]
    assert (records.num_sequences, records.num_tokens) == (3, 40)
    assert records.manifest["num_dropped"] == {"short": 4, "unknown": 1}
    assert records.manifest["num_invalid_lines"] == 1
    assert records.manifest["num_lines"] == 8
    assert records.token_counts.tolist() == np.bincount(np.concatenate(rows), minlength=34).tolist()
    assert records.vocabulary == VOCABULARY
    assert records.tokenizer_sha256 == tokenizer.sha256
    # 5 of the 40 - 6 tokens that are not [CLS] or [SEP].
    assert records.unknown_share == 5 / 34
    summary, *warnings = capsys.readouterr().err.splitlines()
    assert (
        "3 sequences, 40 tokens, 83.3% filled, 14.7% [UNK]; dropped 4 short, 1 mostly [UNK]; "
        "1 invalid lines; "
    ) in summary
    said = [f"warning: {records.path}: {line}" for line in text_warnings(records)]
    assert warnings == said and len(warnings) == 3
    assert ": 14.7% of the tokens are [UNK], which the vocabulary cannot spell; use" in warnings[0]
    assert ": 12% of the sequences are mostly [UNK] and were left out; use" in warnings[1]
    assert ": 12.5% of the lines are not UTF-8 and were left out; convert" in warnings[2]


def test_across_documents(tmp_path, tokenizer):
    (tmp_path / "a.txt").write_text("a b c d e f.\n\n" * 4)
    records = make(tmp_path / "a.txt", tmp_path / "out", tokenizer, cross_documents=True)
    assert records.lengths(np.arange(1)).tolist() == [30]


def test_the_same_bytes_whatever_the_workers(tmp_path, tokenizer, monkeypatch):
    small_blocks(monkeypatch)
    source = write_corpus(tmp_path / "a.txt")
    for workers in (1, 5):
        make(source, tmp_path / f"{workers}", tokenizer, workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "5")
    records = Records.open(tmp_path / "1")
    assert len(records.manifest["shards"]) > 3
    rows = records.gather(np.arange(len(records)))
    counts = np.bincount(rows[rows != 0], minlength=len(VOCABULARY))
    np.testing.assert_array_equal(records.token_counts, counts)


def test_a_second_run_has_nothing_to_do(tmp_path, tokenizer, monkeypatch, capsys):
    source = write_corpus(tmp_path / "a.txt", 100)
    first = make(source, tmp_path / "out", tokenizer)
    monkeypatch.setattr(prepare_module, "read_blocks", None)
    capsys.readouterr()
    second = make(source, tmp_path / "out", tokenizer)
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path / 'out'}: already prepared, {len(first):,} sequences",
        *(f"warning: {first.path}: {line}" for line in text_warnings(first)),
    ]
    assert len(second) == len(first)


def test_other_settings_are_refused(tmp_path, tokenizer):
    source = write_corpus(tmp_path / "a.txt", 100)
    output = tmp_path / "out"
    make(source, output, tokenizer)
    with pytest.raises(UserError, match=r"\(sequence_length: 64 there, 32 now\); choose another"):
        make(source, output, tokenizer, sequence_length=32)
    with pytest.raises(UserError, match="cross_documents: False there, True now"):
        make(source, output, tokenizer, cross_documents=True)
    with pytest.raises(UserError, match="vocabulary_size: 34 there, 35 now"):
        make(source, output, WordPieceTokenizer([*VOCABULARY, "new"]))
    with pytest.raises(UserError, match=r"'lower_case': True.* there, .*'lower_case': False.* now"):
        make(source, output, WordPieceTokenizer(VOCABULARY, lower_case=False))
    source.write_text("longer" + source.read_text())
    (output / "manifest.json").unlink()  # unfinished work is held to its settings, too
    with pytest.raises(UserError, match="sources: other files, sizes or dates"):
        make(source, output, tokenizer)
    (output / "settings.json").write_text("{")
    with pytest.raises(UserError, match=r"settings\.json: broken"):
        make(source, output, tokenizer)
    (output / "settings.json").unlink()
    with pytest.raises(UserError, match=r"has shards but no settings\.json"):
        make(source, output, tokenizer)


PATHS = [str(Path(__file__).parents[number]) for number in (0, 1)]
PROGRAM = """
import sys, time
sys.path[:0] = {paths}
import test_prepare as t
t.prepare_module.BLOCK_BYTES = 20_000
append = t.prepare_module.ShardWriter.append
def slow_append(*arguments):
    time.sleep(0.05)
    append(*arguments)
t.prepare_module.ShardWriter.append = slow_append
t.make(sys.argv[1], sys.argv[2], t.WordPieceTokenizer(t.VOCABULARY))
"""


def test_killed_and_run_again_gives_the_same_bytes(tmp_path, tokenizer, monkeypatch, capsys):
    small_blocks(monkeypatch)
    source = write_corpus(tmp_path / "a.txt")
    make(source, tmp_path / "whole", tokenizer)
    output = tmp_path / "killed"
    arguments = [sys.executable, "-c", PROGRAM.format(paths=PATHS), str(source), str(output)]
    process = subprocess.Popen(arguments, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)
    while not (output / "records-00001.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(UserError, match="unfinished"):
        Records.open(output)
    whole = {path: path.stat().st_mtime_ns for path in output.glob("records-0000[01].*[!l]")}
    capsys.readouterr()
    make(source, output, tokenizer)
    assert "going on after 2 whole shards" in capsys.readouterr().err
    assert contents(output) == contents(tmp_path / "whole")
    assert {path: path.stat().st_mtime_ns for path in whole} == whole


def test_killed_after_the_last_shard(tmp_path, tokenizer, monkeypatch):
    small_blocks(monkeypatch)
    source = write_corpus(tmp_path / "a.txt", 1000)
    make(source, tmp_path / "out", tokenizer)
    before = contents(tmp_path / "out")
    (tmp_path / "out" / "manifest.json").unlink()
    (tmp_path / "out" / "token_counts.npy").unlink()
    make(source, tmp_path / "out", tokenizer)
    assert contents(tmp_path / "out") == before


def test_a_torn_shard_is_written_again(tmp_path, tokenizer, monkeypatch):
    small_blocks(monkeypatch)
    source = write_corpus(tmp_path / "a.txt", 1000)
    make(source, tmp_path / "out", tokenizer)
    before = contents(tmp_path / "out")
    (tmp_path / "out" / "manifest.json").unlink()
    shard = tmp_path / "out" / "records-00000.tfrecord"
    shard.write_bytes(shard.read_bytes()[:1000])
    make(source, tmp_path / "out", tokenizer)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("suffix", "old", "new"),
    [
        (".json", b'"num_blocks": 1', b'"num_blocks": 2'),
        (".json", b"}", b""),
        (".index.npy", None, None),
    ],
)
def test_a_shard_with_a_damaged_companion_is_written_again(tmp_path, tokenizer, suffix, old, new):
    source = write_corpus(tmp_path / "a.txt", 1000)
    make(source, tmp_path / "out", tokenizer)
    before = contents(tmp_path / "out")
    (tmp_path / "out" / "manifest.json").unlink()
    path = tmp_path / "out" / f"records-00000{suffix}"
    content = path.read_bytes()
    if suffix == ".json":
        assert old in content
        path.write_bytes(content.replace(old, new))
    else:
        path.write_bytes(content[:-5] + bytes([content[-5] ^ 4]) + content[-4:])
    make(source, tmp_path / "out", tokenizer)
    assert contents(tmp_path / "out") == before


def test_damaged_counts_are_refused(tmp_path, tokenizer):
    source = write_corpus(tmp_path / "a.txt", 1000)
    make(source, tmp_path / "out", tokenizer)
    (tmp_path / "out" / "manifest.json").unlink()
    path = tmp_path / "out" / "records-00000.counts.npy"
    damaged = bytearray(path.read_bytes())
    damaged[-8] ^= 4
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=r"records-00000\.counts\.npy: broken \(its checksum"):
        make(source, tmp_path / "out", tokenizer)


def test_a_full_disk_leaves_no_torn_file(tmp_path, tokenizer, monkeypatch):
    small_blocks(monkeypatch)
    source = write_corpus(tmp_path / "a.txt")
    make(source, tmp_path / "whole", tokenizer)
    output = tmp_path / "out"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))  # stands in for a full disk
    try:
        with pytest.raises(UserError, match=r"records-00000\.tfrecord: cannot be written \(.*File"):
            make(source, output, tokenizer, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not output.exists()
    make(source, output, tokenizer)
    assert contents(output) == contents(tmp_path / "whole")


def test_an_output_that_cannot_be_written(tmp_path, tokenizer):
    source = write_corpus(tmp_path / "a.txt", 10)
    with pytest.raises(UserError, match=r"cannot be written \(File exists\)"):
        make(source, source, tokenizer)
    with pytest.raises(UserError, match=r"cannot be written \(Not a directory\)"):
        make(source, source / "out", tokenizer)


def test_bad_sizes_and_useless_text(tmp_path, tokenizer):
    source = tmp_path / "a.txt"
    source.write_text("a b c\n\nd e f\n")
    with pytest.raises(UserError, match="sequence_length: 15 is too short; give 16"):
        make(source, tmp_path / "out", tokenizer, sequence_length=15)
    with pytest.raises(UserError, match="workers: 0 is too few"):
        make(source, tmp_path / "out", tokenizer, workers=0)
    with pytest.raises(UserError, match=r"no sequence is left \(2 short, 0 mostly \[UNK\] dr"):
        make(source, tmp_path / "deep" / "out", tokenizer)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_an_error_in_the_text_leaves_the_shards_before_it(tmp_path, tokenizer, monkeypatch):
    small_blocks(monkeypatch)
    source = write_corpus(tmp_path / "a.txt")
    bad = tmp_path / "b.jsonl"
    bad.write_text("no JSON")
    with pytest.raises(UserError, match=r"b\.jsonl: line 1 is not JSON"):
        prepare([str(source), str(bad)], tokenizer, tmp_path / "out", shard_tokens=40_000)
    assert (tmp_path / "out" / "records-00000.json").exists()
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_real_text(tmp_path, shared):
    source = tmp_path / "wiki.txt"
    with open(shared / "data/wiki_en/wiki_en_12mb.txt", "rb") as file:
        source.write_bytes(file.read(3_000_000))
    vocabulary = shared / "data/vocab/bert-base-uncased-vocab.txt"
    records = prepare([str(source)], WordPieceTokenizer.from_file(vocabulary), tmp_path / "out")
    rows = records.gather(np.arange(len(records)))
    assert (rows[:, 0] == 101).all()
    assert ((rows == 102).sum(axis=1) == 1).all()
    assert records.num_tokens / rows.size > 0.85
    assert records.token_counts[100] / records.num_tokens < 0.001
    ends = rows[np.arange(len(rows)), records.lengths(np.arange(len(rows))) - 2]
    at_sentence_end = np.isin(ends, [records.vocabulary.index(mark) for mark in '.?!")'])
    assert at_sentence_end.mean() > 0.9
