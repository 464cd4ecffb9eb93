import gzip
import json
import lzma
import sys
import types

import pytest

from tf_distilbert.data import text
from tf_distilbert.data.text import fingerprint, read_blocks
from tf_distilbert.errors import UserError


def documents(*sources, **options):
    blocks = read_blocks([str(source) for source in sources], **options)
    return [document for block in blocks for document in block.documents]


def write(path, content):
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    with opener(path, "wb") as file:
        file.write(content)
    return path


@pytest.mark.parametrize("name", ["a.txt", "a", "a.txt.gz", "a.xz"])
def test_blank_lines_end_documents(tmp_path, name):
    path = write(tmp_path / name, b"\xef\xbb\xbf\n one\r\ntwo\r\n \t\r\n\n\nthree \xc3\xa9")
    assert documents(path) == [[b"one", b"two"], ["three é".encode()]]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_json_lines(tmp_path, name):
    records = [{"text": "one\n\ntwo"}, {"text": ""}, {"text": "é", "id": 1}]
    lines = "\ufeff" + "\n\n".join(map(json.dumps, records))
    assert documents(write(tmp_path / name, lines.encode())) == [[b"one", b"two"], ["é".encode()]]


def test_a_file_end_ends_a_document_and_globs_are_sorted(tmp_path):
    for name in "cab":
        write(tmp_path / f"{name}.txt", name.encode())
    assert documents(tmp_path / "*.txt") == [[b"a"], [b"b"], [b"c"]]
    assert documents(tmp_path / "c.txt", tmp_path / "[ab].txt") == [[b"c"], [b"a"], [b"b"]]


def test_blocks_end_at_documents_or_at_paragraphs_of_long_ones(tmp_path):
    path = write(tmp_path / "a.txt", b"aaaa\n\nbbbb\n\n" + b"cccc\n" * 5 + b"\nd\n")
    blocks = list(read_blocks([str(path)], block_bytes=8))
    assert [block.documents for block in blocks] == [
        [[b"aaaa"], [b"bbbb"]],
        [[b"cccc", b"cccc"]],
        [[b"cccc", b"cccc"]],
        [[b"cccc"], [b"d"]],
    ]
    assert [block.num_bytes for block in blocks] == [10, 10, 10, 7]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_bytes_of_the_blocks_sum_up(tmp_path, name):
    content = b"".join(b"line %d\n" % i for i in range(20000))
    paths = [str(write(tmp_path / name, content)), str(write(tmp_path / "b.txt", b"end\n\n\n"))]
    blocks = list(read_blocks(paths, block_bytes=1000))
    assert sum(block.num_bytes for block in blocks) == len(content) + 4
    assert sum(block.num_source_bytes for block in blocks) == sum(
        size for _, size, _ in fingerprint(paths)
    )


def test_long_lines_are_cut_at_spaces_or_between_characters(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "MAX_LINE_BYTES", 10)
    content = "aaaa bbbb cccc dddd\n" + "é" * 12 + "\nx" + "日" * 7
    path = write(tmp_path / "a.txt", content.encode())
    (lines,) = documents(path, invalid_utf8="refuse")
    assert all(len(line) <= 10 for line in lines)
    assert lines[:2] == [b"aaaa bbbb", b"cccc dddd"]
    assert b"".join(lines[2:]).decode() == "é" * 12 + "x" + "日" * 7


def test_a_large_file_of_one_line_is_read_in_pieces(tmp_path):
    path = write(tmp_path / "a.txt", b"word " * 1_000_000)
    blocks = list(read_blocks([str(path)]))
    assert max(block.num_bytes for block in blocks) <= 2 * text.MAX_LINE_BYTES
    lines = [line for block in blocks for document in block.documents for line in document]
    assert b" ".join(lines) == (b"word " * 1_000_000).strip()


def test_invalid_utf8_is_counted_or_refused(tmp_path):
    path = write(tmp_path / "a.txt", b"good\nbad \xff\nfine\n\n\xe9t\xe9\nlast")
    (block,) = read_blocks([str(path)])
    assert block.documents == [[b"good", b"fine"], [b"last"]]
    assert block.num_invalid_lines == 2
    with pytest.raises(UserError, match=r"a\.txt: line 2 is not UTF-8 \(byte 5"):
        documents(path, invalid_utf8="refuse")
    lone = write(tmp_path / "a.jsonl", b'{"text": "\\ud800"}\n{"text": "b"}')
    (block,) = read_blocks([str(lone)])
    assert (block.documents, block.num_invalid_lines) == ([[b"b"]], 1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b" \n\n", "a.txt: no text at all; check"),
        ("a.jsonl", b'{"text": "\\ud800"}', r"no text at all \(1 lines are not UTF-8\)"),
        ("a.jsonl", b'{"text": "a"}\nno', "a.jsonl: line 2 is not JSON"),
        ("a.jsonl", b'{"txt": "a"}', "a.jsonl: line 1 lacks the text"),
        ("a.jsonl", b'{"text": 3}', "line 1 lacks the text"),
        ("a.jsonl", b"[1]", "line 1 lacks the text"),
    ],
)
def test_bad_content(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message):
        documents(write(tmp_path / name, content))


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
@pytest.mark.parametrize("damage", ["truncate", "overwrite", "no archive"])
def test_damaged_archives(tmp_path, suffix, damage):
    path = write(tmp_path / f"a.txt{suffix}", b"".join(b"line %d\n" % i for i in range(10000)))
    content = bytearray(path.read_bytes())
    if damage == "truncate":
        content = content[: len(content) // 2]
    elif damage == "overwrite":
        content[-30:-10] = bytes(20)
    else:
        content = b"plain text"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.txt{suffix}: truncated or damaged"):
        documents(path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.txt", "missing.txt: no such file"),
        ("*.text", "matches no file"),
        (".", "is a folder"),
        ("sample:test", "no such sample"),
    ],
)
def test_bad_sources(tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        documents(source)


def test_no_source_and_a_bad_policy(tmp_path):
    with pytest.raises(UserError, match="no source"):
        documents()
    with pytest.raises(UserError, match="neither 'skip' nor 'refuse'"):
        documents("a.txt", invalid_utf8="ignore")


def test_sample(monkeypatch):
    corpus = types.SimpleNamespace(sample_text=lambda split: f"{split} é\n\nb")
    monkeypatch.setitem(sys.modules, "tf_distilbert.sample", types.ModuleType("sample"))
    monkeypatch.setitem(sys.modules, "tf_distilbert.sample.corpus", corpus)
    assert documents("sample:train") == [["train é".encode()], [b"b"]]
    assert fingerprint(["sample:validation"])[0][1] == len("validation é\n\nb".encode())


class FakeDataset:
    def __init__(self, feature):
        self.element_spec = {feature: None}

    def as_numpy_iterator(self):
        return iter([{"text": b"one\n\ntwo"}, {"text": b"three"}])


def test_tensorflow_datasets(monkeypatch):
    fake = types.SimpleNamespace(load=lambda name, split, shuffle_files: FakeDataset("text"))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake)
    assert documents("tfds:lm1b") == [[b"one", b"two"], [b"three"]]
    assert fingerprint(["tfds:lm1b"]) == [["tfds:lm1b", None, None]]
    fake.load = lambda name, split, shuffle_files: FakeDataset("image")
    with pytest.raises(UserError, match="tfds:mnist: has no feature `text`"):
        documents("tfds:mnist")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UserError, match="pip install tensorflow-datasets"):
        documents("tfds:lm1b")


def test_tensorflow_datasets_without_network(monkeypatch):
    def fail(name, split, shuffle_files):
        raise ConnectionError("no route to host\nmore lines")

    monkeypatch.setitem(sys.modules, "tensorflow_datasets", types.SimpleNamespace(load=fail))
    with pytest.raises(UserError, match=r"cannot be loaded \(no route to host\); run `tfds build"):
        documents("tfds:lm1b")
