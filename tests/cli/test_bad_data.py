"""The command line on bad text, vocabularies and records: one line that names the fault."""

import json

import numpy as np
import pytest
import yaml

from support import tiny
from support.commands import cut, left, run

# Text


@pytest.fixture
def prepare_arguments(teacher, tmp_path):
    vocabulary = teacher / "vocab.txt"
    output = tmp_path / "records"
    return ("--vocab", vocabulary, "--output", output, "--sequence-length", 16)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none.txt", r"none\.txt: no such file; check the path$"),
        ("*.none", r"\*\.none: matches no file; check the pattern$"),
        (".", r"\.: is a folder; name its files, for example \./\*\.txt$"),
        ("sample:test", r"sample:test: no such sample; there are sample:train, sample:validation$"),
    ],
)
@pytest.mark.parametrize("verb", ["prepare", "vocab", "evaluate", "distill"])
def test_missing_text(
    refused, prepare_arguments, config, teacher, tmp_path, monkeypatch, verb, source, message
):
    monkeypatch.chdir(tmp_path)
    before = left(tmp_path)
    arguments = {
        "prepare": ("--text", source, *prepare_arguments),
        "vocab": ("--text", source, "--size", 50, "--output", "vocab.txt"),
        "evaluate": ("--text", source, "--model", teacher, "--sequence-length", 16),
        "distill": (config, f"data.text={source!r}"),
    }
    refused(verb, *arguments[verb], message=message)
    assert left(tmp_path) == before


@pytest.mark.parametrize("content", ["", "\n \n\n"], ids=["empty", "blank lines"])
def test_empty_text(refused, prepare_arguments, teacher, tmp_path, content):
    source, output = tmp_path / "empty.txt", tmp_path / "records"
    source.write_text(content)
    message = r"empty\.txt: no text at all; check the sources$"
    refused("prepare", "--text", source, *prepare_arguments, message=message)
    assert not (output / "manifest.json").exists()
    refused("vocab", "--text", source, "--size", 9, "--output", tmp_path / "v.txt", message=message)
    assert not (tmp_path / "v.txt").exists()
    figures = tmp_path / "figures.json"
    arguments = ("--model", teacher, "--sequence-length", 16, "--json", figures)
    refused("evaluate", "--text", source, *arguments, message=message)
    assert not figures.exists()
    # Mended, the same command does its work.
    tiny.write_text(source)
    assert run("prepare", "--text", source, *prepare_arguments) == 0


def test_text_of_which_nothing_is_left(refused, prepare_arguments, tmp_path):
    (tmp_path / "a.txt").write_text("xyzzy " * 40)
    message = r"a\.txt: no sequence is left \(.* 3 mostly \[UNK\] dropped\); give more text, or a v"
    refused("prepare", "--text", tmp_path / "a.txt", *prepare_arguments, message=message)
    assert not (tmp_path / "records" / "manifest.json").exists()


def test_invalid_utf8_is_counted_or_refused(refused, prepare_arguments, text, tmp_path, capsys):
    source = tmp_path / "mixed.txt"
    source.write_bytes(text.read_bytes() + b"\ncaf\xe9 .\n\xff\n")
    message = r"mixed\.txt: line \d+ is not UTF-8 \(byte 4 of it\); convert the file, or skip"
    options = ("--text", source, *prepare_arguments)
    refused("prepare", *options, "--invalid-utf8", "refuse", message=message)
    assert not (tmp_path / "records").exists()
    assert run("prepare", *options) == 0
    assert "; 2 invalid lines;" in capsys.readouterr().err
    manifest = json.loads((tmp_path / "records" / "manifest.json").read_text())
    assert manifest["num_invalid_lines"] == 2


# Vocabularies and records


def test_vocabularies_that_are_none(refused, text, broken, tmp_path):
    vocabulary = tmp_path / "vocab.txt"
    options = ("prepare", "--text", text, "--output", tmp_path / "records", "--vocab")
    vocabulary.write_text("[PAD]\n[UNK]\n[CLS]\nthe\n")
    message = r"vocab\.txt: lacks \[SEP\], \[MASK\]; a BERT vocabulary needs them all$"
    refused(*options, vocabulary, message=message)
    vocabulary.write_bytes(b"[PAD]\n\xff\n")
    refused(*options, vocabulary, message=r"vocab\.txt: not UTF-8 text; a vocabulary has one token")
    message = r"none\.txt: no such vocabulary file; make one with `tf-distilbert vocab`$"
    refused(*options, tmp_path / "none.txt", message=message)
    assert not (tmp_path / "records").exists()
    (broken / "vocab.txt").write_text("a\nb\n")
    refused("fill-mask", "--model", broken, "[MASK]", message=r"broken/vocab\.txt: lacks \[PAD\],")


def test_a_folder_for_a_vocabulary(refused, text, tmp_path):
    options = ("prepare", "--text", text, "--output", tmp_path / "records", "--vocab", tmp_path)
    refused(*options, message=rf"{tmp_path}: .*")
    assert not (tmp_path / "records").exists()


def test_a_vocabulary_that_is_too_small_or_in_the_way(refused, text, tmp_path):
    path = tmp_path / "vocab.txt"
    options = ("vocab", "--text", text, "--output", path, "--size")
    refused(*options, 9, message=r"size: 9 is too small: .* need \d+; give a larger size$")
    refused(*options, -1, message=r"size: -1 is too small")
    assert not path.exists()
    path.write_text("mine")
    refused(*options, 90, message=r"vocab\.txt: exists already; choose another path or remove it$")
    assert path.read_text() == "mine"


def test_records_of_another_vocabulary_or_length(refused, config, text, teacher, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text((teacher / "vocab.txt").read_text().replace("paris", "london"))
    length = ("--sequence-length", 16)
    for name, vocabulary in (("other", other), ("cased", teacher / "vocab.txt")):
        case = ("--cased",) if name == "cased" else ()
        output = tmp_path / name
        options = ("--text", text, "--vocab", vocabulary, "--output", output, *length, *case)
        assert run("prepare", *options) == 0
        refused(
            *("distill", config, "data.text=[]", f"data.records={output}"),
            message=rf"{output}: was made with another tokenizer than the model's; prepare the",
        )
    same = ("--vocab", teacher / "vocab.txt", "--output", tmp_path / "long")
    assert run("prepare", "--text", text, *same, "--sequence-length", 32) == 0
    refused(
        *("distill", config, "data.text=[]", f"data.records={tmp_path / 'long'}"),
        message=r"long: has sequences of 32 tokens, data\.sequence_length is 16; make them equal$",
    )
    assert not (tmp_path / "run").exists()


@pytest.fixture
def records(prepare_arguments, text, tmp_path):
    assert run("prepare", "--text", text, *prepare_arguments) == 0
    return tmp_path / "records"


def test_records_that_are_missing_unfinished_or_truncated(refused, config, records, tmp_path):
    options = ("distill", config, "data.text=[]", "data.records=")
    message = r"none: no such folder; make it with `tf-distilbert prepare`$"
    refused(*options[:-1], f"data.records={tmp_path / 'none'}", message=message)
    cut(records / "records-00000.tfrecord", 9)
    message = r"records-00000\.tfrecord: truncated: it has .* prepare again, or .*on_corrupt=skip$"
    refused(*options[:-1], f"data.records={records}", message=message)
    (records / "manifest.json").unlink()
    message = r"records: unfinished \(no manifest\.json\); run prepare again$"
    refused(*options[:-1], f"data.records={records}", message=message)
    assert not (tmp_path / "run").exists()


def test_a_damaged_record_stops_the_training(refused, config, records, tmp_path):
    shard = records / "records-00000.tfrecord"
    content = bytearray(shard.read_bytes())
    for offset in np.load(records / "records-00000.index.npy")["offset"]:
        content[int(offset) + 4] ^= 1
    shard.write_bytes(content)
    refused(
        *("distill", config, "data.text=[]", f"data.records={records}"),
        message=r"records-00000\.tfrecord: record \d+ at byte \d+ is damaged .* prepare again, "
        r"or go on without such sequences with data\.on_corrupt=skip$",
        after_start=True,
    )
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.slow
def test_a_damaged_shard_is_skipped_and_the_run_goes_on(refused, config, tmp_path):
    """With text, too: its records are prepared once, and may have been damaged since."""
    options = ("distill", config, "data.validation_share=0.1")
    assert run(*options, "train.steps=1") == 0
    [shard] = (tmp_path / "run-data").glob("*/*.tfrecord")
    cut(shard, shard.stat().st_size // 2)
    run_again = (*options, "train.steps=4", "--overwrite")
    refused(*run_again, message=r"records-00000\.tfrecord: truncated: .*data\.on_corrupt=skip$")
    assert run(*run_again, "data.on_corrupt=skip") == 0
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


def test_on_corrupt_may_change_when_a_run_goes_on(config, finished, tmp_path):
    assert run("distill", config, "train.steps=2", "data.on_corrupt=skip", "--resume") == 0
    resolved = yaml.safe_load((finished / "config.yaml").read_text())
    assert resolved["data"]["on_corrupt"] == "skip"
    (finished / "damaged.jsonl").write_text("{}\n")
    assert run("distill", config, "train.steps=2", "--resume") == 0
    assert (finished / "damaged.jsonl").exists()
    assert run("distill", config, "train.steps=2", "--overwrite") == 0
    assert not (finished / "damaged.jsonl").exists()
