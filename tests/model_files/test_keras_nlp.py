"""keras-nlp's masked language models as teachers and students."""

import keras
import keras_nlp
import numpy as np
import pytest
import tensorflow as tf

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
from tf_distilbert.cli.main import main
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.pretrainer import MaskedLMPretrainer
from tf_distilbert.distillation.student import build_student
from tf_distilbert.errors import UserError
from tf_distilbert.evaluation.fill_mask import fill_mask
from tf_distilbert.evaluation.masked_lm import evaluate
from tf_distilbert.model_files.folder import load_model, save_model
from tf_distilbert.model_files.hf_weights import named_variables
from tf_distilbert.model_files.keras_nlp_models import as_model, named_values
from tf_distilbert.model_files.keras_nlp_presets import load_preset
from tf_distilbert.training.optimizer import AdamW


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


@pytest.mark.slow
def test_pretraining_trains_it_too_and_saves_it_in_keras_format(tmp_path):
    model = task("Bert", num_layers=1)
    before = as_model(model)(tiny.batch()[0])
    trainer = MaskedLMPretrainer(model)
    trainer.compile(AdamW(3e-3))
    batch = tf.data.Dataset.from_tensors(tiny.batch())
    history = trainer.fit(batch, epochs=5, verbose=0).history
    assert history["loss"][-1] < 0.9 * history["loss"][0]
    trainer.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    logits = as_model(loaded)(tiny.batch()[0])
    np.testing.assert_array_equal(logits, as_model(model)(tiny.batch()[0]))
    assert np.abs(logits - before).max() > 1e-3


def test_the_loss_is_scaled_by_the_models_own_precision():
    """Whatever the policy is when it is wrapped."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = task("Bert", num_layers=1)
    finally:
        keras.config.set_dtype_policy("float32")
    trainer = MaskedLMPretrainer(model)
    trainer.compile(AdamW(1e-3))
    assert isinstance(trainer.optimizer, keras.optimizers.LossScaleOptimizer)


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
