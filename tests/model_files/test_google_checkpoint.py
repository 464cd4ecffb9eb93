"""Google's checkpoints against the original's definitions in NumPy, and every broken one."""

import json
import math
import os

import numpy as np
import pytest
import tensorflow as tf

from support.original_bert import (
    CONFIG,
    Original,
    batch,
    load,
    make_variables,
    original_activation,
    save_checkpoint,
    write_folder,
)
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.google_checkpoint import is_google_checkpoint, read_google_checkpoint


@pytest.mark.parametrize("changes", [{}, {"hidden_act": "relu", "type_vocab_size": 3}])
def test_it_computes_what_the_original_computes(tmp_path, changes):
    variables = write_folder(tmp_path, **changes)
    model, inputs = load(tmp_path), batch(CONFIG | changes)
    original = Original(CONFIG | changes, variables)
    states = original.hidden_states(
        inputs["token_ids"], inputs["segment_ids"], inputs["padding_mask"].astype("float64")
    )
    our_states = model.hidden_states(inputs)
    assert len(our_states) == len(states)
    for our_state, state in zip(our_states, states, strict=True):
        np.testing.assert_allclose(our_state, state, rtol=0, atol=1e-5)
    np.testing.assert_allclose(model(inputs), original.logits(states[-1]), rtol=0, atol=1e-5)


def test_the_two_gelus_differ_by_less_than_a_thousandth():
    x = np.linspace(-8, 8, 20001)
    erf = x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    assert 1e-4 < np.abs(erf - original_activation("gelu", x)).max() < 1e-3


def test_the_architecture(tmp_path):
    write_folder(tmp_path)
    architecture, tensors = read_google_checkpoint(tmp_path)
    assert (architecture.family, architecture.activation) == ("bert", "gelu_tanh")
    assert (architecture.num_layers, architecture.num_heads, architecture.head_size) == (3, 4, 8)
    assert (architecture.hidden_size, architecture.intermediate_size) == (32, 48)
    assert (architecture.vocabulary_size, architecture.max_positions) == (60, 24)
    assert (architecture.num_segments, architecture.layer_norm_epsilon) == (2, 1e-12)
    assert (architecture.dropout, architecture.attention_dropout) == (0.15, 0.2)
    assert architecture.initializer_range == 0.03
    assert not [name for name in tensors if "adam" in name or "step" in name]
    assert tensors["bert.encoder.layer.2.intermediate.dense.weight"].shape == (48, 32)
    assert tensors["cls.seq_relationship.weight"].shape == (2, 32)
    assert all(tensor.dtype == np.float32 for tensor in tensors.values())


def test_dropout_and_initializer_have_the_originals_defaults(tmp_path):
    write_folder(tmp_path)
    kept = {k: v for k, v in CONFIG.items() if "dropout" not in k and k != "initializer_range"}
    (tmp_path / "bert_config.json").write_text(json.dumps(kept))
    architecture, _ = read_google_checkpoint(tmp_path)
    assert (architecture.dropout, architecture.attention_dropout) == (0.1, 0.1)
    assert architecture.initializer_range == 0.02


def test_what_a_google_checkpoint_is(tmp_path):
    assert not is_google_checkpoint(tmp_path)
    assert not is_google_checkpoint(tmp_path / "missing")
    (tmp_path / "bert_config.json").touch()
    assert is_google_checkpoint(tmp_path)
    (tmp_path / "config.json").touch()
    assert not is_google_checkpoint(tmp_path)


def rename(folder, name):
    for path in list(folder.glob("bert_model.ckpt.*")):
        path.rename(folder / path.name.replace("bert_model.ckpt", name))


def test_another_prefix_if_it_is_the_only_one(tmp_path):
    write_folder(tmp_path)
    _, expected = read_google_checkpoint(tmp_path)
    rename(tmp_path, "model.ckpt-1000")
    _, tensors = read_google_checkpoint(tmp_path)
    assert tensors.keys() == expected.keys()
    save_checkpoint(tmp_path / "bert_model.ckpt", make_variables(CONFIG))
    assert read_google_checkpoint(tmp_path)[1].keys() == expected.keys()


def write_two_parts(folder):
    """A checkpoint whose data are two files, as a sharded Saver leaves it."""
    variables = write_folder(folder)
    for path in folder.glob("bert_model.ckpt.*"):
        path.unlink()
    names = sorted(variables)
    prefixes = [str(folder / "part0"), str(folder / "part1")]
    for prefix, part in zip(prefixes, (names[::2], names[1::2]), strict=True):
        save_checkpoint(prefix, {name: variables[name] for name in part}, with_slots=False)
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=prefixes, destination_prefix=str(folder / "bert_model.ckpt")
    )
    return variables


def test_data_in_two_files(tmp_path):
    variables = write_two_parts(tmp_path)
    _, tensors = read_google_checkpoint(tmp_path)
    assert len(tensors) == len(variables)
    (tmp_path / "bert_model.ckpt.data-00001-of-00002").unlink()
    with pytest.raises(UserError, match=r"bert_model\.ckpt\.data-00001-of-00002: missing"):
        read_google_checkpoint(tmp_path)


def edit_config(folder, change):
    config = json.loads((folder / "bert_config.json").read_text())
    change(config)
    (folder / "bert_config.json").write_text(json.dumps(config))


def flip_bit(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def foreign_checkpoint(folder):
    save_checkpoint(folder / "bert_model.ckpt", {"dense/kernel": np.ones((2, 2), "float32")})


INDEX = "bert_model.ckpt.index"
DATA = "bert_model.ckpt.data-00000-of-00001"
BROKEN = {
    "no config": (lambda f: (f / "bert_config.json").unlink(), r"bert_config\.json: missing"),
    "config is no JSON": (
        lambda f: (f / "bert_config.json").write_text("{"),
        r"bert_config\.json: is not JSON",
    ),
    "config is no text": (
        lambda f: (f / "bert_config.json").write_bytes(b"\xff\xfe"),
        r"bert_config\.json: is not JSON",
    ),
    "config is a list": (
        lambda f: (f / "bert_config.json").write_text("[]"),
        r"bert_config\.json: holds no JSON object",
    ),
    "keys missing": (
        lambda f: edit_config(f, lambda c: (c.pop("hidden_act"), c.pop("vocab_size"))),
        r"bert_config\.json: lacks vocab_size, hidden_act",
    ),
    "a number that is none": (
        lambda f: edit_config(f, lambda c: c.update(num_hidden_layers="three")),
        r"bert_config\.json: num_layers is 'three'",
    ),
    "another activation": (
        lambda f: edit_config(f, lambda c: c.update(hidden_act="tanh")),
        r"bert_config\.json: hidden_act 'tanh' is not known; .* gelu or relu",
    ),
    "no activation": (
        lambda f: edit_config(f, lambda c: c.update(hidden_act=None)),
        "hidden_act None is not known",
    ),
    "no checkpoint": (
        lambda f: [(f / name).unlink() for name in (INDEX, DATA)],
        r"has no checkpoint \(bert_model\.ckpt\.index",
    ),
    "data without index": (
        lambda f: (f / INDEX).unlink(),
        r"bert_model\.ckpt\.index: missing, its data \(bert_model\.ckpt\.data-00000-of-00001\) is",
    ),
    "index without data": (
        lambda f: (f / DATA).unlink(),
        r"bert_model\.ckpt\.index: its data \(bert_model\.ckpt\.data-\*\) is missing",
    ),
    "several prefixes": (
        lambda f: (rename(f, "a.ckpt"), (f / "b.ckpt.index").touch()),
        r"several checkpoints \(a\.ckpt\.index, b\.ckpt\.index\)",
    ),
    "data truncated": (lambda f: os.truncate(f / DATA, 5000), "truncated or damaged"),
    "data empty": (lambda f: os.truncate(f / DATA, 0), "truncated or damaged"),
    "a bit of the data flipped": (
        lambda f: flip_bit(f / DATA, 90),
        "truncated or damaged .*hecksu",
    ),
    "index truncated": (lambda f: os.truncate(f / INDEX, 200), "truncated or damaged"),
    "index empty": (lambda f: os.truncate(f / INDEX, 0), "truncated or damaged"),
    "a bit of the index flipped": (lambda f: flip_bit(f / INDEX, 70), "truncated or damaged"),
    "index of another program": (
        lambda f: (f / INDEX).write_bytes(b"\0" * 4000),
        "truncated or damaged",
    ),
    "another model": (foreign_checkpoint, r"index: holds no variables of Google's BERT"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_is_refused_in_one_line(tmp_path, case):
    folder = tmp_path / "uncased_L-3_H-32_A-4"
    write_folder(folder)
    damage, message = BROKEN[case]
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        read_google_checkpoint(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("bert/embeddings/LayerNorm/beta"), "lacks bert.embeddings.LayerNorm.bias"),
        (
            lambda v: v.update({"bert/x/kernel": np.ones((2, 2), "float32")}),
            "unknown bert.x.weight",
        ),
        (lambda v: [v.pop(n) for n in list(v) if "predictions" in n], "has no masked-LM head"),
    ],
)
def test_other_variables_are_refused_when_a_model_takes_them(tmp_path, change, message):
    variables = write_folder(tmp_path)
    change(variables)
    save_checkpoint(tmp_path / "bert_model.ckpt", variables)
    with pytest.raises(UserError, match=message):
        load(tmp_path)
