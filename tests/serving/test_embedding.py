"""`embed`: every text its own vector, whatever goes with it."""

import numpy as np
import pytest

from support import tiny
from support.task_model import task_model
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.serving import embedding
from tf_distilbert.serving.embedding import embed

TEXTS = [*tiny.SENTENCES, "", "paris", " ".join(tiny.SENTENCES)]


@pytest.fixture(scope="module")
def model():
    return task_model("embedding", "bert", prompts={"query": "the city "}, max_length=20)


def test_a_text_gets_the_vector_that_it_has_alone(model, monkeypatch):
    alone = np.concatenate([embed([text], model) for text in TEXTS])
    assert len(np.unique(alone.round(4), axis=0)) == len(TEXTS)
    for at_once in (3, 100):
        monkeypatch.setattr(embedding, "_TEXTS_AT_ONCE", at_once)
        for size in (1, 4, 100):
            found = embed(TEXTS, model, batch_size=size)
            np.testing.assert_allclose(found, alone, atol=1e-6)


def test_a_prompt_comes_first(model):
    found = embed(TEXTS, model, prompt="query")
    np.testing.assert_array_equal(found, embed([f"the city {text}" for text in TEXTS], model))
    assert np.abs(found - embed(TEXTS, model)).max() > 0.01


def test_a_folder_is_a_model(model, tmp_path):
    save_model(model, tmp_path / "model")
    np.testing.assert_array_equal(embed(TEXTS, tmp_path / "model"), embed(TEXTS, model))


def test_no_text_has_no_vector(model):
    assert embed([], model).shape == (0, 16)


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ("a text", {}, r"^texts is one string; give a list of texts$"),
        (["a", None], {}, r"^texts: None is no text; give strings$"),
        (["a"], {"batch_size": 0}, r"^batch_size is 0; it must be above 0$"),
        (["a"], {"prompt": "title"}, r"^prompt 'title': is none of the model's prompts: query$"),
    ],
)
def test_what_cannot_be_embedded(model, texts, options, message):
    with pytest.raises(UserError, match=message):
        embed(texts, model, **options)
