"""Model folders that are whole, and every way in which one can be broken."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from support import tiny
from tf_distilbert.distillation.student import build_student
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.encoders import load_encoder
from tf_distilbert.model_files.folder import SAMPLE_TEACHER, load_model, save_model


@pytest.fixture
def folder(tmp_path):
    save_model(tiny.model(), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_what_is_written_is_read_back(tmp_path, family):
    model = tiny.model(activation="gelu_tanh", layer_norm_epsilon=1e-12)
    if family == "distilbert":
        model = build_student(model)
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert again.architecture == model.architecture
    np.testing.assert_array_equal(tiny.weights(again), tiny.weights(model))
    assert again.tokenizer.vocabulary == model.tokenizer.vocabulary
    assert not list(tmp_path.glob("*.partial"))


def test_case_follows_the_tokenizer_config(folder):
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert load_model(folder).tokenizer.lower_case is False


def edit_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def edit_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def without_head(tensors):
    for name in [name for name in tensors if name.startswith("cls.")]:
        del tensors[name]


def bare(tensors):
    """A BertModel: no head, no prefix."""
    without_head(tensors)
    for name in list(tensors):
        tensors[name.removeprefix("bert.")] = tensors.pop(name)


BROKEN = {
    "no folder": (shutil.rmtree, "no such model folder"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json: missing"),
    "config is no JSON": (lambda f: (f / "config.json").write_text("{"), "is not JSON"),
    "config is a list": (lambda f: (f / "config.json").write_text("[]"), "no JSON object"),
    "another architecture": (lambda f: edit_config(f, model_type="t5"), "'t5' is not supported"),
    "another activation": (lambda f: edit_config(f, hidden_act="mish"), "activation 'mish'"),
    "no vocabulary": (lambda f: (f / "vocab.txt").unlink(), "no tokenizer of ours: no vocab.txt"),
    "vocabulary of another size": (lambda f: edit_config(f, vocab_size=9), "says vocab_size 9"),
    "vocabulary without [MASK]": (
        lambda f: (f / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nword\n"),
        r"lacks \[MASK\]",
    ),
    "vocabulary is no text": (lambda f: (f / "vocab.txt").write_bytes(b"\xff\xfe"), "not UTF-8"),
    "no weights": (
        lambda f: (f / "model.safetensors").unlink(),
        "has no weights .none of model.safetensors",
    ),
    "weights truncated": (
        lambda f: (f / "model.safetensors").write_bytes(
            (f / "model.safetensors").read_bytes()[:-100]
        ),
        "truncated or damaged",
    ),
    "weights empty": (lambda f: (f / "model.safetensors").write_bytes(b""), "truncated or damaged"),
    "no head": (lambda f: edit_tensors(f, without_head), "no masked-LM head"),
    "bare encoder": (lambda f: edit_tensors(f, bare), "no masked-LM head"),
    "a tensor missing": (
        lambda f: edit_tensors(f, lambda t: t.pop("cls.predictions.bias")),
        "lacks cls.predictions.bias",
    ),
    "a tensor too many": (
        lambda f: edit_tensors(f, lambda t: t.update({"bert.extra": np.ones(2)})),
        "holds unknown bert.extra",
    ),
    "another depth": (lambda f: edit_config(f, num_hidden_layers=5), r"lacks bert.encoder.layer.4"),
    "another width": (
        lambda f: edit_config(f, intermediate_size=64),
        r"has shape \[32, 16\], its configuration calls for \[64, 16\]",
    ),
    "an untied head": (
        lambda f: edit_tensors(
            f,
            lambda t: t.update(
                {"cls.predictions.decoder.weight": np.ones((len(tiny.VOCABULARY), 16), "float32")}
            ),
        ),
        "only tied heads",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_is_refused_in_one_line(folder, case):
    damage, message = BROKEN[case]
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    assert str(folder.name) in str(caught.value)


def test_names_of_old_checkpoints_and_heads_that_are_not_needed(folder):
    """As in bert-base-uncased itself: LayerNorm.gamma, a pooler, a second copy of the table."""

    def age(tensors):
        for name in list(tensors):
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma")
            tensors[old.replace("LayerNorm.bias", "LayerNorm.beta")] = tensors.pop(name)
        tensors["bert.pooler.dense.weight"] = np.ones((16, 16), "float32")
        tensors["cls.seq_relationship.bias"] = np.ones(2, "float32")
        tensors["bert.embeddings.position_ids"] = np.arange(32)[None]
        table = tensors["bert.embeddings.word_embeddings.weight"]
        tensors["cls.predictions.decoder.weight"] = table.copy()

    before = tiny.weights(load_model(folder))
    edit_tensors(folder, age)
    np.testing.assert_array_equal(tiny.weights(load_model(folder)), before)


def test_saving_never_overwrites_unasked(folder):
    with pytest.raises(UserError, match="exists already"):
        save_model(tiny.model(), folder)
    save_model(tiny.model(seed=5), folder, overwrite=True)
    np.testing.assert_array_equal(
        tiny.weights(load_model(folder)), tiny.weights(tiny.model(seed=5))
    )


def test_an_unwritable_place_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        save_model(tiny.model(), tmp_path / "file" / "model")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


def test_a_model_without_tokenizer_is_not_saved(tmp_path):
    model = tiny.model()
    model.tokenizer = None
    with pytest.raises(UserError, match="no tokenizer"):
        save_model(model, tmp_path / "model")


def strip_prefix(tensors):
    without_head(tensors)
    for name in list(tensors):
        tensors[name.removeprefix("bert.")] = tensors.pop(name)
    tensors["pooler.dense.bias"] = np.ones(16, "float32")


def with_another_head(tensors):
    without_head(tensors)
    tensors["classifier.weight"] = np.ones((2, 16), "float32")


@pytest.mark.parametrize("change", [lambda t: None, strip_prefix, with_another_head])
def test_an_encoder_is_loaded_whatever_its_head(folder, change):
    model = load_model(folder)
    edit_tensors(folder, change)
    encoder, tokenizer = load_encoder(folder)
    assert tokenizer.sha256 == model.tokenizer.sha256
    inputs = tiny.batch()[0]
    states = encoder(inputs["token_ids"], inputs["padding_mask"])
    np.testing.assert_array_equal(states[-1], model.hidden_states(inputs)[-1])


def test_an_encoder_that_is_not_whole_is_refused(folder):
    edit_tensors(folder, lambda t: t.pop("bert.encoder.layer.2.output.dense.bias"))
    with pytest.raises(UserError, match=r"lacks bert\.encoder\.layer\.2\.output\.dense\.bias"):
        load_encoder(folder)


def test_a_roberta_is_written_and_read_back(tmp_path):
    model = tiny.roberta()
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert again.architecture == model.architecture
    assert again.tokenizer.sha256 == model.tokenizer.sha256
    np.testing.assert_array_equal(tiny.weights(again), tiny.weights(model))


def test_a_vocabulary_with_capitals_and_no_settings_is_cased(folder):
    (folder / "tokenizer_config.json").unlink()
    assert load_model(folder).tokenizer.lower_case is True
    text = (folder / "vocab.txt").read_text().replace("\nparis\n", "\nParis\n")
    (folder / "vocab.txt").write_text(text)
    assert load_model(folder).tokenizer.lower_case is False


def test_a_tokenizer_of_another_model_is_not_saved(tmp_path):
    model = tiny.model()
    model.tokenizer = tiny.byte_pair_tokenizer()
    with pytest.raises(UserError, match="vocabulary has 267 tokens, its configuration says voc"):
        save_model(model, tmp_path / "model")
    model = tiny.roberta(vocabulary_size=len(tiny.VOCABULARY))
    model.tokenizer = tiny.tokenizer()
    with pytest.raises(UserError, match=r"positions begin after 1, but \[PAD\] is 0"):
        save_model(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_roberta_whose_padding_is_another_is_refused(tmp_path):
    save_model(tiny.roberta(), tmp_path / "model")
    for value, message in ((0, "positions begin after 0"), (None, "must be whole"), (-1, "must")):
        edit_config(tmp_path / "model", pad_token_id=value)
        with pytest.raises(UserError, match=message):
            load_model(tmp_path / "model")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"is_decoder": True}, "is_decoder is true"),
        ({"hidden_act": ["gelu"]}, "activation"),
        ({"model_type": ["bert"]}, "is not supported"),
    ],
)
def test_odd_configurations_are_refused(folder, changes, message):
    edit_config(folder, **changes)
    with pytest.raises(UserError, match=message):
        load_model(folder)


def test_a_path_that_is_no_folder(folder):
    for path in (folder / "config.json", ""):
        with pytest.raises(UserError, match=r"is no folder|no such model folder"):
            load_model(path)


def test_a_folder_of_models_is_no_model(folder):
    message = rf"^{folder.parent}: is no model folder, but a folder of model; give .* {folder}$"
    with pytest.raises(UserError, match=message):
        load_model(folder.parent)


def test_the_sample_teacher_is_found_from_anywhere(tmp_path, monkeypatch):
    there = load_model(SAMPLE_TEACHER).architecture
    monkeypatch.chdir(tmp_path)
    assert load_model(SAMPLE_TEACHER).architecture == there
