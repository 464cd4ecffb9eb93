"""Teachers from anywhere, through the command line: what each becomes, and how bad ones end."""

import json
import re
import shutil

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from support import original_bert as google
from support import tiny
from tf_distilbert.cli.main import main
from tf_distilbert.model_files.folder import load_model, save_model


def write_bert(folder):
    save_model(tiny.model(num_layers=2), folder)


def write_sharded(folder):
    write_bert(folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    files = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(files.values()):
        save_file({n: tensors[n] for n in names if files[n] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))


def write_roberta(folder):
    save_model(tiny.roberta(num_layers=2), folder)


def write_google(folder):
    google.write_folder(folder, vocab_size=len(tiny.VOCABULARY), num_hidden_layers=2)
    (folder / "vocab.txt").write_text("\n".join(tiny.VOCABULARY))


GOOD = {
    "bert": (write_bert, "distilbert"),
    "sharded": (write_sharded, "distilbert"),
    "google": (write_google, "distilbert"),
    "roberta": (write_roberta, "roberta"),
}


def write_config(folder, teacher):
    tiny.write_text(folder / "text.txt")
    config = {
        "teacher": str(teacher),
        "output": str(folder / "run"),
        "data": {"text": [str(folder / "text.txt")], "sequence_length": 16},
        "train": {"steps": 4, "global_batch_size": 4, "log_every": 1, "learning_rate": 1e-3},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return str(folder / "config.yaml")


@pytest.mark.parametrize("kind", GOOD)
def test_each_kind_of_teacher_is_distilled(tmp_path, capsys, kind):
    write, family = GOOD[kind]
    write(tmp_path / "teacher")
    assert main(["distill", write_config(tmp_path, tmp_path / "teacher")]) == 0
    student = load_model(tmp_path / "run" / "model")
    teacher = load_model(tmp_path / "teacher")
    assert (student.architecture.family, student.architecture.num_layers) == (family, 1)
    assert student.tokenizer.sha256 == teacher.tokenizer.sha256
    mask = teacher.tokenizer.special_tokens.mask
    text = f"paris is the {mask} of france ."
    assert main(["fill-mask", "--model", str(tmp_path / "run" / "model"), text]) == 0
    guesses = capsys.readouterr().out.splitlines()[1].split()
    assert len(guesses) >= 9 and float(guesses[-1]) > 0


def test_records_made_with_the_tokenizer_of_a_folder(tmp_path):
    write_roberta(tmp_path / "teacher")
    config = write_config(tmp_path, tmp_path / "teacher")
    source, output = str(tmp_path / "text.txt"), str(tmp_path / "records")
    teacher = str(tmp_path / "teacher")
    words = ["prepare", "--text", source, "--output", output, "--sequence-length", "16"]
    assert main([*words, "--tokenizer", teacher]) == 0
    overrides = ["data.text=[]", f"data.records={output}", "data.masking.whole_word=true"]
    assert main(["distill", config, *overrides]) == 0


def edit_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def reshape_bias(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["bert.encoder.layer.1.output.dense.bias"] = np.zeros(17, "float32")
    save_file(tensors, folder / "model.safetensors")


def edit_tensors(folder, surplus=(), missing=()):
    tensors = load_file(folder / "model.safetensors")
    tensors = {name: t for name, t in tensors.items() if name not in missing}
    tensors |= {name: np.zeros(3, "float32") for name in surplus}
    save_file(tensors, folder / "model.safetensors")


def sentencepiece_instead(folder):
    (folder / "vocab.txt").unlink()
    unigram = {"model": {"type": "Unigram", "vocab": [["a", 0.0]]}}
    (folder / "tokenizer.json").write_text(json.dumps(unigram))


def truncate_shard(folder):
    path = folder / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-64])


def preset_without_head(folder):
    shutil.rmtree(folder)
    folder.mkdir()
    backbone = {"registered_name": "keras_hub>BertBackbone", "config": {}}
    (folder / "config.json").write_text(json.dumps(backbone))


BAD = {
    "unknown model_type": (
        write_bert,
        lambda f: edit_json(f / "config.json", model_type="t5"),
        "model_type 't5' is not supported; use one of bert, distilbert, roberta",
    ),
    "another architecture": (
        write_bert,
        lambda f: edit_json(f / "config.json", model_type="distilbert"),
        r"lacks distilbert\.embeddings\..* and \d+ more",
    ),
    "a tensor missing": (
        write_bert,
        lambda f: edit_tensors(f, missing=["bert.encoder.layer.1.output.dense.bias"]),
        r"lacks bert\.encoder\.layer\.1\.output\.dense\.bias$",
    ),
    "a tensor too many": (
        write_bert,
        lambda f: edit_tensors(f, surplus=["bert.encoder.layer.2.output.dense.bias"]),
        r"holds unknown bert\.encoder\.layer\.2\.output\.dense\.bias$",
    ),
    "a tensor of another shape": (
        write_bert,
        reshape_bias,
        r"layer\.1\.output\.dense\.bias has shape \[17\], its configuration calls for \[16\]",
    ),
    "a tokenizer that is not supported": (
        write_bert,
        sentencepiece_instead,
        "tokenizer is of type Unigram, which is not supported",
    ),
    "vocabulary and embedding of different size": (
        write_bert,
        lambda f: (f / "vocab.txt").write_text("\n".join([*tiny.VOCABULARY, "more"])),
        r"vocabulary has \d+ tokens, its configuration says vocab_size \d+",
    ),
    "a truncated shard": (
        write_sharded,
        truncate_shard,
        r"model-00002-of-00002\.safetensors: truncated or damaged",
    ),
    "a missing shard": (
        write_sharded,
        lambda f: (f / "model-00001-of-00002.safetensors").unlink(),
        r"names model-00001-of-00002\.safetensors, which is missing",
    ),
    "a checkpoint without its index": (
        write_google,
        lambda f: (f / "bert_model.ckpt.index").unlink(),
        r"bert_model\.ckpt\.index: missing, its data",
    ),
    "a RoBERTa without merges": (
        write_roberta,
        lambda f: (f / "merges.txt").unlink(),
        r"merges\.txt: missing",
    ),
    "a preset without a head": (
        write_bert,
        preset_without_head,
        "the preset has no trained masked-LM head.* hf://",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_teacher_ends_in_one_line_and_nothing_written(tmp_path, capsys, case):
    write, damage, message = BAD[case]
    write(tmp_path / "teacher")
    damage(tmp_path / "teacher")
    config = write_config(tmp_path, tmp_path / "teacher")
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    assert main(["distill", config]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("tf-distilbert: ") and re.search(message, line), line
    assert sorted(tmp_path.rglob("*")) == before


def test_masks_are_said_in_the_teachers_own_words(tmp_path, capsys):
    write_roberta(tmp_path / "teacher")
    assert main(["fill-mask", "--model", str(tmp_path / "teacher"), "paris is [MASK]"]) == 2
    assert "has no <mask> to fill" in capsys.readouterr().err


def test_a_folder_says_itself_whether_it_is_cased(tmp_path, capsys):
    write_bert(tmp_path / "teacher")
    words = ["prepare", "--text", "none.txt", "--output", str(tmp_path / "records")]
    assert main([*words, "--tokenizer", str(tmp_path / "teacher"), "--cased"]) == 2
    assert "--cased goes with --vocab" in capsys.readouterr().err
