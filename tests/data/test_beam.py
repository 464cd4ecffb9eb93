"""Preparation by Beam gives what the local runner gives; its errors are one line."""

import gzip
import importlib.util
import json
import lzma
import os
import resource
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest
from test_prepare import VOCABULARY, contents, write_corpus

from support.prepared import assert_same
from tf_distilbert.cli.grammar import parse
from tf_distilbert.cli.main import main
from tf_distilbert.data import beam as beam_module
from tf_distilbert.data import prepare as prepare_module
from tf_distilbert.data.beam import group_sources, prepare_with_beam
from tf_distilbert.data.packing import BlockEncoder
from tf_distilbert.data.prepare import prepare
from tf_distilbert.data.records import Records
from tf_distilbert.errors import UserError
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="needs the extra `beam`"
)
SIZES = {"sequence_length": 64, "shard_tokens": 40_000}


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer(VOCABULARY)


@pytest.fixture
def small_blocks(monkeypatch):
    for module in (prepare_module, beam_module):
        monkeypatch.setattr(module, "BLOCK_BYTES", 20_000)


@needs_beam
def test_real_text(tmp_path, shared):
    source = tmp_path / "wiki.txt"
    with open(shared / "data/wiki_en/wiki_en_12mb.txt", "rb") as file:
        source.write_bytes(file.read(2_000_000))
    vocabulary = shared / "data/vocab/bert-base-uncased-vocab.txt"
    arguments = (str(source), WordPieceTokenizer.from_file(vocabulary))
    local = prepare(*arguments, tmp_path / "local", shard_tokens=100_000)
    ours = prepare_with_beam(*arguments, tmp_path / "beam", shard_tokens=100_000)
    assert len(ours) > 500 and len(ours.manifest["shards"]) == 2
    assert_same(ours, local)


@pytest.fixture
def many_sources(tmp_path):
    """Files of every kind, small, empty and large, with lines that are not UTF-8."""
    text = [write_corpus(tmp_path / f"{i}", 400 * i, seed=i).read_bytes() for i in range(1, 4)]
    (tmp_path / "a.txt").write_bytes(text[0] + b"bad \xff\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(text[1] + b"\n\nbad \xfe\n\na b c"))
    (tmp_path / "c.txt").write_bytes(b"")
    lines = [json.dumps({"text": text}) for text in text[2].decode().split("\n\n")]
    lines[7:7] = [json.dumps({"text": "\ud800 alone"})]
    (tmp_path / "d.jsonl.xz").write_bytes(lzma.compress("\n".join(lines).encode()))
    (tmp_path / "e.txt").write_bytes(b"\xff\xff\n\n\na b c\n")
    long = "\n".join(" ".join("abcdefgh") * 20 + "." for _ in range(300))  # of several blocks
    (tmp_path / "f.txt").write_text(f"a b c d\n\n{long}\n\nx y z. " + "q " * 20)
    return [str(tmp_path / name) for name in ("a.txt", "[b-e].*", "f.txt", "a.txt")]


@needs_beam
@pytest.mark.parametrize("cross_documents", [False, True])
def test_many_sources(tmp_path, tokenizer, small_blocks, many_sources, cross_documents):
    options = {**SIZES, "cross_documents": cross_documents}
    local = prepare(many_sources, tokenizer, tmp_path / "local", **options)
    ours = prepare_with_beam(many_sources, tokenizer, tmp_path / "beam", **options)
    assert local.manifest["num_invalid_lines"] == 5
    assert local.manifest["num_dropped"]["short"] and len(ours.manifest["shards"]) > 2
    assert_same(ours, local)


@needs_beam
def test_the_same_bytes_whatever_the_workers(tmp_path, tokenizer, small_blocks, many_sources):
    """Also where every bundle runs twice, as it may when a worker dies."""
    threads = ["--direct_num_workers=3", "--direct_running_mode=multi_threading"]
    for name, beam_options in (
        ("one", []),
        ("three", threads),
        ("twice", ["--direct_runner_bundle_repeat=1"]),
    ):
        prepare_with_beam(
            many_sources, tokenizer, tmp_path / name, beam_options=beam_options, **SIZES
        )
    assert (
        contents(tmp_path / "one") == contents(tmp_path / "three") == contents(tmp_path / "twice")
    )


@needs_beam
def test_a_stopped_run_starts_again(tmp_path, tokenizer, small_blocks, capsys):
    source = str(write_corpus(tmp_path / "a.txt"))
    output = tmp_path / "out"
    prepare_with_beam(source, tokenizer, output, **SIZES)
    before = contents(output)
    assert len(list(output.glob("records-*.json"))) > 2
    (output / "manifest.json").unlink()
    (output / "records-00001.json").unlink()
    (output / "beam.partial" / "errors").mkdir(parents=True)
    (output / "beam.partial" / "errors" / "old.txt").write_text("old")
    with pytest.raises(UserError, match=r"other settings \(runner: the other one made it\)"):
        prepare(source, tokenizer, output, **SIZES)
    prepare_with_beam(source, tokenizer, output, **SIZES)
    assert contents(output) == before
    capsys.readouterr()
    again = prepare_with_beam(source, tokenizer, output, **SIZES)
    assert capsys.readouterr().err.startswith(
        f"{output}: already prepared, {len(again):,} sequences\n"
    )


@needs_beam
def test_a_folder_of_the_local_runner_is_refused(tmp_path, tokenizer):
    source = str(write_corpus(tmp_path / "a.txt", 100))
    prepare(source, tokenizer, tmp_path / "out")
    with pytest.raises(UserError, match=r"other settings \(runner: the other one made it\)"):
        prepare_with_beam(source, tokenizer, tmp_path / "out")


def test_neighbours_are_read_together_until_they_fill_a_shard():
    sources = [["a", 5, 0], ["b", 5, 0], ["c", 30, 0], ["d", None, None], ["e", 0, 0], ["f", 1, 0]]
    assert group_sources(sources, 10) == [["a", "b"], ["c"], ["d"], ["e", "f"]]
    assert group_sources(sources, None) == [["a", "b", "c", "d", "e", "f"]]


# The command line


@pytest.fixture
def command(tmp_path):
    """A command line but for the text: function of the text and what follows."""
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")

    def make(text, *more):
        output = ("--output", str(tmp_path / "out"), "--sequence-length", "64")
        return [
            "prepare",
            "--text",
            str(text),
            "--vocab",
            str(tmp_path / "vocab.txt"),
            *output,
            *more,
        ]

    return make


@pytest.fixture
def text(tmp_path):
    return write_corpus(tmp_path / "a.txt", 200)


@pytest.fixture
def refused(capsys):
    """Check that a command ends with one line on stderr."""

    def check(command, start, end=""):
        capsys.readouterr()
        assert main(command) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1, message
        assert message.startswith(f"tf-distilbert: {start}") and message.endswith(f"{end}\n")

    return check


@needs_beam
def test_the_command_line(tmp_path, tokenizer, command, text, capsys):
    beam = ("--runner", "beam", "--", "--direct_num_workers=2")
    threads = "--direct_running_mode=multi_threading"
    assert main(command(text, "--cross-documents", *beam, threads)) == 0
    printed = capsys.readouterr().err
    local = prepare(
        str(text), tokenizer, tmp_path / "local", sequence_length=64, cross_documents=True
    )
    assert_same(Records.open(tmp_path / "out"), local)
    assert printed.startswith(f"{tmp_path / 'out'}: {len(local):,} sequences, ")
    assert printed.count("\n") == 1


def test_options_that_go_with_one_runner_only(tmp_path, command, text, refused):
    start = "--direct_num_workers=2: what follows `--` goes with --runner beam"
    refused(command(text, "--", "--direct_num_workers=2"), start)
    refused(command(text, "--runner", "beam", "--workers", "2"), "--workers goes with --runner")
    assert not (tmp_path / "out").exists()


def test_beam_is_missing(tmp_path, command, text, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    for name in ("beam_pipeline", "beam_steps"):
        monkeypatch.delitem(sys.modules, f"tf_distilbert.data.{name}", raising=False)
    message = "apache_beam: is not installed; run `pip install 'tf_distilbert[beam]'`"
    refused(command(text, "--runner", "beam"), message)
    assert not (tmp_path / "out").exists()


@needs_beam
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--direct_num_worker=2", "--direct_num_worker=2 is none of its options; check what"),
        ("nonsense", "nonsense is none of its options; check what is after `--`"),
        ("--direct_num_workers=two", "argument --direct_num_workers: invalid int value: 'two'"),
        ("--direct_running_mode=fast", "argument --direct_running_mode: invalid choice: 'fast'"),
        ("--runner=NoRunner", "Unexpected pipeline runner: NoRunner. Valid values are"),
    ],
)
def test_a_bad_beam_option(tmp_path, command, text, refused, option, message):
    refused(command(text, "--runner", "beam", "--", option), f"beam: {message}")
    assert not (tmp_path / "out").exists()


@needs_beam
def test_the_documentations_commands_are_understood():
    from tf_distilbert.data.beam_pipeline import parse_options

    text = (Path(__file__).parents[2] / "docs" / "prepare.md").read_text(encoding="utf-8")
    commands = [line for line in text.splitlines() if line.startswith("tf-distilbert prepare")]
    parsed = [parse(shlex.split(command)[1:]) for command in commands]
    runners = {parse_options(p.passed_on).get_all_options()["runner"] for p in parsed}
    assert runners == {"FnApiRunner", "FlinkRunner", "SparkRunner", "DataflowRunner"}


@needs_beam
def test_an_output_that_is_no_folder(command, text, refused):
    arguments = command(text, "--runner", "beam")
    arguments[arguments.index("--output") + 1] = "gs://bucket/records"
    refused(arguments, "gs://bucket/records: is no folder; give one that all workers see")
    arguments[arguments.index("--output") + 1] = str(text)
    refused(arguments, f"{text}: cannot be written (File exists)")


@needs_beam
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "no such file; check the path"),
        ("a.jsonl", b'{"text": "a b"}\nno JSON\n', "line 2 is not JSON"),
        ("a.txt.gz", gzip.compress(b"a b c. " * 9999)[:-20], "truncated or damaged .gz file"),
        ("empty.txt", b"", "no text at all; check the sources"),
        ("bad.txt", b"\xff\n", "is not UTF-8 in 1 of 1 lines; convert it"),
        ("short.txt", b"a b c", "no sequence is left (1 short, 0 mostly [UNK] dropped)"),
    ],
)
def test_a_bad_source_is_named_in_one_line(tmp_path, command, refused, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    refused(command(tmp_path / name, "--runner", "beam"), f"{tmp_path / name}: {message}")
    assert not (tmp_path / "out").exists()


@needs_beam
def test_invalid_utf8_can_be_refused(tmp_path, command, refused):
    (tmp_path / "bad.txt").write_bytes(b"a b c\n\xff\n")
    arguments = command(tmp_path / "bad.txt", "--runner", "beam", "--invalid-utf8", "refuse")
    refused(arguments, f"{tmp_path / 'bad.txt'}: line 2 is not UTF-8")


@needs_beam
def test_a_full_disk(tmp_path, command, text, refused):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))  # stands in for a full disk
    try:
        shard = tmp_path / "out" / "beam.partial"
        refused(command(text, "--runner", "beam"), shard, "run the command again")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "out").exists()
    assert main(command(text, "--runner", "beam")) == 0


@needs_beam
def test_stopped_by_hand(tmp_path, command, text, monkeypatch, capfd):
    def stop(*_):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)  # while the main thread takes notice
        raise UserError("what the steps say then is not shown")

    monkeypatch.setattr(BlockEncoder, "__call__", stop)
    # A shell lets what it starts in the background ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(command(text, "--runner", "beam")) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capfd.readouterr().err == "tf-distilbert: stopped\n"
    assert not (tmp_path / "out").exists()


@needs_beam
def test_a_worker_that_fails_otherwise(tmp_path, tokenizer, text, monkeypatch):
    def fail(*_):
        raise MemoryError("nothing left")

    monkeypatch.setattr(BlockEncoder, "__call__", fail)
    with pytest.raises(UserError, match=r"^beam: the pipeline failed \(.*nothing left\); its"):
        prepare_with_beam(str(text), tokenizer, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


@needs_beam
def test_shards_that_another_machine_wrote_elsewhere(tmp_path, tokenizer, text, monkeypatch):
    from tf_distilbert.data.beam_steps import WriteList

    def lose(self, element):
        yield from ()

    monkeypatch.setattr(WriteList, "work", lose)
    with pytest.raises(UserError, match=r"shards\.json: is not there, though a worker has"):
        prepare_with_beam(str(text), tokenizer, tmp_path / "out")


@needs_beam
def test_a_worker_that_does_not_see_the_output(tmp_path, tokenizer, text, monkeypatch):
    from tf_distilbert.data.beam_steps import Job, Step

    elsewhere = Job([], {}, 1, tmp_path / "elsewhere")
    monkeypatch.setattr(Step, "_job", property(lambda _: elsewhere, lambda *_: None), raising=False)
    message = rf"^beam: the pipeline failed \({elsewhere.errors}: a worker does not see it; give"
    with pytest.raises(UserError, match=message):
        prepare_with_beam(str(text), tokenizer, tmp_path / "out")
