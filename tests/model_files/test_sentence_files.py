"""Folders of sentence encoders: what is written is read again, what we have not is refused."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from support import tiny
from support.task_model import task_model
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.encoders import load_encoder
from tf_distilbert.model_files.folder import (
    load_task_model,
    load_tokenizer,
    save_model,
    weights_digest,
    written_task,
)
from tf_distilbert.models.sentence_encoder import POOLINGS, SentenceEncoder

SETTINGS = {
    "plain": {},
    **{pooling: {"pooling": pooling} for pooling in POOLINGS},
    "all": {
        **{"pooling": "cls", "normalize": True, "max_length": 20},
        **{"projection_size": 6, "projection_activation": "tanh", "projection_bias": False},
        **{"prompts": {"query": "Frage: ", "passage": ""}, "default_prompt": "query"},
    },
}


def edit(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | changes))


def vectors(model):
    return np.asarray(model(tiny.batch()[0]))


@pytest.fixture
def folder(tmp_path):
    save_model(task_model("embedding", "bert", **SETTINGS["all"]), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=list(SETTINGS))
def test_what_is_written_is_read_again(tmp_path, family, settings):
    model = task_model("embedding", family, **settings)
    save_model(model, tmp_path / "model")
    found = load_task_model(tmp_path / "model")
    assert isinstance(found, SentenceEncoder) and written_task(tmp_path / "model") == "embedding"
    assert found._settings() == model._settings()
    np.testing.assert_array_equal(vectors(found), vectors(model))


def test_the_files_are_those_of_sentence_transformers(folder):
    modules = json.loads((folder / "modules.json").read_text())
    assert [module["type"] for module in modules] == [
        f"sentence_transformers.models.{name}"
        for name in ("Transformer", "Pooling", "Dense", "Normalize")
    ]
    assert [module["path"] for module in modules] == ["", "1_Pooling", "2_Dense", "3_Normalize"]
    assert json.loads((folder / "sentence_bert_config.json").read_text()) == {
        "max_seq_length": 20,
        "do_lower_case": False,
    }
    kernel = load_file(folder / "2_Dense" / "model.safetensors")["linear.weight"]
    assert kernel.shape == (6, 16)  # as PyTorch has it: [out, in]
    modes = {path.stat().st_mode for path in folder.rglob("*") if path.is_file()}
    assert len(modes) == 1
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["BertModel"]


def test_the_newer_names_are_read(folder):
    pooling = {"embedding_dimension": 16, "pooling_mode": "max", "include_prompt": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text('{"transformer_task": "feature-extraction"}')
    edit(folder / "tokenizer_config.json", model_max_length=11)
    kinds = {
        "1_Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
        "3_Normalize": "sentence_transformers.base.modules.normalize.Normalize",
    }
    modules = json.loads((folder / "modules.json").read_text())
    for module in modules:
        module["type"] = kinds.get(module["path"], module["type"])
    (folder / "modules.json").write_text(json.dumps(modules))
    found = load_task_model(folder)
    assert (found.pooling, found.normalize, found.max_length) == ("max", True, 11)


def test_an_encoder_in_a_folder_of_its_own_is_read(folder):
    expected, tokenizer = vectors(load_task_model(folder)), load_tokenizer(folder).sha256
    apart = folder / "0_Transformer"
    apart.mkdir()
    own = ("config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json")
    for name in (*own, "sentence_bert_config.json"):
        (folder / name).rename(apart / name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    found = load_task_model(folder)
    assert found.max_length == 20 and load_tokenizer(folder).sha256 == tokenizer
    np.testing.assert_array_equal(vectors(found), expected)


def test_a_plain_encoder_gives_the_mean(tmp_path):
    save_model(task_model("encoder", "bert"), tmp_path / "model")
    assert written_task(tmp_path / "model") == "encoder"
    found = load_task_model(tmp_path / "model", "embedding")
    assert (found.pooling, found.normalize, found.max_length) == ("mean", False, 32)


def test_a_tokenizer_without_limit_leaves_all_positions(folder):
    (folder / "sentence_bert_config.json").unlink()
    edit(folder / "tokenizer_config.json", model_max_length=1e30)
    assert load_task_model(folder).max_length == 32


def test_another_task_takes_the_encoder(folder):
    encoder, _ = load_encoder(folder)
    expected = load_task_model(folder).encoder
    for own, other in zip(encoder.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(own, other)
    assert load_task_model(folder, "encoder").task == "encoder"
    with pytest.raises(UserError, match="its head is for embedding, not for question_answering"):
        load_task_model(folder, "question_answering")


def test_the_digest_is_of_the_projection_too(folder, tmp_path):
    digest = weights_digest(folder)
    shutil.copytree(folder, tmp_path / "copy")
    assert weights_digest(tmp_path / "copy") == digest
    save_file({"linear.weight": np.ones((6, 16), "float32")}, folder / "2_Dense/model.safetensors")
    assert weights_digest(folder) != digest


def modules(*names, package="sentence_transformers.models."):
    def write(folder):
        listed = [{"type": package + name, "path": f"{i}_{name}"} for i, name in enumerate(names)]
        listed[:1] = [{"type": package + name, "path": ""} for name in names[:1]]
        (folder / "modules.json").write_text(json.dumps(listed))

    return write


def in_file(name, **changes):
    return lambda folder: edit(folder / name, **changes)


POOLING, DENSE = "1_Pooling/config.json", "2_Dense/config.json"
BROKEN = {
    "other modules": (
        modules("Transformer", "CNN", "Pooling"),
        r"modules\.json: has the modules Transformer, CNN, Pooling; a sentence encoder that can be",
    ),
    "no pooling": (modules("Transformer"), r"has the modules Transformer; "),
    "no modules": (modules(), "has the modules none; "),
    "another order": (
        modules("Transformer", "Pooling", "Normalize", "Dense"),
        "has the modules Transformer, Pooling, Normalize, Dense; ",
    ),
    "two projections": (modules("Transformer", "Pooling", "Dense", "Dense"), "Pooling, Dense, De"),
    "modules of one's own": (modules("Transformer", "Pooling", package="mine."), "has the modules"),
    "modules without type": (
        lambda f: (f / "modules.json").write_text('[{"path": ""}]'),
        r"modules\.json: is broken: a module needs a type and a path",
    ),
    "modules are no list": (lambda f: (f / "modules.json").write_text("{}"), "no JSON list"),
    "modules are no JSON": (lambda f: (f / "modules.json").write_text("["), "is not JSON"),
    "two poolings": (
        in_file(POOLING, pooling_mode_mean_tokens=True),
        r"config\.json: pools by cls and mean; one of mean, cls, max, weightedmean, mean_sqrt_len",
    ),
    "another pooling": (in_file(POOLING, pooling_mode="lasttoken"), "pools by lasttoken; one of"),
    "pooling of another size": (
        in_file(POOLING, word_embedding_dimension=17),
        r"is for hidden states of size 17, the encoder's have 16$",
    ),
    "prompts that are not pooled": (in_file(POOLING, include_prompt=False), "include_prompt is fa"),
    "no settings of the pooling": (lambda f: (f / POOLING).unlink(), r"1_Pooling/config\.json: mi"),
    "projection of another size": (
        in_file(DENSE, in_features=9),
        r"in_features is 9 and out_features 6; the first must be the encoder's hidden size 16$",
    ),
    "projection without size": (in_file(DENSE, out_features=None), "out_features None"),
    "another activation": (
        in_file(DENSE, activation_function="torch.nn.modules.activation.ReLU"),
        r"this kind of Dense cannot be had: one of the pooled vectors, without residual, foll",
    ),
    "projection with a residual": (in_file(DENSE, use_residual=True), "this kind of Dense cannot"),
    "weights of another shape": (
        lambda f: save_file(
            {"linear.weight": np.ones((6, 15), "float32")}, f / "2_Dense/model.safetensors"
        ),
        r"2_Dense: linear\.weight is of shape \[6, 15\]; config\.json says otherwise",
    ),
    "weights without the bias": (in_file(DENSE, bias=True), r"linear\.bias is missing; config"),
    "no weights of the projection": (
        lambda f: (f / "2_Dense/model.safetensors").unlink(),
        "2_Dense: has no weights",
    ),
    "a length of 0": (
        in_file("sentence_bert_config.json", max_seq_length=0),
        "max_seq_length is 0; it must be a number of tokens above 2",
    ),
    "prompts that are no texts": (
        in_file("config_sentence_transformers.json", prompts={"query": 1}),
        "prompts must be names with texts",
    ),
    "a default that is no prompt": (
        in_file("config_sentence_transformers.json", default_prompt_name="title"),
        "default_prompt_name is 'title', which is none of its prompts",
    ),
}


@pytest.mark.parametrize(("harm", "message"), BROKEN.values(), ids=list(BROKEN))
def test_what_cannot_be_is_refused_in_one_line(folder, harm, message):
    harm(folder)
    with pytest.raises(UserError, match=message) as caught:
        load_task_model(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_lower_case_that_the_tokenizer_has_not_is_refused(folder):
    edit(folder / "sentence_bert_config.json", do_lower_case=True)
    assert load_task_model(folder).max_length == 20  # this tokenizer has it
    edit(folder / "tokenizer_config.json", do_lower_case=False)
    with pytest.raises(UserError, match="do_lower_case is true, but the tokenizer keeps capitals"):
        load_task_model(folder)
