"""The command line on bad models, and on students that do not fit their teachers."""

import json

import pytest
from safetensors.numpy import load_file, save_file

import tf_distilbert
from support import tiny
from support.commands import cut, left


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
        r"broken/config\.json: missing; give a whole model folder$",
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
        r"student\.initialize_from: zero: no such model folder; give its path, or hf://OWNER/NAME$",
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
    monkeypatch.setattr("tf_distilbert.backend.devices.has_bfloat16", lambda: False)
    message = r"mixed_bfloat16, but this device has no bfloat16 instructions; use auto or float32$"
    refused("distill", config, "train.precision=mixed_bfloat16", message=message)
    assert left(tmp_path) == {"config.yaml"}


def test_hidden_sizes_that_differ_need_the_cosine_term_off():
    teacher, student = tiny.model(), tiny.model(family="distilbert", num_segments=0, hidden_size=8)
    message = "hidden sizes 16 and 8, which .*; set loss.cosine_weight to 0, and .* in its place$"
    with pytest.raises(tf_distilbert.UserError, match=message):
        tf_distilbert.Distiller(teacher, student)
    tf_distilbert.Distiller(teacher, student, cosine_weight=0.0)
    other = tiny.model(vocabulary_size=50)
    with pytest.raises(tf_distilbert.UserError, match="have different vocabularies or tok"):
        tf_distilbert.Distiller(teacher, other)
