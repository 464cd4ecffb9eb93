"""One text a row: every line once, however short, cut where it is too long."""

import lzma

import numpy as np
import pytest

from support import tiny
from support.commands import run
from tf_distilbert.data import prepare as prepare_module
from tf_distilbert.data.prepare import prepare
from tf_distilbert.data.records import Records
from tf_distilbert.data.text import read_blocks
from tf_distilbert.data.text_rows import unique_texts
from tf_distilbert.errors import UserError

LINES = [
    "paris is the capital of france .",
    "rome",
    "",
    "paris is the capital of france .",
    " rome ",
    "[UNK] [UNK] [UNK] zzz",
    "the sun " * 20,
    "\u00ad",  # nothing is left of it
    "new",
]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def rows(records):
    found = records.gather(np.arange(len(records)))
    return [[int(token) for token in row if token != records.pad_id] for row in found]


def test_a_row_is_a_line(text, tmp_path, capsys):
    tokenizer = tiny.tokenizer()
    records = prepare([str(text)], tokenizer, tmp_path / "out", sequence_length=16, rows="texts")
    long = tokenizer.encode(LINES[6])
    expected = [tokenizer.encode(LINES[0]), tokenizer.encode("rome"), [*long[:15], long[-1]]]
    assert rows(records) == [*expected, tokenizer.encode("new")]
    assert records.manifest["num_dropped"] == {"empty": 1, "unknown": 1, "duplicate": 2}
    assert (records.manifest["num_cut"], records.rows) == (1, "texts")
    said = capsys.readouterr().err
    assert "1 empty, 1 mostly [UNK], 2 that came before dropped" in said or (
        "dropped 1 empty, 1 mostly [UNK], 2 that came before" in said
    )
    assert "1 cut" in said
    assert Records.open(tmp_path / "out").rows == "texts"


def test_what_came_in_an_earlier_block_is_left_out(tmp_path):
    path = tmp_path / "many.txt"
    lines = [f"word{i % 700}" for i in range(2000)]
    path.write_text("\n".join(lines) + "\n")
    blocks = list(unique_texts(read_blocks([str(path)], block_bytes=500)))
    assert len(blocks) > 5
    found = [line.decode() for b in blocks for document in b.documents for line in document]
    assert found == lines[:700]
    assert sum(block.num_duplicates for block in blocks) == 1300


def test_a_stopped_run_leaves_out_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_module, "BLOCK_BYTES", 300)
    path = tmp_path / "many.txt"
    generator = np.random.default_rng(0)
    words = np.array(tiny.WORDS[:29])
    lines = [" ".join(generator.choice(words, 3)) for _ in range(600)]
    path.write_text("\n".join(lines + lines[::-1]) + "\n")

    def make(folder):
        return prepare(
            str(path), tiny.tokenizer(), folder, sequence_length=16, rows="texts", shard_tokens=500
        )

    expected = make(tmp_path / "whole")
    number, append = iter(range(1000)), prepare_module.ShardWriter.append

    def stop(writer, block):
        if next(number) == 20:
            raise KeyboardInterrupt
        append(writer, block)

    monkeypatch.setattr(prepare_module.ShardWriter, "append", stop)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "stopped")
    monkeypatch.setattr(prepare_module.ShardWriter, "append", append)
    found = make(tmp_path / "stopped")
    assert len(list((tmp_path / "stopped").glob("*.tfrecord"))) > 2
    assert rows(found) == rows(expected) and len(found) == len(set(lines))


def test_the_command_makes_them(text, tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(tiny.VOCABULARY) + "\n")
    arguments = ["--text", text, "--vocab", tmp_path / "vocab.txt", "--output", tmp_path / "out"]
    assert run("prepare", *arguments, "--rows", "texts", "--sequence-length", "16") == 0
    assert Records.open(tmp_path / "out").rows == "texts"
    # The same folder cannot be one of blocks.
    assert run("prepare", *arguments, "--sequence-length", "16") == 2


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (
            "the sun " * 20,
            {},
            r"every line is longer than 16 tokens, and would be cut; give one te",
        ),
        ("[UNK] zzz", {}, r"no sequence is left \(0 empty, 1 mostly \[UNK\], 0 that came before d"),
        (
            "paris",
            {"cross_documents": True},
            r"^cross_documents goes with rows: blocks; texts stay",
        ),
        ("paris", {"rows": "lines"}, r"^rows: 'lines' is neither 'blocks' nor 'texts'$"),
    ],
    ids=["all cut", "all unknown", "crossing", "another kind"],
)
def test_what_cannot_be(tmp_path, content, options, message):
    (tmp_path / "text.txt").write_text(content + "\n")
    options = {"rows": "texts", "sequence_length": 16} | options
    with pytest.raises(UserError, match=message):
        prepare(str(tmp_path / "text.txt"), tiny.tokenizer(), tmp_path / "out", **options)


def test_packed_text_is_read(tmp_path):
    with lzma.open(tmp_path / "text.txt.xz", "wt") as file:
        file.write("paris\nrome\nparis\n")
    path = str(tmp_path / "text.txt.xz")
    found = prepare(path, tiny.tokenizer(), tmp_path / "out", sequence_length=16, rows="texts")
    assert len(found) == 2
