"""Keras's own ways to save and to copy a model give the same model, down to the bits."""

import json
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from support import tiny
from support.keras_nlp_objects import FAMILIES, one_line, own_inputs, task
from support.task_model import task_model
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.keras_nlp_models import as_model
from tf_distilbert.models.masked_language_model import MaskedLanguageModel
from tf_distilbert.models.task_models import SequenceClassifier

# Each with settings that are not the defaults.
SETTINGS = {
    "encoder": {},
    "masked_lm": {},
    "sequence_classification": {"problem": "multi_label", "head_dropout": 0.3},
    "token_classification": {"head_dropout": 0.4},
    "question_answering": {"head_dropout": 0.2},
    "embedding": {
        **{"pooling": "max", "normalize": True, "max_length": 9, "prompts": {"query": "the "}},
        **{"default_prompt": "query", "projection_size": 5, "projection_activation": "tanh"},
    },
}


def made(name, family="distilbert", **options):
    return task_model(name, family, **SETTINGS[name], **options)


def numbers(model, inputs=None):
    """What a model computes for a batch, in the dtype in which it does."""
    return np.asarray(model(tiny.batch()[0] if inputs is None else inputs))


def assert_same(found, expected):
    assert type(found) is type(expected)
    assert found.get_config() == expected.get_config()
    assert (found.name, found.architecture) == (expected.name, expected.architecture)
    assert found._settings() == expected._settings()
    assert type(found.tokenizer) is type(expected.tokenizer)
    assert found.tokenizer.sha256 == expected.tokenizer.sha256
    wanted = numbers(expected)
    assert numbers(found).dtype == wanted.dtype
    np.testing.assert_array_equal(numbers(found), wanted)


def layers_dtypes(model):
    return {(layer.compute_dtype, layer.variable_dtype) for layer in model._flatten_layers()}


@pytest.mark.parametrize("family", ["distilbert", "roberta"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_keras_file_gives_back_the_model(name, family, tmp_path):
    model = made(name, family)
    model.save(tmp_path / "model.keras")
    assert_same(keras.models.load_model(tmp_path / "model.keras"), model)


def test_a_folder_of_keras_gives_back_the_model(tmp_path):
    model = tiny.roberta()
    keras.saving.save_model(model, tmp_path / "model", zipped=False)
    assert_same(keras.saving.load_model(tmp_path / "model"), model)


def test_without_a_tokenizer(tmp_path):
    model = MaskedLanguageModel(tiny.architecture())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.tokenizer is None
    np.testing.assert_array_equal(numbers(loaded), numbers(model))


def test_a_part_of_a_functional_model(tmp_path):
    student, batch = tiny.model(), tiny.batch()[0]
    inputs = {
        name: keras.Input(values.shape[1:], dtype=values.dtype.name, name=name)
        for name, values in batch.items()
    }
    keras.Model(inputs, 2 * student(inputs)).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(numbers(loaded), 2 * numbers(student))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_clone_is_the_same_model_with_fresh_weights(name):
    model = made(name)
    clone = keras.models.clone_model(model)
    assert clone.get_config() == model.get_config()
    assert type(clone) is type(model)
    before = numbers(model)
    pairs = list(zip(clone.trainable_variables, model.trainable_variables, strict=True))
    for own, original in pairs:
        assert (own.path, own.shape) == (original.path, original.shape)
        assert not np.array_equal(own, original), own.path  # those of `task_model` are all random
    assert not np.array_equal(numbers(clone), before)
    for own, original in pairs:
        own.assign(original)
    np.testing.assert_array_equal(numbers(clone), before)
    np.testing.assert_array_equal(numbers(model), before)


def test_weights_alone(tmp_path):
    model = made("sequence_classification")
    model.save_weights(tmp_path / "model.weights.h5")
    clone = keras.models.clone_model(model)
    clone.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(numbers(clone), numbers(model))


def test_json_describes_a_model():
    model = SequenceClassifier(tiny.architecture(), ["yes", "no"], name="judge", head_dropout=0.7)
    again = keras.models.model_from_json(model.to_json())
    assert again.architecture == model.architecture
    assert (again.name, again.labels, again.head_dropout) == ("judge", ("yes", "no"), 0.7)
    config = json.loads(json.dumps(model.get_config()))
    config["architecture"]["num_layers"] = 2
    shorter = SequenceClassifier.from_config(config)
    assert shorter.architecture == replace(model.architecture, num_layers=2)
    assert len(shorter.encoder.blocks) == 2
    assert config["architecture"]["num_layers"] == 2  # what is given is not used up
    config["architecture"]["num_heads"] = 3
    with pytest.raises(UserError, match="hidden_size 16 is not a multiple of num_heads 3"):
        SequenceClassifier.from_config(config)


def test_what_was_frozen_stays_frozen(tmp_path):
    model = tiny.model()
    model.trainable = False
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.trainable is False
    assert loaded.encoder.trainable_variables == loaded.head.trainable_variables == []
    loaded.trainable = True
    assert len(loaded.trainable_variables) == len(tiny.model().trainable_variables)


def test_training_goes_on_from_a_file(tmp_path):
    """Optimizer and loss are in the file too; what Keras leaves out are dropout's generators."""
    model = task_model("sequence_classification", problem="multi_label", head_dropout=0.0)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
    inputs = tiny.batch()[0]
    answers = np.random.default_rng(1).integers(0, 2, (8, 3)).astype("float32")
    model.train_on_batch(inputs, answers)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    before = tiny.weights(model)
    model.reset_metrics()  # the mean loss of the first step
    assert loaded.train_on_batch(inputs, answers) == model.train_on_batch(inputs, answers)
    assert not np.array_equal(tiny.weights(model), before)
    np.testing.assert_array_equal(tiny.weights(loaded), tiny.weights(model))


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "bfloat16", "float16"])
def test_a_model_keeps_its_policy_under_any_other(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    model = tiny.model()
    model.save(tmp_path / "model.keras")
    expected = layers_dtypes(model)
    keras.config.set_dtype_policy("mixed_float16")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert layers_dtypes(loaded) == expected and len(expected) == 1
    assert_same(loaded, model)


@pytest.mark.parametrize("name", SETTINGS)
def test_dtype_is_an_argument(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    expected = made(name)
    keras.config.set_dtype_policy("float32")
    model = made(name, dtype="mixed_bfloat16")
    assert layers_dtypes(model) == layers_dtypes(expected) == {("bfloat16", "float32")}
    np.testing.assert_array_equal(numbers(model), numbers(expected))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_copy_in_another_dtype_differs_by_its_rounding(name):
    model = made(name)
    exact, errors = numbers(model), {}
    for dtype in ("bfloat16", "float16"):
        copy = model.cast_copy(dtype)
        assert layers_dtypes(copy) == {(dtype, dtype)}
        assert {v.dtype for v in copy.trainable_variables} == {dtype}
        assert copy._settings() == model._settings()
        assert copy.tokenizer is model.tokenizer
        for own, original in zip(copy.weights, model.weights, strict=True):
            rounded = keras.ops.cast(keras.ops.cast(original, own.dtype), original.dtype)
            np.testing.assert_array_equal(keras.ops.cast(own, original.dtype), rounded)
        assert numbers(copy).dtype == ("float32" if name == "embedding" else dtype)
        errors[dtype] = np.abs(numbers(copy).astype("float32") - exact).max()
    assert keras.config.dtype_policy().name == "float32"
    # Of 8 and of 11 bits: one step in 1 is 2^-7 and 2^-10.
    assert 0 < errors["float16"] < errors["bfloat16"] / 3 < 0.02 * np.abs(exact).max()
    assert model.cast_copy("float32") is model


def test_a_copy_in_float16_takes_padding():
    """Even a row without any token gives numbers."""
    inputs = tiny.batch()[0]
    inputs["padding_mask"][0] = False
    exact = numbers(tiny.model(), inputs)
    rounded = numbers(tiny.model().cast_copy("float16"), inputs).astype("float32")
    np.testing.assert_allclose(rounded, exact, atol=0.02)


FRESH = """
import sys
import keras
import numpy as np
from tf_distilbert import TokenClassifier

model = keras.models.load_model(sys.argv[1])
assert type(model) is TokenClassifier
with np.load(sys.argv[2]) as inputs:
    np.save(sys.argv[3], model(dict(inputs)))
print(model.labels, model.tokenizer.sha256, model.tokenizer.encode("the cat"))
"""


def test_another_process_needs_no_more_than_the_class(tmp_path):
    model = made("token_classification", "roberta")
    model.save(tmp_path / "model.keras")
    inputs = {k: v for k, v in tiny.batch()[0].items() if k != "mask_positions"}
    np.savez(tmp_path / "inputs.npz", **inputs)
    paths = [tmp_path / name for name in ("model.keras", "inputs.npz", "logits.npy")]
    process = subprocess.run(
        [sys.executable, "-c", FRESH, *paths], capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr
    np.testing.assert_array_equal(np.load(paths[2]), numbers(model))
    tokenizer = model.tokenizer
    expected = f"{model.labels} {tokenizer.sha256} {tokenizer.encode('the cat')}\n"
    assert process.stdout == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_a_keras_nlp_model_is_saved_as_its_own(family, tmp_path):
    theirs = task(family)
    model = as_model(theirs)
    model.save(tmp_path / "model.keras")
    # Without the loss and optimizer that keras-nlp gives each model, which Keras cannot read.
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert type(loaded) is type(theirs)
    taken = own_inputs(family, tiny.batch()[0])
    np.testing.assert_array_equal(loaded(taken), theirs(taken))
    again = as_model(loaded)
    assert again.tokenizer.sha256 == model.tokenizer.sha256
    np.testing.assert_array_equal(numbers(again), numbers(model))


@pytest.mark.parametrize("use", [keras.saving.serialize_keras_object, keras.models.clone_model])
def test_a_keras_nlp_model_has_no_configuration_of_ours(use):
    with pytest.raises(UserError, match=r"model\.save\(PATH\).*keras_nlp_task\(\)") as error:
        use(as_model(task("Bert", with_preprocessor=False)))
    one_line(error)
