"""Japanese: MeCab and WordPiece give the very tokens of `transformers`."""

import json
import lzma
import pickle
import sys

import pytest

from tf_distilbert.errors import UserError
from tf_distilbert.tokenization.folder import read_tokenizer
from tf_distilbert.tokenization.japanese import JapaneseTokenizer
from tf_distilbert.tokenization.tokenizer import read_vocabulary

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "猫", "が", "好き", "だ", "。", "bert"]
MECAB = {"word_tokenizer_type": "mecab"}
HARD = [
    "",
    "ＡＢＣ１２３ｶﾀｶﾅ㍿",
    "猫が[MASK]だ。[SEP]犬",
    "a" * 101,
    "\u3000全角\u3000空白\u2028改行",
    "😀 絵文字\ufffd",
]


@pytest.fixture
def needs_mecab():
    pytest.importorskip("fugashi", reason="needs the extra `japanese`")
    for dictionary in ("ipadic", "unidic_lite"):
        pytest.importorskip(dictionary, reason="needs the extra `japanese`")


@pytest.mark.parity
@pytest.mark.parametrize("dictionary", ["ipadic", "unidic_lite"])
def test_the_ids_are_those_of_transformers_on_2000_lines(shared, needs_mecab, dictionary):
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    path = shared / "data" / "vocab" / "bert-base-japanese-vocab.txt"
    with lzma.open(shared / "data" / "japanese" / "aozora_ja.txt.xz", "rt", encoding="utf-8") as f:
        lines = [line for line in f.read().split("\n") if line][::10][:2000] + HARD
    assert len(lines) == 2000 + len(HARD)
    theirs = transformers.BertJapaneseTokenizer(
        str(path), do_lower_case=False, word_tokenizer_type="mecab",
        subword_tokenizer_type="wordpiece", mecab_kwargs={"mecab_dic": dictionary},
    )  # fmt: skip
    ours = JapaneseTokenizer(read_vocabulary(path), dictionary)
    expected = [theirs.encode(line, add_special_tokens=False) for line in lines]
    assert ours.tokenize(lines).to_list() == expected


def test_a_saved_tokenizer_is_the_same(tmp_path, needs_mecab):
    tokenizer = JapaneseTokenizer(VOCABULARY, "ipadic", lower_case=True)
    tokenizer.save(tmp_path, 512)
    again = read_tokenizer(tmp_path)
    assert again.sha256 == tokenizer.sha256
    assert again.encode("猫が[MASK]だ。BERT") == [2, 5, 6, 4, 8, 9, 10, 3]


def test_it_travels_to_other_processes(needs_mecab):
    tokenizer = JapaneseTokenizer(VOCABULARY, "ipadic", lower_case=True)
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.sha256 == tokenizer.sha256
    assert again.encode("猫が[MASK]だ。BERT") == [2, 5, 6, 4, 8, 9, 10, 3]


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fugashi", None)
    with pytest.raises(UserError, match=r"package fugashi.* pip install 'tf_distilbert\[japanese"):
        JapaneseTokenizer(VOCABULARY)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"word_tokenizer_type": "sudachi"}, "word_tokenizer_type 'sudachi' is not supported"),
        ({**MECAB, "subword_tokenizer_type": "character"}, "subword_tokenizer_type 'character'"),
        ({**MECAB, "mecab_kwargs": {"mecab_dic": "mine"}}, "MeCab dictionary 'mine': use one of"),
    ],
)
def test_other_ways_to_cut_japanese_are_refused(tmp_path, settings, message):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    config = {"tokenizer_class": "BertJapaneseTokenizer", **settings}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=message):
        read_tokenizer(tmp_path)
