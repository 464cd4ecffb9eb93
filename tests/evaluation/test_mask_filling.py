"""Filling blanks: the right places, the right order, special tokens in the text."""

import numpy as np
import pytest

from support import tiny
from tf_distilbert.errors import UserError
from tf_distilbert.evaluation.fill_mask import fill_mask


def logits_at(model, text, place):
    sequence = np.array([model.tokenizer.encode(text)], np.int32)
    inputs = {
        "token_ids": sequence,
        "padding_mask": np.ones_like(sequence, bool),
        "mask_positions": np.array([[place]], np.int32),
    }
    return model(inputs).numpy()[0, 0].astype(float)


def test_special_tokens_written_in_a_text_are_recognised():
    tokens = tiny.tokenizer().encode("Paris [MASK] the capital[SEP]of [MASK].")
    words = [tiny.VOCABULARY[token] for token in tokens]
    expected = ["[CLS]", "paris", "[MASK]", "the", "capital", "[SEP]", "of", "[MASK]", "."]
    assert words == [*expected, "[SEP]"]
    assert [tiny.VOCABULARY[t] for t in tiny.tokenizer().encode("")] == ["[CLS]", "[SEP]"]


def test_each_blank_of_each_text_gets_its_own_guesses_alone_or_in_a_batch():
    model = tiny.model()
    texts = ["paris is the capital of [MASK] .", "[MASK] is in [MASK]", "the [MASK]"]
    answers = fill_mask(model, texts, top_k=3)
    assert [len(blanks) for blanks in answers] == [1, 2, 1]
    places = [[6], [1, 4], [2]]
    for text, blanks, where in zip(texts, answers, places, strict=True):
        for guesses, place in zip(blanks, where, strict=True):
            logits = logits_at(model, text, place)
            probabilities = np.exp(logits) / np.exp(logits).sum()
            best = np.argsort(-probabilities)[:3]
            assert [guess.token for guess in guesses] == [tiny.VOCABULARY[i] for i in best]
            assert [guess.probability for guess in guesses] == pytest.approx(
                list(probabilities[best]), rel=1e-4
            )


def test_no_texts_no_answers():
    assert fill_mask(tiny.model(), []) == []


def test_a_text_without_a_blank_is_refused():
    with pytest.raises(UserError, match="'paris': has no \\[MASK\\]"):
        fill_mask(tiny.model(), ["[MASK]", "paris"])


def test_a_text_beyond_the_positions_is_refused():
    with pytest.raises(UserError, match="has 43 tokens, the model has 32 positions"):
        fill_mask(tiny.model(), ["[MASK] " + "the " * 40])


def test_the_real_english_teacher_knows_words(shared):
    from tf_distilbert.model_files.folder import load_model

    model = load_model(shared / "models" / "bert-mini-en")
    [[guesses]] = fill_mask(model, ["one of the most [MASK] in the world"])
    assert {"popular", "important", "famous"} & {guess.token for guess in guesses}
