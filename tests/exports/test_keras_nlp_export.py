"""What keras-nlp makes of an exported model, offline: the same states, logits and tokens."""

import json

import keras_nlp
import numpy as np
import pytest

from support import tiny
from tf_distilbert.cli.main import main
from tf_distilbert.distillation.student import build_student
from tf_distilbert.errors import UserError
from tf_distilbert.exports.keras_nlp import export_keras_nlp
from tf_distilbert.model_files.folder import load_model, save_model
from tf_distilbert.model_files.keras_nlp_models import as_model
from tf_distilbert.model_files.keras_nlp_presets import load_preset
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer


def tiny_model(family):
    if family == "distilbert":
        return build_student(tiny.model())
    if family == "roberta":
        return tiny.roberta()
    return tiny.model(activation="gelu_tanh")


def random_inputs(model, rows=4, length=24):
    generator = np.random.default_rng(0)
    lengths = generator.integers(length // 2, length + 1, rows)
    return {
        "token_ids": generator.integers(
            5, model.architecture.vocabulary_size, (rows, length), dtype="int32"
        ),
        "padding_mask": (np.arange(length) < lengths[:, None]).astype("int32"),
        "mask_positions": np.tile(np.arange(length // 2, dtype="int32"), (rows, 1)),
    }


def check_hidden_states_and_logits(model, folder, atol):
    inputs = random_inputs(model)
    again = load_preset(folder)
    for ours, theirs in zip(model.hidden_states(inputs), again.hidden_states(inputs), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=2e-5)
    np.testing.assert_allclose(again(inputs), model(inputs), rtol=0, atol=atol)
    # All of the difference is the constants that a preset has no place for.
    again.head._intermediate_layer_norm.epsilon = model.architecture.layer_norm_epsilon
    if model.architecture.activation == "gelu":
        np.testing.assert_allclose(again(inputs), model(inputs), rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("family", "atol"), [("distilbert", 1e-3), ("bert", 5e-3), ("roberta", 2e-5)]
)
def test_a_tiny_models_numbers_are_kept(family, atol, tmp_path):
    model = tiny_model(family)
    export_keras_nlp(model, tmp_path / "preset")
    check_hidden_states_and_logits(model, tmp_path / "preset", atol)
    assert [p.name for p in tmp_path.iterdir()] == ["preset"]


def test_a_real_students_numbers_are_kept(shared, tmp_path):
    model = build_student(load_model(shared / "models" / "bert-mini-en"))
    export_keras_nlp(model, tmp_path / "preset")
    check_hidden_states_and_logits(model, tmp_path / "preset", atol=2e-4)


@pytest.mark.slow
def test_every_class_of_keras_nlps_opens_it(tmp_path):
    model = tiny_model("distilbert")
    export_keras_nlp(model, tmp_path / "preset")
    folder, models = str(tmp_path / "preset"), keras_nlp.models
    inputs = random_inputs(model)
    expected = model.hidden_states(inputs)[-1]
    taken = {name: inputs[name] for name in ("token_ids", "padding_mask")}
    task = models.DistilBertMaskedLM.from_preset(folder)
    classifier = models.DistilBertTextClassifier.from_preset(folder, num_classes=2)
    # A preset keeps the settings of one preprocessor, the masked-LM task's; others have 512.
    classifier.preprocessor.sequence_length = 32
    backbone = models.DistilBertBackbone.from_preset(folder)
    for opened in (task.backbone, classifier.backbone, backbone):
        np.testing.assert_allclose(opened(taken), expected, rtol=0, atol=2e-5)
    assert classifier.predict(["paris is a city ."], verbose=0).shape == (1, 2)
    tokenizer = models.DistilBertTokenizer.from_preset(folder)
    assert list(tokenizer.get_vocabulary()) == tiny.VOCABULARY
    assert (tokenizer.lowercase, tokenizer.strip_accents) == (True, True)
    preprocessor = models.DistilBertMaskedLMPreprocessor.from_preset(folder)
    features, _, _ = preprocessor(["paris is the capital of france ."])
    assert features["token_ids"].shape == (1, 32)
    assert features["mask_positions"].shape == (1, 6)
    assert np.isfinite(task.evaluate(tiny.SENTENCES, verbose=0)[0])


def test_texts_become_the_same_tokens(tmp_path):
    model = tiny_model("distilbert")
    export_keras_nlp(model, tmp_path / "preset")
    theirs = keras_nlp.models.DistilBertTokenizer.from_preset(str(tmp_path / "preset"))
    for text in ("Par\u00eds is [MASK] ?", "the seas, speaking", "unknown", "\u4e00 one"):
        expected = model.tokenizer.tokenize([text]).to_list()[0]
        assert np.asarray(theirs(text)).tolist() == expected, text


@pytest.mark.parametrize("lower_case", [True, False])
def test_settings_of_the_tokenizer_are_kept(lower_case, tmp_path):
    model = tiny_model("distilbert")
    model.tokenizer = WordPieceTokenizer(
        tiny.VOCABULARY, lower_case, strip_accents=not lower_case, split_chinese=False
    )
    export_keras_nlp(model, tmp_path / "preset")
    assert load_preset(tmp_path / "preset").tokenizer.sha256 == model.tokenizer.sha256
    theirs = keras_nlp.models.DistilBertTokenizer.from_preset(str(tmp_path / "preset"))
    assert (theirs.lowercase, theirs.strip_accents) == (lower_case, not lower_case)
    assert not theirs.split_on_cjk


def test_architecture_is_kept(tmp_path):
    model = tiny_model("bert")
    export_keras_nlp(model, tmp_path / "preset")
    assert as_model(load_preset(tmp_path / "preset")).architecture == model.architecture.__class__(
        **{**vars(model.architecture), "initializer_range": 0.02}
    )
    config = json.loads((tmp_path / "preset" / "config.json").read_text())
    assert config["registered_name"].endswith(">BertBackbone")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"family": "distilbert", "num_segments": 0, "activation": "gelu_tanh"}, "only the erf"),
        ({"family": "bert", "activation": "gelu"}, "keras-nlp's Bert knows only the tanh form"),
        ({"family": "bert", "activation": "relu"}, "activation is relu"),
        (
            {"family": "bert", "activation": "gelu_tanh", "layer_norm_epsilon": 1e-5},
            "layer_norm_epsilon is 1e-05",
        ),
        ({"family": "bert", "activation": "gelu_tanh", "num_segments": 0}, "num_segments 0"),
        ({"family": "roberta", "num_segments": 1}, "layer_norm_epsilon is 1e-12"),
    ],
)
def test_what_keras_nlp_cannot_express_is_refused(sizes, message, tmp_path):
    refused(tiny.model(**sizes), tmp_path / "preset", message)
    assert not list(tmp_path.iterdir())


def test_without_the_familys_own_tokenizer_it_is_refused(tmp_path):
    model = tiny_model("distilbert")
    model.tokenizer = None
    refused(model, tmp_path / "preset", "tokenizer is a NoneType")
    model.tokenizer = tiny.byte_pair_tokenizer()
    refused(model, tmp_path / "preset", "is a BytePairTokenizer; keras-nlp's DistilBert has none")


def test_a_folder_in_use_is_refused_an_empty_one_is_not(tmp_path):
    model = tiny_model("distilbert")
    (tmp_path / "preset").mkdir()
    export_keras_nlp(model, tmp_path / "preset")
    refused(model, tmp_path / "preset", "exists already")
    (tmp_path / "file").touch()
    refused(model, tmp_path / "file", "exists already")


def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras_nlp.models.DistilBertMaskedLM, "save_to_preset", full)
    refused(tiny_model("distilbert"), tmp_path / "preset", "No space left")
    assert not list(tmp_path.iterdir())


def refused(model, output, message):
    with pytest.raises(UserError, match=message) as error:
        export_keras_nlp(model, output)
    assert "\n" not in str(error.value)


def test_a_robertas_texts_become_the_same_tokens(tmp_path):
    model = tiny_model("roberta")
    export_keras_nlp(model, tmp_path / "preset")
    theirs = keras_nlp.models.RobertaTokenizer.from_preset(str(tmp_path / "preset"))
    texts = ["the cat, the caf\u00e9", "a  cat\n\u4e2d"]
    ids = [np.asarray(row).tolist() for row in theirs(texts)]
    assert ids == model.tokenizer.tokenize(texts).to_list()


def test_the_command_line_exports(tmp_path, capsys):
    save_model(tiny_model("distilbert"), tmp_path / "model")
    words = ["export", "--model", str(tmp_path / "model"), "--format", "keras_nlp"]
    assert main([*words, "--output", str(tmp_path / "preset")]) == 0
    assert "preset: 0.1 MB" in capsys.readouterr().out
    assert (tmp_path / "preset" / "README.md").exists()
    assert main([*words, "--output", str(tmp_path / "preset")]) == 2
    assert "exists already" in capsys.readouterr().err
