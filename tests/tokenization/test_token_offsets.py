"""Where tokens stand in their text. No case is known where Hugging Face says otherwise."""

import resource
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from support.word_pieces import (
    ASSIGNED,
    HARD,
    INVALID,
    LETTERS,
    MAIN,
    ORDERED_MARKS,
    in_rows,
    parse,
    reference,
    spelling_vocabulary,
)
from tf_distilbert.tokenization.tokenizer import BERT_TOKENS, TokenSpans, read_vocabulary
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

CASED = (False, False, True)
# Accents kept though case is folded, and the other way round; Chinese is not split.
UNEVEN = [(True, False, True), (False, True, False)]

MARKED = [
    *(mark + "a" + mark for mark in ("\x01", "\x02", "\x03", "\x04", "\x01\x02")),
    "\x01MASK\x02 [\x01MASK] [MASK\x02] \x01[MASK]\x02 [[MASK]]",
    "é[MASK]中[SEP]🙂[CLS]a",
    "é\x01[MASK]\x02e\u0301 " + "中é" * 3 + "x" * 101 + " é[PAD]",
    ("é" * 101 + " a ") * 3 + "[MASK]" + "🙂" * 101 + "." + "𐐀" * 102,
    ("x" * 401 + ",") * 2 + "ab" + "y" * 100,
    "x" * 101,
    "中" + "ไ" * 101 + "中" + "ไ" * 100 + "中",
    "a" * 60 + "\xad" + "e\u0301" * 60 + " ab",
    "a##b ##a # #",
]


def assert_same(texts, vocabulary, settings=MAIN):
    tokenizer = WordPieceTokenizer(vocabulary, *settings)
    spans = tokenizer.tokenize_with_offsets(texts)
    assert spans.token_ids.to_list() == tokenizer.tokenize(texts).to_list()
    encodings = reference(vocabulary, settings).encode_batch(texts, add_special_tokens=False)
    wrong = []
    rows = zip(*(part.to_list() for part in spans), strict=True)
    for text, encoding, (ids, starts, ends) in zip(texts, encodings, rows, strict=True):
        offsets = list(zip(starts, ends, strict=True))
        if (ids, offsets) != (encoding.ids, encoding.offsets):
            wrong.append((text, encoding.tokens, encoding.offsets, offsets))
    assert not wrong, (len(wrong), wrong[:5])


# --- as Hugging Face ---


@pytest.mark.parametrize("settings", [MAIN, CASED, *UNEVEN])
def test_hard_strings(settings):
    texts = HARD + MARKED
    assert_same(texts, spelling_vocabulary(texts, settings), settings)
    assert_same(texts, LETTERS, settings)


@pytest.mark.parametrize("text", HARD + MARKED)
def test_a_text_by_itself(text, tokenizer):
    # Together with others it may take another way: all go by the hard one as soon as one must.
    together = tokenizer.tokenize_with_offsets([text, "x" * 101, text])
    alone = tokenizer.tokenize_with_offsets([text])
    for one, other in zip(together, alone, strict=True):
        assert one.to_list()[0] == one.to_list()[2] == other.to_list()[0]


@pytest.mark.parametrize("settings", [MAIN, CASED])
def test_every_character(settings):
    assert_same(in_rows([f"a{c}b" for c in ASSIGNED]), LETTERS, settings)


@pytest.mark.parametrize("settings", [MAIN, CASED])
def test_random_strings(settings):
    random = np.random.default_rng(4)
    # Where their order is changed the ids differ, see `test_word_piece.py`.
    marks = parse(ORDERED_MARKS) if settings[1] else set()
    blocks = [(0, 0x80), (0xA0, 0x600), (0, 0xD800), (0xE000, 0x10000), (0x10000, 0x110000)]
    pool = [chr(c) for low, high in blocks for c in random.integers(low, high, 500)]
    pool = [c for c in pool if c not in marks and not "\ud800" <= c < "\ue000"]
    pool += [*"    [].\u0301\u0323\u3000\u200d\x01\x02\x03", *BERT_TOKENS, "é" * 60] * 20
    texts = ["".join(random.choice(pool, random.integers(1, 40))) for _ in range(2000)]
    assert_same(texts, spelling_vocabulary(pool, settings), settings)


@pytest.mark.parametrize("kind", ["uncased", "cased"])
def test_english(shared, kind):
    vocabulary = read_vocabulary(shared / f"data/vocab/bert-base-{kind}-vocab.txt")
    content = (shared / "data/wiki_en/wiki_en_12mb.txt").read_text("utf-8")
    lower_case = kind == "uncased"
    assert_same(content.split("\n")[::9], vocabulary, (lower_case, lower_case, True))


def test_huge_texts():
    texts = [("a" * 100 + " ") * 1_000, ("ไ" * 101 + "中") * 500, "é[MASK]" * 10_000]
    assert_same(texts, LETTERS)


# --- by themselves ---


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer(spelling_vocabulary(HARD + MARKED, MAIN))


def test_the_piece_of_text_is_the_token():
    texts = ["Łódź [MASK] 中文x, naïve a🙂b", "", "x" * 101 + "é."]
    tokenizer = WordPieceTokenizer(spelling_vocabulary(texts, CASED), *CASED)
    for text, ids, starts, ends in zip(
        texts, *(part.to_list() for part in tokenizer.tokenize_with_offsets(texts)), strict=True
    ):
        pieces = [text[start:end] for start, end in zip(starts, ends, strict=True)]
        tokens = [tokenizer.vocabulary[i].removeprefix("##") for i in ids]
        assert pieces == (tokens if len(text) < 100 else ["x" * 101 + "é", "."])


def test_bytes_that_are_not_utf8(tokenizer):
    random = np.random.default_rng(5)
    alphabet = np.frombuffer(b"ab [\x01\x02\x80\xbf\xc0\xc3\xa9\xe3\x81\xf0\x9f\xff", "u1")
    texts = [*INVALID, *(row.tobytes() for row in random.choice(alphabet, (3000, 12)))]
    texts += [random.bytes(size) for size in range(0, 2000, 7)]
    texts += [b"[MASK]".join(random.choice(texts, 5)) for _ in range(300)]
    spans = tokenizer.tokenize_with_offsets(texts)
    assert spans.token_ids.to_list() == tokenizer.tokenize(texts).to_list()
    rows = spans.starts.value_rowids().numpy()
    starts, ends = spans.starts.values.numpy(), spans.ends.values.numpy()
    sizes = np.array([sum(b & 0xC0 != 0x80 or not i for i, b in enumerate(t)) for t in texts])
    assert (starts >= 0).all() and (starts < ends).all() and (ends <= sizes[rows]).all()


def test_a_text_that_begins_inside_a_character(tokenizer):
    spans = tokenizer.tokenize_with_offsets([b"a\x80", b"\x81\x80a \x80\xc3\xa9b", b"\xffa"])
    assert spans.starts.to_list() == [[0], [1, 3, 4], [1]]
    assert spans.ends.to_list() == [[1], [2, 4, 5], [2]]


@pytest.mark.parametrize("texts", [[], [""], ["", " \t", "\xad", ""]])
def test_nothing(tokenizer, texts):
    spans = tokenizer.tokenize_with_offsets(texts)
    assert isinstance(spans, TokenSpans)
    for part in spans:
        assert part.to_list() == [[]] * len(texts)
        assert part.dtype == tf.int32


def test_nothing_between_texts(tokenizer):
    spans = tokenizer.tokenize_with_offsets(["", "éa", "", " [MASK]é", "", ""])
    assert spans.starts.to_list() == [[], [0, 1], [], [1, 7], [], []]
    assert spans.ends.to_list() == [[], [1, 2], [], [7, 8], [], []]


def test_a_megabyte(tokenizer):
    text = "é [MASK] ab. " * 71_500
    assert len(text.encode()) > 1_000_000
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    spans = tokenizer.tokenize_with_offsets([text])
    assert time.process_time() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB
    assert spans.starts.row_lengths().numpy().tolist() == [71_500 * 5]
    assert spans.ends.values[-1] == len(text) - 1


# --- in a graph ---


def test_function(tokenizer):
    signature = [tf.TensorSpec([None], tf.string)]
    function = tf.function(tokenizer.tokenize_with_offsets, input_signature=signature)
    found, expected = function(tf.constant(HARD)), tokenizer.tokenize_with_offsets(HARD)
    assert isinstance(found, TokenSpans)
    assert [part.to_list() for part in found] == [part.to_list() for part in expected]


def test_dataset(tokenizer):
    dataset = tf.data.Dataset.from_tensor_slices(HARD).batch(7)
    spans = list(dataset.map(tokenizer.tokenize_with_offsets, 2))
    expected = tokenizer.tokenize_with_offsets(HARD)
    for name in TokenSpans._fields:
        rows = [row for batch in spans for row in getattr(batch, name).to_list()]
        assert rows == getattr(expected, name).to_list()


LOAD = """
import sys
import tensorflow as tf, tensorflow_text
spans = tf.saved_model.load(sys.argv[1]).spans
texts = open(sys.argv[2], "rb").read().split(b"|||")
found = spans(tf.constant(texts))
print([part.to_list() for part in (found.token_ids, found.starts, found.ends)])
print(spans(tf.constant([], tf.string)).starts.to_list())
assert not any(name.startswith("tf_distilbert") for name in sys.modules)
"""


def test_saved_model(tokenizer, tmp_path):
    module = tf.Module()
    signature = [tf.TensorSpec([None], tf.string)]
    module.spans = tf.function(tokenizer.tokenize_with_offsets, input_signature=signature)
    tf.saved_model.save(module, str(tmp_path / "model"))
    texts = HARD + MARKED
    (tmp_path / "texts").write_bytes("|||".join(texts).encode())
    command = [sys.executable, "-c", LOAD, tmp_path / "model", tmp_path / "texts"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    expected = [part.to_list() for part in tokenizer.tokenize_with_offsets(texts)]
    assert result.stdout.splitlines() == [str(expected), "[]"]
