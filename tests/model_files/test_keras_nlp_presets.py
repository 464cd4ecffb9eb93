"""keras-nlp's presets: with a head a teacher, without one an encoder, broken ones refused."""

import json

import keras_nlp
import numpy as np
import pytest

from support import tiny
from support.keras_nlp_objects import (
    FAMILIES,
    backbone,
    last_hidden_state,
    one_line,
    own_inputs,
    task,
    tokenizer,
)
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.keras_nlp_models import as_model
from tf_distilbert.model_files.keras_nlp_presets import (
    WITH_HEAD,
    is_preset,
    load_preset,
    load_preset_encoder,
)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_preset_with_its_head_is_a_teacher(family, tmp_path):
    theirs = task(family)
    theirs.save_to_preset(str(tmp_path / "preset"))
    teacher = load_preset(tmp_path / "preset")
    inputs = tiny.batch()[0]
    np.testing.assert_array_equal(teacher(inputs), as_model(theirs)(inputs))
    assert teacher.tokenizer.sha256 == as_model(theirs).tokenizer.sha256
    assert is_preset(tmp_path / "preset")
    again = load_preset(f"keras_nlp://{tmp_path / 'preset'}")
    np.testing.assert_array_equal(again(inputs), teacher(inputs))


@pytest.mark.slow
def test_a_preset_saved_after_training_is_a_teacher(tmp_path):
    theirs = task("DistilBert")
    theirs.fit(tiny.SENTENCES, batch_size=7, shuffle=False, verbose=0)  # saves its optimizer, too
    theirs.save_to_preset(str(tmp_path))
    inputs = tiny.batch()[0]
    np.testing.assert_array_equal(load_preset(tmp_path)(inputs), as_model(theirs)(inputs))


def headless(folder, family="Bert"):
    made = backbone(family)
    made.save_to_preset(str(folder))
    tokenizer(family).save_to_preset(str(folder))
    return made


@pytest.mark.parametrize("family", FAMILIES)
def test_a_preset_without_a_head_is_an_encoder(family, tmp_path):
    made = headless(tmp_path, family)
    encoder, read = load_preset_encoder(tmp_path)
    inputs = tiny.batch()[0]
    states = encoder(inputs["token_ids"], inputs["padding_mask"])
    expected = last_hidden_state(family, made, own_inputs(family, inputs))
    np.testing.assert_allclose(states[-1], expected, rtol=0, atol=2e-5)
    assert len(read.vocabulary) == len(tiny.VOCABULARY)


def test_a_preset_without_a_head_is_no_teacher(tmp_path):
    headless(tmp_path / "bert_base_en" / "3")
    with pytest.raises(UserError, match=r"no trained masked-LM head.*bert-base-cased") as error:
        load_preset(tmp_path / "bert_base_en" / "3")
    one_line(error)
    headless(tmp_path / "mine")
    with pytest.raises(UserError, match=r"no trained masked-LM head.*hf://OWNER/NAME"):
        load_preset(tmp_path / "mine")


def test_a_classifier_is_no_teacher(tmp_path):
    made = keras_nlp.models.BertTextClassifier(backbone("Bert"), num_classes=2)
    made.save_to_preset(str(tmp_path))
    with pytest.raises(UserError, match="no trained masked-LM head"):
        load_preset(tmp_path)


@pytest.mark.parametrize("name", ["bert_base_en_uncased", "distil_bert_base_multi"])
def test_keras_nlps_own_presets_are_refused_before_they_are_fetched(name, monkeypatch):
    monkeypatch.setattr("kagglehub.model_download", unreachable)
    for spelling in (name, f"keras_nlp://{name}"):
        with pytest.raises(UserError, match=f"no trained masked-LM head.*{WITH_HEAD[name]}") as e:
            load_preset(spelling)
        one_line(e)


def test_every_preset_with_a_known_head_exists():
    classes = (getattr(keras_nlp.models, f"{family}Backbone") for family in FAMILIES)
    assert WITH_HEAD.keys() <= {name for made in classes for name in made.presets}


def unreachable(handle):
    raise ConnectionError(f"no route\nto {handle}")


def test_what_cannot_be_fetched_is_explained(monkeypatch):
    monkeypatch.setattr("kagglehub.model_download", unreachable)
    handle = "keras_nlp://kaggle://me/bert/keras/mine"
    for load, name in ((load_preset, handle), (load_preset_encoder, "keras_nlp://bert_base_en")):
        with pytest.raises(UserError, match=r"cannot be fetched \(no route to .*its folder") as e:
            load(name)
        one_line(e)


def test_a_named_preset_is_fetched_from_kaggle(tmp_path, monkeypatch):
    headless(tmp_path)
    asked = []
    monkeypatch.setattr("kagglehub.model_download", lambda h: asked.append(h) or str(tmp_path))
    load_preset_encoder("keras_nlp://bert_base_en")
    assert asked[0].startswith("keras/bert/keras/bert_base_en/")


@pytest.mark.parametrize("load", [load_preset, load_preset_encoder])
def test_an_unknown_name_is_refused(load):
    with pytest.raises(UserError, match="bert_bas_en: no such folder") as error:
        load("keras_nlp://bert_bas_en")
    one_line(error)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"model_type": "bert"}'])
def test_other_folders_are_no_presets(content, tmp_path):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    assert not is_preset(tmp_path)
    with pytest.raises(UserError, match="is no keras-nlp preset") as error:
        load_preset(tmp_path)
    one_line(error)


def test_a_preset_of_another_family_is_refused(tmp_path):
    content = {"registered_name": "keras_hub>GemmaBackbone", "config": {}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="GemmaBackbone; use one of BertBackbone") as error:
        load_preset(tmp_path)
    one_line(error)


@pytest.mark.parametrize("name", ["model.weights.h5", "task.weights.h5", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_preset_is_refused(name, damage, tmp_path):
    task("DistilBert").save_to_preset(str(tmp_path))
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if damage == "gone":
        path.unlink()
    if name == "tokenizer.json":
        (tmp_path / "preprocessor.json").unlink()  # it holds a copy
        load = load_preset_encoder
    else:
        load = load_preset
    message = "no trained" if (name, damage) == ("task.weights.h5", "gone") else "cannot be read"
    with pytest.raises(UserError, match=message) as error:
        load(tmp_path)
    one_line(error)
