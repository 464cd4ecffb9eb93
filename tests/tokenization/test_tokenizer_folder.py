"""Which tokenizer a folder has, whatever files say it; and what is refused."""

import json

import pytest
from tokenizers import BertWordPieceTokenizer, Tokenizer, models, normalizers, pre_tokenizers

from support import tiny
from tf_distilbert.errors import UserError
from tf_distilbert.tokenization.folder import read_tokenizer

VOCABULARY = {token: i for i, token in enumerate(tiny.VOCABULARY)}


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture
def folder(tmp_path):
    tiny.tokenizer().save(tmp_path, 32)
    (tmp_path / "tokenizer_config.json").unlink()
    return tmp_path


def fast(**options):
    return json.loads(BertWordPieceTokenizer(VOCABULARY, **options).to_str())


def settings(tokenizer):
    return tokenizer.lower_case, tokenizer.strip_accents, tokenizer.split_chinese


def test_the_settings_are_the_configs_else_tokenizer_jsons(folder):
    assert settings(read_tokenizer(folder)) == (True, True, True)
    options = {"lowercase": False, "strip_accents": True, "handle_chinese_chars": False}
    write(folder / "tokenizer.json", fast(**options))
    assert settings(read_tokenizer(folder)) == (False, True, False)
    write(folder / "tokenizer_config.json", {"do_lower_case": True})
    assert settings(read_tokenizer(folder)) == (True, True, False)
    (folder / "vocab.txt").unlink()
    assert settings(read_tokenizer(folder)) == (True, True, False)


def test_capitals_in_angle_brackets_are_no_capitals(folder):
    text = (folder / "vocab.txt").read_text()
    (folder / "vocab.txt").write_text(text + "<S>\n[unused1A]\n")
    assert read_tokenizer(folder).lower_case
    (folder / "vocab.txt").write_text(text + "Paris\n")
    assert not read_tokenizer(folder).lower_case


def test_a_class_that_config_json_names(folder):
    """As Japanese BERTs on the Hub have it."""
    write(folder / "config.json", {"tokenizer_class": "BertJapaneseTokenizer"})
    write(folder / "tokenizer_config.json", {"word_tokenizer_type": "sudachi"})
    with pytest.raises(UserError, match="word_tokenizer_type 'sudachi' is not supported"):
        read_tokenizer(folder)


@pytest.mark.parametrize("lstrip", [True, False])
def test_the_space_before_a_mask_goes_where_tokenizer_json_says(tmp_path, lstrip):
    tokenizer = tiny.byte_pair_tokenizer(mask_takes_space=lstrip)
    tokenizer._library.save(str(tmp_path / "tokenizer.json"))
    again = read_tokenizer(tmp_path)
    assert again.sha256 == tokenizer.sha256
    assert len(again.encode("the <mask>")) == (4 if lstrip else 5)
    (tmp_path / "tokenizer.json").unlink()
    tokenizer.save(tmp_path, 32)
    assert read_tokenizer(tmp_path).sha256 == tokenizer.sha256


def with_normalizer(normalizer):
    made = Tokenizer(models.WordPiece(VOCABULARY, unk_token="[UNK]"))
    made.normalizer = normalizer
    return json.loads(made.to_str())


def with_pre_tokenizer(pre_tokenizer):
    made = Tokenizer(models.WordPiece(VOCABULARY, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizer
    return json.loads(made.to_str())


def changed(**changes):
    content = fast()
    content["model"] |= changes
    return content


REFUSED = {
    "a foreign class": (
        {"tokenizer_config.json": {"tokenizer_class": "AlbertTokenizer"}},
        "tokenizer_class AlbertTokenizer is not supported",
    ),
    "no basic tokenisation": (
        {"tokenizer_config.json": {"do_basic_tokenize": False}},
        "do_basic_tokenize is not supported",
    ),
    "case is null": ({"tokenizer_config.json": {"do_lower_case": None}}, "do_lower_case is None"),
    "case is text": ({"tokenizer_config.json": {"do_lower_case": "no"}}, "do_lower_case is 'no'"),
    "another normalizer": (
        {"tokenizer.json": with_normalizer(normalizers.NFKC())},
        "its tokenizer has NFKC, which is not supported",
    ),
    "another splitter": (
        {"tokenizer.json": with_pre_tokenizer(pre_tokenizers.Whitespace())},
        "its tokenizer has Whitespace, which is not supported",
    ),
    "ids with gaps": (
        {"tokenizer.json": changed(vocab={t: 2 * i for t, i in VOCABULARY.items()})},
        "ids of its vocabulary are not 0, 1, 2",
    ),
    "ids as text": (
        {"tokenizer.json": changed(vocab={t: str(i) for t, i in VOCABULARY.items()})},
        "ids of its vocabulary are not 0, 1, 2",
    ),
    "an added token": (
        {"tokenizer.json": fast() | {"added_tokens": [{"content": "<extra>", "id": 47}]}},
        "its tokenizer has <extra>, which is not supported",
    ),
    "a normalizer that is text": (
        {"tokenizer.json": fast() | {"normalizer": "lower"}},
        "not in the form of a tokenizer's",
    ),
    "no model": ({"tokenizer.json": {"version": "1.0"}}, "not in the form of a tokenizer's"),
    "a special token twice": (
        {"vocab.txt": "\n".join([*tiny.VOCABULARY, "[MASK]"])},
        r"vocab\.txt: has \[MASK\] twice",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_none_of_ours_is_refused_in_one_line(folder, case):
    files, message = REFUSED[case]
    if "tokenizer.json" in files:
        (folder / "vocab.txt").unlink()
    for name, content in files.items():
        write(folder / name, content)
    with pytest.raises(UserError, match=message) as caught:
        read_tokenizer(folder)
    assert "\n" not in str(caught.value)
