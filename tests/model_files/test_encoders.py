"""A new masked-LM head on an encoder that has none, alone and in a run of `pretrain`."""

import json
import math
import re

import numpy as np
import pytest
from rich.console import Console

from support import tiny
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.jobs import PretrainConfig
from tf_distilbert.data.records import Records
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.encoders import load_to_pretrain
from tf_distilbert.model_files.folder import copy_encoder, load_model, save_model
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.models.task_models import SequenceClassifier
from tf_distilbert.runs.logs import read_log
from tf_distilbert.runs.train import pretrain


def headless(kind, tmp_path, family="bert"):
    """The folder of an encoder without a masked-LM head, and the model that it was cut off."""
    whole = tiny.roberta(seed=3) if family == "roberta" else tiny.model(seed=3)
    made = EncoderModel if kind == "encoder" else SequenceClassifier
    settings = {} if kind == "encoder" else {"labels": ("bad", "good")}
    model = made(whole.architecture, tokenizer=whole.tokenizer, **settings)
    copy_encoder(whole.encoder, model)
    save_model(model, tmp_path / "headless")
    return tmp_path / "headless", whole


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("kind", ["encoder", "classifier"])
def test_the_new_head_begins_as_the_identity(kind, family, tmp_path):
    folder, whole = headless(kind, tmp_path, family)
    model, has_new_head = load_to_pretrain(folder)
    assert has_new_head and model.tokenizer.sha256 == whole.tokenizer.sha256
    hidden = np.asarray(whole.hidden_states(tiny.batch()[0])[-1], "float64").reshape(-1, 16)
    # The published head: dense, GELU, LayerNorm, then the word table; the dense layer does nothing.
    erf = np.vectorize(math.erf)
    activated = hidden * 0.5 * (1 + erf(hidden / np.sqrt(2)))
    centred = activated - activated.mean(-1, keepdims=True)
    epsilon = whole.architecture.layer_norm_epsilon
    normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    expected = normed @ np.asarray(whole.encoder.token_table.value, "float64").T
    np.testing.assert_allclose(model.logits(hidden.astype("float32")), expected, atol=1e-4)


def test_a_head_that_is_there_is_kept(tmp_path):
    whole = tiny.model(seed=3)
    save_model(whole, tmp_path / "whole")
    model, has_new_head = load_to_pretrain(tmp_path / "whole")
    assert not has_new_head
    np.testing.assert_array_equal(tiny.weights(model), tiny.weights(whole))


def test_a_folder_that_says_nothing_is_known_by_its_tensors(tmp_path):
    folder, _ = headless("encoder", tmp_path)
    save_model(tiny.model(seed=3), tmp_path / "whole")
    for path, is_new in ((folder, True), (tmp_path / "whole", False)):
        config = json.loads((path / "config.json").read_text())
        del config["architectures"]
        (path / "config.json").write_text(json.dumps(config))
        assert load_to_pretrain(path)[1] is is_new


def test_a_masked_lm_folder_that_lost_its_head_is_refused(tmp_path):
    folder, _ = headless("encoder", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["BertForMaskedLM"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="has no masked-LM head"):
        load_to_pretrain(folder)


def test_a_run_begins_with_the_words_frequencies_and_says_so(tmp_path, capsys):
    folder, _ = headless("encoder", tmp_path)
    tiny.write_text(tmp_path / "text.txt")
    values = tiny.run_settings(tmp_path, "run", steps=2, learning_rate=1e-30)
    values["initialize_from"] = str(folder)
    del values["teacher"]
    config = parse_config(PretrainConfig, values)
    path = pretrain(config, Console(stderr=True, width=500))
    said = capsys.readouterr().err
    assert re.search(r"headless: has no masked-LM head; a new one is trained, which begins w", said)
    model = load_model(path)
    [records] = [p.parent for p in (tmp_path / "run-data").glob("train-*/manifest.json")]
    counts = Records.open(records).token_counts + 1.0
    expected = np.log(counts / counts.sum())
    np.testing.assert_allclose(model.head.output_bias.value, expected, atol=1e-5)
    np.testing.assert_allclose(model.head.transform.kernel.value, np.eye(16), atol=1e-6)
    assert read_log(path.parent, "validation")[0]["mlm_loss"] > 0
    # Resumed, it is not said again, and the trained head stays.
    values["train"] |= {"resume": "auto", "steps": 3}
    pretrain(parse_config(PretrainConfig, values), Console(stderr=True, width=500))
    assert "has no masked-LM head" not in capsys.readouterr().err
