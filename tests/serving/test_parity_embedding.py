"""Vectors of texts, against sentence-transformers in PyTorch, which reads the same folders."""

import numpy as np
import pytest

from support import parity, tiny
from support.task_model import task_model
from tf_distilbert.model_files.folder import load_task_model, save_model
from tf_distilbert.models.sentence_encoder import POOLINGS
from tf_distilbert.serving.embedding import embed

sentence_transformers = pytest.importorskip(
    "sentence_transformers", reason="needs the extra `parity`"
)
pytestmark = pytest.mark.parity
SECTION = "Vectors of sentence encoders"
AGAINST = "sentence-transformers, float32"
TOLERANCE = 1e-5
TEXTS = [
    "Paris is the capital of France .",
    "",
    "a",
    "Pârïs — 中文 [MASK] [SEP] 🙂 rome",
    " ".join(reversed(tiny.SENTENCES)),  # longer than the model's 32 positions
    *tiny.SENTENCES,
]
DENSE = {"projection_size": 5, "projection_activation": "tanh"}
KINDS = {
    **{pooling: {"pooling": pooling} for pooling in POOLINGS},
    "normalised": {"normalize": True},
    "cut at 9 tokens": {"max_length": 9, "normalize": True},
    "projected": {**DENSE, "normalize": True},
    "projected without bias": {"projection_size": 20, "projection_bias": False},
    "prompted": {"prompts": {"query": "the city "}, "default_prompt": "query"},
}


def theirs(folder):
    return sentence_transformers.SentenceTransformer(str(folder), device="cpu")


def assert_equal_vectors(found, expected, what):
    assert found.shape == expected.shape and found.dtype == "float32"
    assert np.abs(expected[0] - expected[4]).max() > 0.01  # not all one vector
    parity.at_most(SECTION, what, AGAINST, np.abs(found - expected).max(), TOLERANCE)


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
@pytest.mark.parametrize("kind", KINDS)
def test_our_folder_gives_our_vectors_there(tmp_path, family, kind):
    model = task_model("embedding", family, **KINDS[kind])
    save_model(model, tmp_path / "model")
    assert_equal_vectors(embed(TEXTS, model), theirs(tmp_path / "model").encode(TEXTS), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_their_folder_gives_their_vectors_here(tmp_path, kind):
    save_model(task_model("embedding", "bert", **KINDS[kind]), tmp_path / "ours")
    model = theirs(tmp_path / "ours")
    model.save(str(tmp_path / "theirs"))
    found = load_task_model(tmp_path / "theirs")
    assert_equal_vectors(embed(TEXTS, found), model.encode(TEXTS), f"{kind}, written there")


def test_a_prompt_by_its_name(tmp_path):
    model = task_model("embedding", "bert", prompts={"query": "the city ", "passage": "of "})
    save_model(model, tmp_path / "model")
    for name in ("query", "passage"):
        expected = theirs(tmp_path / "model").encode(TEXTS, prompt_name=name)
        assert_equal_vectors(embed(TEXTS, model, prompt=name), expected, "prompts by name")


def test_a_folder_without_modules_gives_the_mean(tmp_path):
    save_model(task_model("encoder", "bert"), tmp_path / "model")
    found = embed(TEXTS, tmp_path / "model")
    assert_equal_vectors(found, theirs(tmp_path / "model").encode(TEXTS), "no modules")
