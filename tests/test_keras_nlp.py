"""keras-nlp's masked language models as teachers and students, as objects and as presets."""

import json

import keras
import keras_nlp
import numpy as np
import pytest
import tensorflow as tf
import tiny

from tf_distilbert.cli import main
from tf_distilbert.distiller import Distiller
from tf_distilbert.errors import UserError
from tf_distilbert.evaluation import evaluate
from tf_distilbert.hf_weights import named_variables
from tf_distilbert.keras_nlp_models import as_model, named_values
from tf_distilbert.keras_nlp_presets import WITH_HEAD, is_preset, load_preset, load_preset_encoder
from tf_distilbert.mask_filling import fill_mask
from tf_distilbert.model_folder import load_model, save_model
from tf_distilbert.optimization import AdamW
from tf_distilbert.student import build_student

FAMILIES = ["Bert", "DistilBert", "Roberta"]
ROBERTA_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"\u0120abcdeprinst", "pa"]
ROBERTA_TOKENS += [f"t{i}" for i in range(len(tiny.VOCABULARY) - len(ROBERTA_TOKENS))]


def tokenizer(family, **settings):
    made = getattr(keras_nlp.models, f"{family}Tokenizer")
    if family == "Roberta":
        return made({token: i for i, token in enumerate(ROBERTA_TOKENS)}, ["p a"])
    return made(tiny.VOCABULARY, **{"lowercase": True, "strip_accents": True} | settings)


def backbone(family, num_layers=3, dropout=0.0):
    return getattr(keras_nlp.models, f"{family}Backbone")(
        len(tiny.VOCABULARY), num_layers, 2, 16, 32, dropout=dropout, max_sequence_length=32
    )


def task(family, seed=0, with_preprocessor=True, **sizes):
    """A masked language model of keras-nlp's, all of whose weights are random."""
    preprocessor = None
    if with_preprocessor:
        preprocessor = getattr(keras_nlp.models, f"{family}MaskedLMPreprocessor")(
            tokenizer(family), sequence_length=16, mask_selection_length=4
        )
    made = getattr(keras_nlp.models, f"{family}MaskedLM")(backbone(family, **sizes), preprocessor)
    generator = np.random.default_rng(seed)
    for variable in made.weights:
        noise = 0.2 * generator.standard_normal(variable.shape)
        variable.assign(noise + (variable.name == "gamma"))
    return made


def own_inputs(family, inputs, segment_ids=None):
    """What keras-nlp takes: integers, and segments for a BERT."""
    taken = {name: value.astype("int32") for name, value in inputs.items()}
    if family == "Bert":
        taken["segment_ids"] = np.zeros_like(taken["token_ids"])
        if segment_ids is not None:
            taken["segment_ids"] = segment_ids
    return taken


def last_hidden_state(family, model, inputs):
    inputs = {name: value for name, value in inputs.items() if name != "mask_positions"}
    output = model(inputs)
    return output["sequence_output"] if family == "Bert" else output


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("with_segments", [False, True])
def test_the_numbers_are_keras_nlps_own(family, with_segments):
    theirs = task(family)
    ours = as_model(theirs)
    inputs = tiny.batch()[0]
    segment_ids = np.random.default_rng(1).integers(0, 2, (8, 16)).astype("int32")
    segment_ids = segment_ids if with_segments else None
    taken = own_inputs(family, inputs, segment_ids)
    if with_segments:
        inputs["segment_ids"] = segment_ids
    np.testing.assert_allclose(ours(inputs), theirs(taken), rtol=0, atol=1e-6)
    states = ours.hidden_states(inputs)
    assert len(states) == 4
    expected = last_hidden_state(family, theirs.backbone, taken)
    np.testing.assert_allclose(states[-1], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_our_encoder_computes_the_same_from_its_weights(family):
    theirs = task(family)
    inputs = tiny.batch()[0]
    teacher = as_model(theirs)
    student = build_student(theirs, num_layers=3)
    pairs = zip(student.hidden_states(inputs), teacher.hidden_states(inputs), strict=True)
    for ours, expected in pairs:
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)
    # The head differs in the epsilon of its norm, and after a BERT in its form of GELU.
    difference = np.abs(student(inputs) - teacher(inputs)).max()
    assert difference < (5e-3 if family == "Bert" else 1e-3)
    assert student.tokenizer.sha256 == teacher.tokenizer.sha256


def test_every_copied_weight_is_that_of_its_teachers_layer():
    theirs = task("Bert", num_layers=4)
    student = build_student(theirs, layer_map=[1, 3], fold_segments=False)
    source = named_values(as_model(theirs))
    for name, variable in named_variables(student).items():
        name = name.replace("block_1/", "block_3/").replace("block_0/", "block_1/")
        np.testing.assert_array_equal(variable.numpy(), source[name], err_msg=name)
    key = theirs.backbone.transformer_layers[3]._self_attention_layer.key_dense
    fused = source["encoder/block_3/query_key_value/kernel"]
    assert fused.shape == (16, 48)
    np.testing.assert_array_equal(fused[:, 16:32], key.kernel.numpy().reshape(16, 16))


def test_architecture_and_tokenizer_are_read_off():
    model = as_model(task("Bert", dropout=0.2))
    architecture = model.architecture
    assert (architecture.family, architecture.activation) == ("bert", "gelu_tanh")
    assert (architecture.num_segments, architecture.max_positions) == (2, 32)
    assert architecture.dropout == architecture.attention_dropout == 0.2
    assert model.tokenizer.sha256 == tiny.tokenizer().sha256
    assert as_model(task("DistilBert")).architecture.activation == "gelu"
    with pytest.raises(UserError, match="the model has 32 positions"):
        model.check_length(33)


def test_settings_of_the_tokenizer_are_kept():
    preprocessor = keras_nlp.models.BertMaskedLMPreprocessor(
        tokenizer("Bert", lowercase=False, strip_accents=False, split_on_cjk=False)
    )
    ours = as_model(keras_nlp.models.BertMaskedLM(backbone("Bert"), preprocessor)).tokenizer
    assert (ours.lower_case, ours.strip_accents, ours.split_chinese) == (False, False, False)


def test_without_a_preprocessor_there_is_no_tokenizer():
    theirs = task("DistilBert", with_preprocessor=False)
    assert as_model(theirs).tokenizer is None
    assert build_student(theirs).tokenizer is None


def test_roberta_brings_its_tokenizer():
    ours = as_model(task("Roberta")).tokenizer
    tokens = [ours.vocabulary[i] for i in ours.encode("paris<mask>")]
    assert tokens == ["<s>", "pa", "r", "i", "s", "<mask>", "</s>"]


@pytest.mark.parametrize("family", FAMILIES)
def test_distilling_trains_the_users_own_object(family, tmp_path):
    teacher, student = task(family, num_layers=4), task(family, seed=1, num_layers=2)
    teacher_before = [v.numpy() for v in teacher.weights]
    before = {v.path: v.numpy() for v in student.weights}
    distiller = Distiller(teacher, student)
    distiller.compile(AdamW(3e-3))
    history = distiller.fit(
        tf.data.Dataset.from_tensors(tiny.batch()), epochs=10, verbose=0
    ).history
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    for variable, value in zip(teacher.weights, teacher_before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    for variable in student.weights:
        # A BERT's pooler is no part of what the losses reach.
        unchanged = np.array_equal(variable.numpy(), before[variable.path])
        assert unchanged == ("pooled_dense" in variable.path), variable.path
    student.save_to_preset(str(tmp_path / "student"))
    inputs = tiny.batch()[0]
    again = load_preset(tmp_path / "student")
    np.testing.assert_array_equal(again(inputs), as_model(student)(inputs))


def test_keras_counts_and_saves_each_weight_once(tmp_path):
    student = task("Bert", num_layers=2)
    distiller = Distiller(tiny.model(), student)
    assert len(distiller.weights) == len(student.weights) - 2  # the pooler's
    assert len({id(v) for v in distiller.trainable_variables}) == len(distiller.weights)
    distiller.compile(AdamW(1e-3))
    distiller.save_weights(tmp_path / "a.weights.h5")
    values = [v.numpy() for v in student.weights]
    distiller.fit(tf.data.Dataset.from_tensors(tiny.batch()), verbose=0)
    distiller.load_weights(tmp_path / "a.weights.h5")
    for variable, value in zip(student.weights, values, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.slow
def test_ours_and_keras_nlps_can_be_mixed():
    for teacher, student in (
        (task("Bert"), tiny.model(num_layers=2)),
        (tiny.model(), task("DistilBert", num_layers=2)),
    ):
        distiller = Distiller(teacher, student, micro_batches=2)
        distiller.compile(AdamW(1e-3))
        assert np.isfinite(
            distiller.fit(tf.data.Dataset.from_tensors(tiny.batch()), verbose=0).history["loss"]
        )


def test_other_objects_are_refused_by_their_type():
    for wrong in (backbone("Bert"), keras.Sequential(), "bert_base_en_uncased"):
        for use in (build_student, lambda x: Distiller(x, tiny.model())):
            with pytest.raises(UserError, match=type(wrong).__name__) as error:
                use(wrong)
            one_line(error)


def test_a_tokenizer_of_another_vocabulary_is_refused():
    words = [*tiny.VOCABULARY, "more"]
    preprocessor = keras_nlp.models.BertMaskedLMPreprocessor(keras_nlp.models.BertTokenizer(words))
    with pytest.raises(UserError, match="48 tokens, its backbone 47") as error:
        as_model(keras_nlp.models.BertMaskedLM(backbone("Bert"), preprocessor))
    one_line(error)


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


def one_line(error):
    assert "\n" not in str(error.value)


def test_whatever_takes_a_model_takes_keras_nlps(tmp_path):
    model = task("Bert")
    text = tiny.write_text(tmp_path / "text.txt")
    figures = evaluate(model, str(text), task("Bert", seed=1), sequence_length=16)
    assert figures["predictions"] > 0 and 0 <= figures["agreement"] <= 1
    [[guesses]] = fill_mask(model, "paris is the [MASK] .")
    assert len(guesses) == 5
    with pytest.raises(UserError, match="cannot keep the sequences of a packed row apart"):
        as_model(model).hidden_states({**tiny.batch()[0], "sequence_ids": np.ones((8, 16))})


def test_packing_with_such_a_teacher_is_refused_before_anything_is_written(tmp_path, capsys):
    task("Bert").save_to_preset(str(tmp_path / "preset"))
    text = tiny.write_text(tmp_path / "text.txt")
    config = tmp_path / "config.yaml"
    config.write_text(
        f"teacher: {tmp_path / 'preset'}\noutput: {tmp_path / 'run'}\n"
        f"data: {{text: {text}, sequence_length: 16, packing: true}}\n"
        "train: {steps: 1, global_batch_size: 2}\n"
    )
    assert main(["distill", str(config)]) == 2
    assert "sequences of a packed row apart; set data.packing to false" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_loaded_preset_is_saved_as_keras_nlp_saves(tmp_path):
    task("DistilBert").save_to_preset(str(tmp_path / "preset"))
    model = load_preset(tmp_path / "preset")
    with pytest.raises(UserError, match=r"model\.keras_nlp_task"):
        save_model(model, tmp_path / "model")
    model.keras_nlp_task().save_to_preset(str(tmp_path / "again"))
    for ours, theirs in zip(model.weights, load_preset(tmp_path / "again").weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_half_a_keras_nlp_roberta_is_saved_for_hugging_face(tmp_path):
    student = build_student(task("Roberta"), 1)
    save_model(student, tmp_path / "model")
    inputs = tiny.batch()[0]
    again = load_model(tmp_path / "model")
    np.testing.assert_array_equal(again(inputs), student(inputs))
