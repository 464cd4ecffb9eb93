"""Byte-level BPE: RoBERTa's own ids, masks written in a text, and the folder it is kept in."""

import json
import pickle

import numpy as np
import pytest

from support import tiny
from tf_distilbert.data.packing import mark_kinds
from tf_distilbert.errors import UserError
from tf_distilbert.tokenization.folder import read_tokenizer

HARD = [
    "",
    " ",
    "Hello  world\n\nnew\tline",
    "it's we'll I'D 3.14 10,000",
    "caf\u00e9 \u00df \u4e2d\u6587 \U0001f468\u200d\U0001f469 \u2028 \ufffd \x00\x07",
    "a<mask>b, <mask> and  <mask>.",
    "<s>not a start</s><pad><unk>",
    "x" * 300,
]


@pytest.fixture
def roberta(shared, tmp_path):
    vocab = shared / "data" / "vocab"
    (tmp_path / "vocab.json").write_bytes((vocab / "roberta-vocab.json").read_bytes())
    (tmp_path / "merges.txt").write_bytes((vocab / "roberta-merges.txt").read_bytes())
    return read_tokenizer(tmp_path)


def test_known_ids(roberta):
    assert roberta.encode("Paris is in <mask>.") == [0, 32826, 16, 11, 50264, 4, 2]
    assert roberta.special_ids == (1, 3, 0, 2, 50264)
    assert [roberta.surface_forms[i] for i in (32826, 16, 50264)] == ["Paris", " is", "<mask>"]


@pytest.mark.slow
@pytest.mark.parity
def test_the_ids_are_those_of_transformers_on_all_of_the_wikipedia_sample(shared, roberta):
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    vocab = shared / "data" / "vocab"
    merges = (vocab / "roberta-merges.txt").read_text().split("\n")[1:-1]
    theirs = transformers.RobertaTokenizer(
        json.loads((vocab / "roberta-vocab.json").read_text()),
        [tuple(line.split(" ")) for line in merges],
        mask_token=transformers.AddedToken("<mask>", lstrip=True, special=True),
    )
    text = (shared / "data" / "wiki_en" / "wiki_en_12mb.txt").read_text(encoding="utf-8")
    lines = [*text.split("\n"), *HARD]
    expected = theirs(lines, add_special_tokens=False)["input_ids"]
    assert roberta.tokenize(lines).to_list() == expected


def test_a_saved_tokenizer_is_the_same(tmp_path):
    tokenizer = tiny.byte_pair_tokenizer()
    tokenizer.save(tmp_path, 30)
    again = read_tokenizer(tmp_path)
    assert again.sha256 == tokenizer.sha256 and again.settings["kind"] == "BytePair"
    assert again.encode("the cat <mask>.") == tokenizer.encode("the cat <mask>.")
    assert tiny.byte_pair_tokenizer(add_prefix_space=True).sha256 != tokenizer.sha256


def test_it_travels_to_other_processes():
    tokenizer = tiny.byte_pair_tokenizer(add_prefix_space=True, mask_takes_space=False)
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.sha256 == tokenizer.sha256
    assert again.encode("the cat <mask>.") == tokenizer.encode("the cat <mask>.")


def test_tokenizer_json_alone_is_enough(tmp_path):
    tokenizer = tiny.byte_pair_tokenizer(add_prefix_space=True)
    tokenizer._library.save(str(tmp_path / "tokenizer.json"))
    assert read_tokenizer(tmp_path).sha256 == tokenizer.sha256


def test_bytes_that_are_no_text(tmp_path):
    [ids] = tiny.byte_pair_tokenizer().tokenize([b"the \xff cat"]).to_list()
    assert ids == tiny.byte_pair_tokenizer().tokenize(["the \ufffd cat"]).to_list()[0]


def test_sentence_ends_are_known_by_what_tokens_look_like():
    forms = [".", " .", '."', "...", '"', ' "', ")", " the", "3.", " \u3002"]
    other, end, closing = 0, 1, 2
    kinds = mark_kinds(forms, with_spaces=True)
    np.testing.assert_array_equal(
        kinds, [end, end, end, end, closing, other, closing, other, other, end]
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "merges.txt").unlink(), "merges.txt: missing"),
        (lambda f: (f / "vocab.json").unlink(), "vocab.json: missing"),
        (lambda f: (f / "vocab.json").write_text("[1]"), "vocab.json: holds no JSON object"),
        (lambda f: (f / "vocab.json").write_text('{"a": 0}'), "lacks <pad>, <unk>"),
        (lambda f: (f / "merges.txt").write_text("q q q\n"), "merge 'q q q' does not fit"),
        (lambda f: (f / "merges.txt").write_text("qq zz\n"), "merge 'qq zz' does not fit"),
        (lambda f: (f / "merges.txt").write_bytes(b"\xff"), "merges.txt: not UTF-8"),
    ],
)
def test_a_broken_folder_is_refused_in_one_line(tmp_path, damage, message):
    tiny.byte_pair_tokenizer().save(tmp_path, 30)
    damage(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        read_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parity
def test_offsets_are_those_of_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer = tiny.byte_pair_tokenizer()
    tokenizer.save(tmp_path, 32)
    theirs = transformers.RobertaTokenizerFast.from_pretrained(tmp_path)
    texts = [
        "the cat is <mask> the the.",
        " a  b",
        "",
        "na\u00efve\n\nyes \U0001f642 x",
        "\u6771\u4eac",
    ]
    for text in texts:
        spans = tokenizer.tokenize_with_offsets([text])
        expected = theirs(text, add_special_tokens=False, return_offsets_mapping=True)
        assert spans.token_ids.to_list() == [expected["input_ids"]]
        found = list(zip(spans.starts.to_list()[0], spans.ends.to_list()[0], strict=True))
        assert found == [tuple(pair) for pair in expected["offset_mapping"]], text
