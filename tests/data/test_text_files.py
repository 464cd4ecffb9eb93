"""Files that are no text are refused by every reader, in one line that says what they are."""

import bz2
import gzip
import io
import lzma
import sqlite3
import tarfile
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from support import tiny
from tf_distilbert.data.beam import prepare_with_beam
from tf_distilbert.data.prepare import prepare
from tf_distilbert.data.text import read_blocks
from tf_distilbert.data.vocabulary import learn_vocabulary
from tf_distilbert.errors import UserError
from tf_distilbert.exports.check_texts import calibration_texts
from tf_distilbert.tokenization.tokenizer import BERT_TOKENS
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

LINES = [f"Document {i} tells of a café by the river." for i in range(50)]
TEXT = "\n\n".join(LINES).encode()


def tar(content):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo("a.txt")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def zipped(content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", content)
    return stream.getvalue()


def numbers(size):
    return np.random.default_rng(0).standard_normal(size).astype("float32")


def safetensors(folder):
    save_file({"weight": numbers(5000)}, folder / "made")
    return (folder / "made").read_bytes()


def database(folder):
    with sqlite3.connect(folder / "made") as connection:
        connection.execute("create table texts (text)")
    connection.close()
    return (folder / "made").read_bytes()


def array(folder):
    np.save(folder / "made.npy", numbers(100))
    return (folder / "made.npy").read_bytes()


# What libraries here can make is made by them; of others it is what their formats begin with.
CASES = {
    "a.zip": (zipped(TEXT), "is a zip archive, not text in UTF-8; unpack it first$"),
    "a.txt": (zipped(TEXT), "is a zip archive"),
    "a.docx": (zipped(TEXT), "is a .docx document, .*; export its text to .txt or .jsonl$"),
    "a.jsonl": (zipped(TEXT), "is a zip archive"),
    "b.txt": (gzip.compress(TEXT), "is packed by gzip, .*; let its name end in .gz$"),
    "c.txt": (lzma.compress(TEXT), "is packed by xz, .*; let its name end in .xz$"),
    "d.txt": (bz2.compress(TEXT), "is packed by bzip2, .*; let its name end in .bz2$"),
    "a.txt.gz": (gzip.compress(gzip.compress(TEXT)), "is packed by gzip"),
    "a.tar": (tar(TEXT), "is a tar archive, .*; unpack it first: tar -xf$"),
    "a.tar.gz": (gzip.compress(tar(TEXT)), "is a tar archive"),
    "a.tar.bz2": (bz2.compress(tar(TEXT)), "is a tar archive"),
    "a.tgz": (gzip.compress(tar(TEXT)), "is a tar archive"),
    "a.zst": (b"\x28\xb5\x2f\xfd" + b"\x00" * 50, "is packed by Zstandard, .* with gzip, xz or"),
    "a.7z": (b"7z\xbc\xaf\x27\x1c\x00\x04", "is a 7z archive"),
    "a.parquet": (b"PAR1\x15\x04", "is a Parquet file, .*; export its text"),
    "a.arrow": (b"ARROW1\x00\x00", "is an Arrow file"),
    "b.arrow": (b"\xff\xff\xff\xff\x10\x00", "is an Arrow stream"),
    "a.pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "is a PDF"),
    "a.png": (b"\x89PNG\r\n\x1a\n", "is a PNG picture"),
    "model.safetensors": (safetensors, "is a safetensors file, .*; give text, not a model"),
    "a.db": (database, "is an SQLite database"),
    "a.npy": (array, "is a NumPy array"),
    "pointer.txt": (
        b"version https://git-lfs.github.com/spec/v1\n",
        "stands for a file in Git LFS, .*; fetch it",
    ),
    "floats": (numbers(50_000).tobytes(), r"is not text: \d+% of its first 200,000 bytes are con"),
    "zeros": (bytes(1000), "is not text: 100% of its first 1,000 bytes are control characters"),
    "u16.txt": ("Caf\u00e9".encode("utf-16"), r"is UTF-16 \(byte-order mark FF FE\), .* -f utf-16"),
    "be.txt": ("\ufeffCaf\u00e9".encode("utf-16-be"), r"is UTF-16 \(byte-order mark FE FF\)"),
    "u32.txt": ("Caf\u00e9".encode("utf-32"), r"is UTF-32 \(byte-order mark FF FE 00 00\)"),
    "bare16.txt": ("Die Brücke\n".encode("utf-16-le"), "is not text: 50% of its first 22 bytes"),
    "latin1.txt": (
        "é\nno\né\n\n\né\n".encode("latin-1"),
        "is not UTF-8 in 3 of 4 lines; convert it from the encoding that it has: iconv -f latin1",
    ),
    "sjis.jsonl": ('{"text": "日本"}\n'.encode("shift-jis"), "is not UTF-8 in 1 of 1 lines"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_no_text(tmp_path, name):
    content, message = CASES[name]
    content = content(tmp_path) if callable(content) else content
    (tmp_path / name).write_bytes(content)
    for policy in ("skip", "refuse"):
        with pytest.raises(UserError, match=rf"^{tmp_path / name}: {message}") as raised:
            list(read_blocks([str(tmp_path / name)], policy))
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, bz2.compress])
def test_packed_text_is_read_from_its_beginning(tmp_path, pack):
    suffix = {gzip.compress: ".gz", lzma.compress: ".xz", bz2.compress: ".bz2"}.get(pack, "")
    text = TEXT * 1000  # two megabytes: more than is looked at
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(pack(text))
    blocks = list(read_blocks([str(path)]))
    paragraphs = [line for block in blocks for document in block.documents for line in document]
    assert b"\n\n".join(paragraphs) == text
    assert sum(block.num_source_bytes for block in blocks) == path.stat().st_size
    assert sum(block.num_lines for block in blocks) == len(paragraphs)


def test_text_with_a_stray_control_character(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"plain \x00 text\n" + b"more text\n" * 100)
    [block] = read_blocks([str(tmp_path / "a.txt")])
    assert len(block.documents[0]) == 101


def test_a_last_line_that_the_look_cuts_is_no_fault(tmp_path):
    """The first megabyte ends within a character, of the second of two lines."""
    (tmp_path / "a.txt").write_bytes(b"\xff\n\n" * 2 + b"a\n\n" * 2 + "é".encode() * 600_000)
    blocks = list(read_blocks([str(tmp_path / "a.txt")]))
    assert sum(block.num_invalid_lines for block in blocks) == 2


def test_numbers_after_a_megabyte_of_text(tmp_path):
    """What is not in the first megabyte is found at the file's end."""
    (tmp_path / "a.txt").write_bytes(b"text " * 250_000 + b"\n" + b"\xff\n" * 3)
    with pytest.raises(UserError, match=r"a\.txt: is not UTF-8 in 3 of 5 lines"):
        list(read_blocks([str(tmp_path / "a.txt")]))


READERS = {
    "prepare": lambda path, output: prepare(path, tokenizer(), output, workers=1),
    "vocab": lambda path, output: learn_vocabulary([path], 50, output),
    "calibration": lambda path, _: calibration_texts([path], 64),
    "beam": lambda path, output: prepare_with_beam(path, tokenizer(), output),
}


def tokenizer():
    return WordPieceTokenizer([*BERT_TOKENS, *"abcdefghijklmnopqrstuvwxyz"])


@pytest.mark.parametrize("name", READERS)
def test_every_reader_refuses_it_and_leaves_nothing(tmp_path, name):
    if name == "beam":
        pytest.importorskip("apache_beam")
    (tmp_path / "a.bin").write_bytes(numbers(50_000).tobytes())
    with pytest.raises(UserError, match=r"a\.bin: is not text: "):
        READERS[name](str(tmp_path / "a.bin"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_file_at_the_end_of_a_corpus_is_looked_at_first(tmp_path):
    """Shards that are finished by then would block the command without that file."""
    tiny.write_text(tmp_path / "a.txt")
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    out = tmp_path / "deep" / "out"
    sources = [str(tmp_path / "a.txt"), str(tmp_path / "b.zip")]
    options = {"sequence_length": 16, "shard_tokens": 1, "progress": False}
    with pytest.raises(UserError, match=r"b\.zip: is a zip archive, not text in UTF-8; unpack it"):
        prepare(sources, tiny.tokenizer(), out, **options)
    assert not out.parent.exists()
    assert len(prepare(sources[0], tiny.tokenizer(), out, **options))


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".json", ".json.gz"])
def test_json_lines_by_their_names(tmp_path, suffix):
    """Files of C4 are named .json.gz."""
    path = tmp_path / f"a{suffix}"
    opener = gzip.open if suffix.endswith(".gz") else open
    with opener(path, "wb") as file:
        file.write(b'{"text": "one\\ntwo", "url": "https://example.org"}\n{"text": "three"}\n')
    [block] = read_blocks([str(path)])
    assert block.documents == [[b"one", b"two"], [b"three"]]


def test_json_that_is_not_by_lines(tmp_path):
    (tmp_path / "a.json").write_text('[\n  {"text": "one"}\n]\n')
    with pytest.raises(UserError, match=r"a\.json: line 1 is not JSON .*; each line must be an ob"):
        list(read_blocks([str(tmp_path / "a.json")]))
