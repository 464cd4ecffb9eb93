"""Tokenizers travel: by Keras's configurations, by JSON, by pickle."""

import inspect
import json
import pickle

import keras
import pytest

from support import tiny
from tf_distilbert.tokenization.japanese import JapaneseTokenizer
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

VOCABULARY = [*tiny.VOCABULARY, "Paris", "é", "e", "猫", "犬", "##猫", "が", "好き"]
TEXTS = ["Paris is É [MASK].", "paris  ones 猫犬", "the cats<mask> thé", "猫が好き", ""]


def keras_round_trip(tokenizer):
    config = json.dumps(keras.saving.serialize_keras_object(tokenizer))
    return keras.saving.deserialize_keras_object(json.loads(config))


def pickle_round_trip(tokenizer):
    return pickle.loads(pickle.dumps(tokenizer))


def config_round_trip(tokenizer):
    return type(tokenizer).from_config(tokenizer.get_config())


@pytest.mark.parametrize("travel", [keras_round_trip, pickle_round_trip, config_round_trip])
class TestTravels:
    def check(self, travel, tokenizer):
        again = travel(tokenizer)
        assert type(again) is type(tokenizer) and again is not tokenizer
        assert again.sha256 == tokenizer.sha256
        assert again.special_ids == tokenizer.special_ids
        assert again.tokenize(TEXTS).to_list() == tokenizer.tokenize(TEXTS).to_list()
        assert travel(again).get_config() == again.get_config()

    @pytest.mark.parametrize(
        "settings", [(True, None, True), (True, False, False), (False, True, True)]
    )
    def test_word_piece(self, travel, settings):
        self.check(travel, WordPieceTokenizer(VOCABULARY, *settings))

    @pytest.mark.parametrize("add_prefix_space", [False, True])
    @pytest.mark.parametrize("mask_takes_space", [False, True])
    def test_byte_pair(self, travel, add_prefix_space, mask_takes_space):
        settings = {"add_prefix_space": add_prefix_space, "mask_takes_space": mask_takes_space}
        self.check(travel, tiny.byte_pair_tokenizer(**settings))

    def test_japanese(self, travel):
        pytest.importorskip("fugashi", reason="needs the extra `japanese`")
        pytest.importorskip("ipadic", reason="needs the extra `japanese`")
        settings = {"options": "-O wakati", "lower_case": True, "normalize": False}
        self.check(travel, JapaneseTokenizer(VOCABULARY, "ipadic", **settings))


def test_the_settings_of_these_tests_matter():
    """The texts above tell tokenizers apart that differ in one setting."""
    ids = [
        WordPieceTokenizer(VOCABULARY, *settings).tokenize(TEXTS).to_list()
        for settings in [(True, True, True), (False, True, True), (True, False, True)]
    ]
    ids.append(WordPieceTokenizer(VOCABULARY, True, True, False).tokenize(TEXTS).to_list())
    ids += [
        tiny.byte_pair_tokenizer(add_prefix_space=space).tokenize(TEXTS).to_list()
        for space in (False, True)
    ]
    assert all(ids.count(found) == 1 for found in ids)


def test_a_configuration_has_every_argument_by_its_name():
    for tokenizer in (WordPieceTokenizer(VOCABULARY, False), tiny.byte_pair_tokenizer()):
        arguments = list(inspect.signature(type(tokenizer)).parameters)
        assert list(tokenizer.get_config()) == arguments
    assert WordPieceTokenizer(tuple(VOCABULARY), False, True).get_config() == {
        "vocabulary": VOCABULARY,
        "lower_case": False,
        "strip_accents": True,
        "split_chinese": True,
    }


def test_a_configuration_is_a_copy():
    tokenizer = tiny.tokenizer()
    tokenizer.get_config().clear()
    assert pickle_round_trip(tokenizer).sha256 == tokenizer.sha256
