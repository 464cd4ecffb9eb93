"""The command line on bad input: exit code 2, one line that names the fault, nothing half-made."""

import errno
import json
import os
import re
import shutil

import numpy as np
import pytest
import tiny
import yaml
from safetensors.numpy import load_file, save_file

import tf_distilbert
from tf_distilbert import checkpoints, logs, model_folder, run_loop
from tf_distilbert.cli import main
from tf_distilbert.errors import explain_write_errors


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture
def refused(capsys):
    """Run a command that must fail; give its one line without the program's name.

    With `after_start` lines of progress may stand before it.
    """

    def check(*arguments, message, after_start=False):
        capsys.readouterr()
        assert run(*arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        assert "Traceback" not in "".join(lines)
        assert [line for line in lines if line.startswith("tf-distilbert: ")] == lines[-1:]
        assert after_start or len(lines) == 1, lines
        assert re.search(message, lines[-1]), lines[-1]
        return lines[-1].removeprefix("tf-distilbert: ")

    return check


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "teacher"
    tf_distilbert.save_model(tiny.model(num_layers=2), folder)
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return tiny.write_text(tmp_path_factory.mktemp("text") / "text.txt")


@pytest.fixture
def broken(teacher, tmp_path):
    """A copy of the teacher to break."""
    return shutil.copytree(teacher, tmp_path / "broken")


@pytest.fixture
def config(teacher, text, tmp_path):
    """A distillation of four steps into tmp_path/run."""
    values = {
        "teacher": str(teacher),
        "output": str(tmp_path / "run"),
        "data": {"text": [str(text)], "sequence_length": 16},
        "train": {
            "steps": 4,
            "global_batch_size": 4,
            "jit_compile": False,
            "checkpoint_every": 2,
            "log_every": 1,
        },
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def finished(config, tmp_path):
    assert run("distill", config, "train.steps=2") == 0
    return tmp_path / "run"


def cut(path, num_bytes):
    path.write_bytes(path.read_bytes()[:-num_bytes])


def left(folder):
    """Names of what is in a folder, but for what is marked as unfinished."""
    if not folder.exists():
        return set()
    return {path.name for path in folder.iterdir() if not path.name.endswith(".partial")}


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


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
    message = r"a\.txt: no sequence is left \(.* 3 unknown dropped\); give more text, or a vocab"
    refused("prepare", "--text", tmp_path / "a.txt", *prepare_arguments, message=message)
    assert not (tmp_path / "records" / "manifest.json").exists()


def test_invalid_utf8_is_counted_or_refused(refused, prepare_arguments, text, tmp_path, capsys):
    source = tmp_path / "mixed.txt"
    source.write_bytes(text.read_bytes() + b"\ncaf\xe9 .\n\xff\n")
    message = r"mixed\.txt: line \d+ is not UTF-8 \(byte 4 of it\); convert the file, or skip"
    options = ("--text", source, *prepare_arguments)
    refused("prepare", *options, "--invalid-utf8", "refuse", message=message)
    assert not (tmp_path / "records" / "manifest.json").exists()
    shutil.rmtree(tmp_path / "records")
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


# Models


def edit_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def without_head(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({n: t for n, t in tensors.items() if not n.startswith("cls.")}, path)


def without_a_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["bert.embeddings.LayerNorm.bias"]
    save_file(tensors, folder / "model.safetensors")


BROKEN_MODELS = {
    "no head": (without_head, r"broken: has no masked-LM head, .*; use a folder saved from a"),
    "truncated": (
        lambda folder: cut(folder / "model.safetensors", 1000),
        r"broken/model\.safetensors: truncated or damaged, or no safetensors \(.*\)",
    ),
    "truncated header": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"\x10"),
        r"broken/model\.safetensors: truncated or damaged, or no safetensors \(.*\)",
    ),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        r"broken: has no weights \(none of model\.safetensors, .*\)",
    ),
    "a tensor missing": (without_a_tensor, r"broken: lacks bert\.embeddings\.LayerNorm\.bias$"),
    "other sizes": (
        lambda folder: edit_json(folder / "config.json", intermediate_size=64),
        r"broken: .*intermediate.* has shape \[32(, 16)?\], .* calls for \[64(, 16)?\]$",
    ),
    "no config": (
        lambda folder: (folder / "config.json").unlink(),
        r"broken/config\.json: missing; this is no whole model folder$",
    ),
    "broken config": (
        lambda folder: (folder / "config.json").write_text("{"),
        r"broken/config\.json: is not JSON",
    ),
    "text for a number": (
        lambda folder: edit_json(folder / "config.json", hidden_size="large"),
        r"broken/config\.json: .*hidden_size",
    ),
    "no heads at all": (
        lambda folder: edit_json(folder / "config.json", num_attention_heads=0),
        r"broken/config\.json: .*num_(attention_)?heads",
    ),
    "another family": (
        lambda folder: edit_json(folder / "config.json", model_type="gpt2"),
        r"broken/config\.json: model_type 'gpt2' is not supported; use one of bert, .*roberta$",
    ),
    "another vocabulary": (
        lambda folder: (folder / "vocab.txt").write_text("\n".join([*tiny.VOCABULARY, "more"])),
        rf"broken: its vocabulary has {len(tiny.VOCABULARY) + 1} tokens, its configuration "
        rf"says vocab_size {len(tiny.VOCABULARY)}; one of them is another model's$",
    ),
}


@pytest.mark.parametrize(("change", "message"), BROKEN_MODELS.values(), ids=BROKEN_MODELS)
def test_broken_models(refused, config, broken, tmp_path, change, message):
    change(broken)
    refused("fill-mask", "--model", broken, "the [MASK]", message=message)
    refused("distill", config, f"teacher={broken}", message=message)
    assert left(tmp_path) == {"config.yaml", "broken"}


def test_models_that_are_missing(refused, config, teacher, text, tmp_path):
    message = r"none: no such model folder"
    refused("distill", config, "teacher=none", message=message)
    refused("fill-mask", "--model", "none", "the [MASK]", message=message)
    options = ("evaluate", "--text", text, "--sequence-length", 16, "--model")
    refused(*options, "none", message=message)
    refused(*options, teacher, "--teacher", "none", message=message)
    assert not (tmp_path / "run").exists()


def test_a_hub_that_cannot_be_reached(refused, config, monkeypatch):
    import huggingface_hub

    def fail(*_, **__):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no network\nat all")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    message = (
        r"hf://a/b: cannot be fetched from .* \(no network at all\); check the network, or "
        r"download the folder elsewhere and give its path$"
    )
    refused("distill", config, "teacher=hf://a/b", message=message)


def test_sequences_beyond_the_positions(refused, config, text, teacher, tmp_path):
    message = r"sequence_length is 64, the model has 32 positions; use 32 at most$"
    refused("distill", config, "data.sequence_length=64", message=message)
    message = r"sequence.length is 64, the model has 32 positions"
    options = ("--text", text, "--sequence-length", 64, "--json", tmp_path / "figures.json")
    refused("evaluate", "--model", teacher, *options, message=message)
    message = r"'the the .*\.\.\.': has 42 tokens, the model has 32 positions; shorten it$"
    refused("fill-mask", "--model", teacher, "the " * 39 + "[MASK]", message=message)
    assert left(tmp_path) == {"config.yaml"}


STUDENTS = {
    "short map": (
        ["student.num_layers=2", "student.layer_map=[0]"],
        r"student\.layer_map has 1 entries for 2 student layers; give one teacher layer for each$",
    ),
    "out of range": (
        ["student.layer_map=[0, 2]"],
        r"student\.layer_map names teacher layer 2; the teacher has layers 0 to 1$",
    ),
    "negative": (["student.layer_map=[-1]"], r"layer_map names teacher layer -1; the teacher has"),
    "empty map": (["student.layer_map=[]"], r"student\.layer_map"),
    "too deep": (["student.num_layers=3"], r"num_layers is 3; .* gives a student of 1 to 2$"),
    "too shallow": (["student.num_layers=0"], r"num_layers is 0; .* gives a student of 1 to 2$"),
    "start": (
        ["student.initialize_from=zero"],
        r"student\.initialize_from is 'zero'; it must be one of teacher, random$",
    ),
    "temperature": (["loss.temperature=0"], r"temperature is 0\.0; it must be above 0$"),
    "weight": (["loss.mlm_weight=-1"], r"loss\.mlm_weight is -1\.0; it must be 0 or more$"),
    "no weight": (
        [f"loss.{name}_weight=0" for name in ("distillation", "mlm", "cosine")],
        r"all weights under loss are 0; there is nothing to learn$",
    ),
    "positions": (["loss.distillation_positions=no"], r"distillation_positions"),
    "chunk of nothing": (["loss.chunk_size=0"], r"loss\.chunk_size is 0; it must be above 0$"),
    "chunk below nothing": (["loss.chunk_size=-8"], r"loss\.chunk_size is -8; it must be above 0$"),
}


@pytest.mark.parametrize(("overrides", "message"), STUDENTS.values(), ids=STUDENTS)
def test_students_that_do_not_fit(refused, config, tmp_path, overrides, message):
    refused("distill", config, *overrides, message=message)
    assert left(tmp_path) == {"config.yaml"}


def test_bfloat16_where_the_device_lacks_it(refused, config, tmp_path, monkeypatch):
    monkeypatch.setattr("tf_distilbert.runtime.has_bfloat16", lambda: False)
    message = r"mixed_bfloat16, but this device has no bfloat16 instructions; use auto or float32$"
    refused("distill", config, "train.precision=mixed_bfloat16", message=message)
    assert left(tmp_path) == {"config.yaml"}


def test_hidden_sizes_that_differ_need_the_cosine_term_off():
    teacher, student = tiny.model(), tiny.model(family="distilbert", num_segments=0, hidden_size=8)
    message = "hidden sizes 16 and 8; .*: set cosine_weight to 0 or use equal sizes$"
    with pytest.raises(tf_distilbert.UserError, match=message):
        tf_distilbert.Distiller(teacher, student)
    tf_distilbert.Distiller(teacher, student, cosine_weight=0.0)
    other = tiny.model(vocabulary_size=50)
    with pytest.raises(tf_distilbert.UserError, match="have different vocabularies or tok"):
        tf_distilbert.Distiller(teacher, other)


# Settings and arguments

SETTINGS = {
    "unknown key": (
        "train.lerning_rate=1",
        r"unknown key train\.lerning_rate; .*\.learning_rate\?",
    ),
    "wrong type": ("train.steps=many", r"train\.steps is 'many'; it takes a whole number or null$"),
    "two durations": ("train.epochs=1", r"give one of .*; given: train\.steps and train\.epochs "),
    "no assignment": ("train.steps", r"'train\.steps': an override is written key\.subkey=value$"),
    "no YAML": ("train.steps=[", r"'train\.steps=\[': the value is not YAML$"),
}


@pytest.mark.parametrize(("override", "message"), SETTINGS.values(), ids=SETTINGS)
def test_bad_settings(refused, config, tmp_path, override, message):
    refused("distill", config, override, message=message)
    assert left(tmp_path) == {"config.yaml"}


def test_configurations_that_are_none(refused, tmp_path):
    for verb in ("distill", "pretrain"):
        refused(verb, tmp_path / "none.yaml", message=r"none\.yaml: no such configuration file$")
        refused(verb, tmp_path, message=rf"{tmp_path}: ")


def test_overrides_may_stand_after_a_flag(refused, config):
    message = r"train\.steps is -1; it must be above 0$"
    refused("distill", config, "--resume", "train.steps=-1", message=message)


@pytest.mark.parametrize(
    "arguments",
    [(), ("distil",), ("distill",), ("fill-mask", "--model", "m"), ("vocab", "--size", "ten")],
)
def test_what_the_parser_refuses(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    assert "tf-distilbert" in capsys.readouterr().err.splitlines()[-1]


def test_resume_and_overwrite_exclude_each_other(config, capsys):
    with pytest.raises(SystemExit) as caught:
        run("distill", config, "--resume", "--overwrite")
    assert caught.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_evaluate_arguments(refused, text, teacher, tmp_path):
    options = ("evaluate", "--model", teacher, "--text", text)
    message = r"sequence_length: 8 is too short; give 16 or more$"
    refused(*options, "--sequence-length", 8, message=message)
    message = rf"{tmp_path}: cannot be written; give a file in a folder that exists$"
    refused(*options, "--json", tmp_path, message=message)
    other = tmp_path / "other"
    tf_distilbert.save_model(tiny.model(num_layers=1), other)
    words = (other / "vocab.txt").read_text()
    (other / "vocab.txt").write_text(words.replace("paris", "london"))
    refused(
        *(*options, "--sequence-length", 16, "--teacher", other),
        message=r"teacher .* and student .* have different vocabularies",
        after_start=True,
    )


@pytest.mark.parametrize("batch_size", [0, -3])
def test_evaluate_batch_size(refused, text, teacher, batch_size):
    options = ("--model", teacher, "--text", text, "--sequence-length", 16)
    refused("evaluate", *options, "--batch-size", batch_size, message=r"batch.size")


def test_fill_mask_arguments(refused, teacher, capsys):
    options = ("fill-mask", "--model", teacher)
    refused(*options, "paris is", message=r"'paris is': has no \[MASK\] to fill")
    refused(*options, "the [MASK]", "", message=r"'': has no \[MASK\] to fill")
    refused(*options, "--top-k", 0, "the [MASK]", message=r"--top-k is 0; give 1 or more$")
    assert capsys.readouterr().out == ""


# Outputs


def test_outputs_under_a_file(refused, config, text, teacher, tmp_path):
    """Root may write anywhere, but not below a file."""
    below = tmp_path / "file" / "out"
    below.parent.write_text("mine")
    vocabulary = ("--vocab", teacher / "vocab.txt", "--sequence-length", 16)
    message = r"file/out.* cannot be written \(Not a directory\); make room or choose another place"
    refused("prepare", "--text", text, *vocabulary, "--output", below, message=message)
    refused("distill", config, f"output={below}", message=message)
    message = r"file: no such folder; make it first$"
    refused("vocab", "--text", text, "--size", 90, "--output", below, message=message)
    assert below.parent.read_text() == "mine"
    assert left(tmp_path) == {"config.yaml", "file"}


def test_a_pretraining_under_a_file(refused, text, tmp_path):
    (tmp_path / "file").write_text("mine")
    values = {
        "output": str(tmp_path / "file" / "run"),
        "data": {"text": str(text), "vocabulary": 90, "sequence_length": 16},
        "train": {"steps": 1},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    message = r"file/run.*: cannot be written"
    refused("pretrain", tmp_path / "config.yaml", message=message)


def test_figures_that_cannot_be_written(refused, text, teacher, tmp_path):
    options = ("evaluate", "--model", teacher, "--text", text, "--sequence-length", 16, "--json")
    refused(
        *options, "/dev/full", message=r"/dev/full: cannot be written \(No space", after_start=True
    )
    refused(*options, tmp_path / "none" / "x.json", message=r"give a file in a folder that exists$")
    assert left(tmp_path) == set()


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_space_for_config(path, _):
    with explain_write_errors(path):
        no_space()


def test_a_disk_that_is_full_when_the_run_begins(refused, config, tmp_path, monkeypatch):
    monkeypatch.setattr("tf_distilbert.run_directory.write_atomically", no_space_for_config)
    message = r"run/config\.yaml: cannot be written \(No space left on device\)"
    refused("distill", config, message=message, after_start=True)
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_disk_that_is_full_at_a_checkpoint(config, tmp_path, monkeypatch, capsys):
    save = checkpoints.save_file

    def save_once(tensors, path):
        if "step-00000004" in str(path):
            path.write_bytes(b"half")
            no_space()
        save(tensors, path)

    monkeypatch.setattr(checkpoints, "save_file", save_once)
    monkeypatch.setattr(model_folder, "save_file", no_space)
    # The run goes on with the old one kept, and fails where nothing is left to go on with.
    assert run("distill", config, "train.steps=6") == 2
    said = " ".join(capsys.readouterr().err.split())
    no_room = r"cannot be written \(No space left on device\)"
    assert re.search(rf"step 4: no checkpoint: \S*/step-00000004: {no_room}", said)
    assert re.search(rf"tf-distilbert: \S*/run/model: {no_room}", said)
    assert left(tmp_path / "run" / "checkpoints") == {"step-00000002", "step-00000006"}
    assert not (tmp_path / "run" / "model").exists()
    # With room again the run goes on from there.
    monkeypatch.undo()
    assert run("distill", config, "train.steps=6", "--resume") == 0
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


def test_a_disk_that_is_full_at_the_log_for_a_while(config, tmp_path, monkeypatch, capsys):
    append, calls = logs._append, []

    def append_later(path, text):
        calls.append(text)
        if len(calls) < 3:
            no_space()
        append(path, text)

    monkeypatch.setattr(logs, "_append", append_later)
    assert run("distill", config, "train.log_every=1") == 0
    assert capsys.readouterr().err.count("log.jsonl: cannot be written (No space left") == 1
    assert [report["step"] for report in logs.read_log(tmp_path / "run", "train")] == [1, 2, 3, 4]


def test_a_disk_that_is_full_at_the_log_to_the_end(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(logs, "open", no_space, raising=False)
    assert run("distill", config, "train.log_every=1") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(r"log\.jsonl: 4 reports are lost, it cannot be written \(No space left", said)
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


def test_a_disk_that_is_full_at_the_model(refused, config, tmp_path, monkeypatch):
    monkeypatch.setattr(model_folder, "save_file", no_space)
    message = r"run/model: cannot be written \(No space left on device\)"
    refused("distill", config, "train.steps=2", message=message, after_start=True)
    assert {path.name for path in (tmp_path / "run").glob("model*")} == set()
    assert (tmp_path / "run" / "checkpoints" / "step-00000002").exists()


# Runs


def test_a_run_that_exists(refused, config, finished):
    before = contents(finished)
    again = ("distill", config, "train.steps=2")
    message = r"run: holds a run already; add --resume to go on with it, --overwrite to delete it"
    refused(*again, message=message)
    message = r"run: its run has loss\.temperature 2\.0, now it is 3\.0; resume with the same"
    refused(*again, "loss.temperature=3", "--resume", message=message)
    # What --overwrite would delete is still there when the new run cannot begin.
    refused(*again, "teacher=none", "--overwrite", message=r"none: no such model folder")
    assert contents(finished) == before
    assert run(*again, "--resume") == 0  # complete: nothing to train
    assert run(*again, "loss.temperature=3", "--overwrite") == 0
    assert yaml.safe_load((finished / "config.yaml").read_text())["loss"]["temperature"] == 3.0


def test_a_folder_or_file_that_is_no_run(refused, config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    message = r"run: exists and is not a run; choose another output$"
    for flags in ([], ["--resume"], ["--overwrite"]):
        refused("distill", config, *flags, message=message)
        refused(
            *("distill", config, f"output={tmp_path / 'run' / 'mine.txt'}", *flags),
            message=r"mine\.txt: exists and is not a run; choose another output$",
        )
    assert (tmp_path / "run" / "mine.txt").read_text() == "mine"
    assert left(tmp_path / "run") == {"mine.txt"}


@pytest.mark.parametrize("content", ["", "{", "- a", b"\xff"], ids=["empty", "{", "list", "bytes"])
def test_a_run_whose_settings_are_broken(refused, config, tmp_path, content):
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "config.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused("distill", config, "--resume", message=r"run/config\.yaml: ")


def test_a_run_whose_checkpoint_is_damaged(refused, config, finished):
    shutil.rmtree(finished / "model")
    cut(finished / "checkpoints" / "step-00000002" / "tensors.safetensors", 100)
    message = r"run/checkpoints: no checkpoint is whole; bring one back, or start again with"
    again = ("distill", config, "train.steps=2", "--resume")
    refused(*again, message=message, after_start=True)
    assert not (finished / "model").exists()


# A loss that is not finite


def test_a_teacher_that_is_not_finite(refused, config, broken, tmp_path):
    tensors = load_file(broken / "model.safetensors")
    tensors["cls.predictions.bias"][7] = np.nan
    save_file(tensors, broken / "model.safetensors")
    message = (
        r"not finite at step 1; 4 updates in a row were skipped; there is no good checkpoint; "
    )
    options = (f"teacher={broken}", "student.initialize_from=random")
    refused("distill", config, *options, message=message, after_start=True)
    assert not (tmp_path / "run" / "model").exists()
    assert left(tmp_path / "run" / "checkpoints") == set()


@pytest.fixture
def spoilt_after_two(monkeypatch):
    """The student gets a NaN with the update of step 2."""

    class Spoiling(checkpoints.Checkpoints):
        def save(self, progress):
            if progress.step == 2:
                bias = self.trainer.student.head.output_bias
                bias.assign(np.full(bias.shape, np.nan, np.float32))
            super().save(progress)

    monkeypatch.setattr(run_loop, "Checkpoints", Spoiling)


def test_a_loss_that_becomes_infinite_leaves_the_last_checkpoint(
    refused, config, tmp_path, monkeypatch, spoilt_after_two
):
    saved = tmp_path / "run" / "checkpoints" / "step-00000001"
    message = rf"not finite at step 3; .* the last good checkpoint is {saved}; lower "
    options = ("train.steps=6", "train.checkpoint_every=1")
    line = refused("distill", config, *options, message=message, after_start=True)
    assert "train.learning_rate" in line
    tensors = load_file(saved / "tensors.safetensors")
    assert all(np.isfinite(tensor).all() for tensor in tensors.values())
    assert left(tmp_path / "run" / "checkpoints") == {"step-00000001"}
    assert not (tmp_path / "run" / "model").exists()
    # The remedy that the line names is one that works.
    monkeypatch.undo()
    assert run("distill", config, *options, "train.learning_rate=1e-5", "--resume") == 0


def test_a_learning_rate_that_is_far_too_large(refused, config, tmp_path):
    """The first update has rate 0, the second one spoils the model: its checkpoint is no good."""
    options = ("train.learning_rate=1e30", "train.checkpoint_every=1")
    message = r"not finite at step 3; .* the last good checkpoint is .*/step-\d+; lower"
    line = refused("distill", config, *options, message=message, after_start=True)
    named = re.search(r"checkpoint is (\S+);", line)[1]
    tensors = load_file(f"{named}/tensors.safetensors")
    weights = [t for name, t in tensors.items() if not name.startswith("optimizer/")]
    weights = [weight for weight in weights if weight.dtype == np.float32]  # no dropout seeds
    assert len(weights) > 20
    assert max(np.abs(weight).max() for weight in weights) < 1e6
    assert not (tmp_path / "run" / "model").exists()
