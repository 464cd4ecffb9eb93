import lzma
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text as tf_text

from support.word_pieces import (
    ASSIGNED,
    EVERY,
    HARD,
    INVALID,
    LETTERS,
    MAIN,
    ORDERED_MARKS,
    SETTINGS,
    in_rows,
    normalizer,
    parse,
    reference,
    spelling_vocabulary,
)
from tf_distilbert.tokenization.normalizer import bert_characters, normalizer_model
from tf_distilbert.tokenization.tokenizer import BERT_TOKENS, read_vocabulary
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer


def assert_same(texts, vocabulary, settings=MAIN):
    """Compare on texts: str, or bytes that need not be UTF-8."""
    encoded = [text.encode() if isinstance(text, str) else text for text in texts]
    decoded = [text.decode(errors="replace") for text in encoded]
    found = WordPieceTokenizer(vocabulary, *settings).tokenize(encoded).to_list()
    encodings = reference(vocabulary, settings).encode_batch(decoded, add_special_tokens=False)
    wrong = [
        (text, encoding.tokens, [vocabulary[i] for i in row])
        for text, encoding, row in zip(decoded, encodings, found, strict=True)
        if encoding.ids != row
    ]
    assert not wrong, (len(wrong), wrong[:5])


# --- one character ---


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_character_is_normalised_alike(settings):
    characters = bert_characters(*settings)
    model = np.frombuffer(normalizer_model(characters.replacements), np.uint8)
    ours = tf_text.FastBertNormalizer(model_buffer=tf.constant(model))
    back = str.maketrans({stand_in: c for c, stand_in in characters.stand_ins.items()})
    hugging_face = normalizer(*settings)
    expected = map(hugging_face.normalize_str, EVERY)
    found = ours.normalize(EVERY).numpy()
    for character, one, other in zip(EVERY, expected, found, strict=True):
        other = other.decode().translate(back)
        assert one.replace(" ", "") == other.replace(" ", ""), hex(ord(character))


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_character_splits_words_alike(settings):
    # The rest is not assigned to anything; one setting has it all.
    characters = EVERY if settings == MAIN else ASSIGNED
    inside = in_rows([f"a{c}b" for c in characters])
    assert_same(inside + in_rows([f"{c}b" for c in characters]), LETTERS, settings)


@pytest.mark.parametrize("settings", [s for s in SETTINGS if s[1]])
def test_the_order_of_marks_is_all_that_differs(settings):
    separator = "\u16a0"
    characters = [c for c in ASSIGNED if c != separator]

    def normalize(texts):
        text = normalizer(*settings).normalize_str(separator.join(texts))
        return [one.replace(" ", "") for one in text.split(separator)]

    alone, moving = normalize(characters), set()
    for mark in "\u302e\ua9c0\U0001d165\U0001d16d":
        for pair in ("{}" + mark, mark + "{}"):
            pairs = normalize(map(pair.format, characters))
            triples = zip(characters, alone, pairs, strict=True)
            moving |= {c for c, one, two in triples if one and two != pair.format(one)}
    assert moving == parse(ORDERED_MARKS)


# --- hard strings ---


@pytest.mark.parametrize("settings", SETTINGS)
def test_hard_strings(settings):
    assert_same(HARD, spelling_vocabulary(HARD, settings), settings)
    assert_same(HARD, LETTERS, settings)


@pytest.mark.parametrize("settings", [MAIN, (False, False, False)])
def test_bytes_that_are_not_utf8_are_left_out(settings):
    assert_same(INVALID, LETTERS, settings)
    random = np.random.default_rng(1)
    alphabet = np.frombuffer(
        b"ab [\x80\xbf\xc0\xc3\xe0\xe3\xed\xa0\x81\x9f\xf0\xf4\x90\x8f\xff", "u1"
    )
    rows = random.choice(alphabet, (20_000, 12))
    assert_same([row.tobytes() for row in rows], LETTERS, settings)


@pytest.mark.parametrize("settings", SETTINGS)
def test_random_strings(settings):
    random = np.random.default_rng(2)
    marks = parse(ORDERED_MARKS) if settings[1] else set()
    blocks = [(0x20, 0x7F), (0xA0, 0x600), (0, 0xD800), (0xE000, 0x10000), (0x10000, 0x34000)]
    pool = [chr(c) for low, high in blocks for c in random.integers(low, high, 700)]
    pool = [c for c in pool if c not in marks and not "\ud800" <= c < "\ue000"]
    pool += [*"    [].\u0301\u0323\u3000\u200d", *BERT_TOKENS] * 20
    vocabulary = spelling_vocabulary(pool, settings)
    texts = ["".join(random.choice(pool, random.integers(1, 40))) for _ in range(4000)]
    assert_same(texts, vocabulary, settings)


def test_vocabulary_with_odd_tokens():
    odd = ["", "##", "a", "[mask]", "\ue000mask", "\U000f0000", "##\U000f0000", "a.b", "é", "é"]
    vocabulary = [*BERT_TOKENS, *odd, "##é", "\U0002b820", "x\U0002b820", "..."]
    assert_same([*HARD, *odd, "\U0002b820 x\U0002b820 éé"], vocabulary, (False, False, True))


def test_it_travels_to_other_processes():
    tokenizer = WordPieceTokenizer(LETTERS, False, True, False)
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.sha256 == tokenizer.sha256
    assert again.encode("ab a b[MASK]") == tokenizer.encode("ab a b[MASK]")


@pytest.mark.slow
def test_huge_texts(capfd):
    texts = ["a" * 1_000_000, "a b" * 300_000, "é" * 500_000, ("a" * 100 + " ") * 10_000]
    texts += [("ไ" * 101 + "中") * 5_000, "[MASK]" * 100_000, "[" * 300_000]
    random = np.random.default_rng(3)
    texts += ["".join(random.choice(list("aéไ𐐀中𠀀."), 300_000, p=[0.24] * 4 + [0.02, 0.01, 0.01]))]
    assert_same(texts, LETTERS)
    assert "out of memory" not in capfd.readouterr().err


# --- real text ---


@pytest.mark.parametrize("kind", ["uncased", "cased"])
def test_english(shared, kind):
    vocabulary = read_vocabulary(shared / f"data/vocab/bert-base-{kind}-vocab.txt")
    lines = (shared / "data/wiki_en/wiki_en_12mb.txt").read_bytes().split(b"\n")
    lower_case = kind == "uncased"
    assert_same(lines, vocabulary, (lower_case, lower_case, True))


@pytest.mark.slow
def test_japanese(shared):
    vocabulary = read_vocabulary(shared / "data/vocab/bert-base-multilingual-cased-vocab.txt")
    with lzma.open(shared / "data/japanese/aozora_ja.txt.xz") as file:
        lines = file.read().split(b"\n")
    assert_same(lines, vocabulary, (False, False, True))


# --- in a graph ---


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer(spelling_vocabulary(HARD, MAIN))


def test_shapes(tokenizer):
    assert tokenizer.tokenize([]).to_list() == []
    assert tokenizer.tokenize(tf.constant([], tf.string)).to_list() == []
    assert tokenizer.tokenize(["", " "]).to_list() == [[], []]
    ids = tokenizer.tokenize(["a", "[MASK]"])
    assert ids.to_list() == [[tokenizer.vocabulary.index("a")], [tokenizer.mask_id]]
    assert ids.dtype == tf.int32
    assert tokenizer.encode("[MASK]") == [tokenizer.start_id, tokenizer.mask_id, tokenizer.end_id]


@pytest.mark.parametrize("shape", [[None], [len(HARD)]])
def test_function(tokenizer, shape):
    function = tf.function(tokenizer.tokenize, input_signature=[tf.TensorSpec(shape, tf.string)])
    assert function(tf.constant(HARD)).to_list() == tokenizer.tokenize(HARD).to_list()


def test_dataset(tokenizer):
    dataset = tf.data.Dataset.from_tensor_slices(HARD).batch(7).map(tokenizer.tokenize, 2)
    rows = [row for ids in dataset for row in ids.to_list()]
    assert rows == tokenizer.tokenize(HARD).to_list()


def test_threads(tokenizer):
    expected, found = tokenizer.tokenize(HARD).to_list(), []

    def work():
        found.extend(tokenizer.tokenize(tf.constant(HARD)).to_list() == expected for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 80


LOAD = """
import sys
import tensorflow as tf, tensorflow_text
tokenize = tf.saved_model.load(sys.argv[1]).tokenize
texts = open(sys.argv[2], "rb").read().split(b"|||")
print(tokenize(tf.constant(texts)).to_list())
assert not any(name.startswith("tf_distilbert") for name in sys.modules)
"""


def test_saved_model(tokenizer, tmp_path):
    module = tf.Module()
    module.tokenizer = tokenizer
    signature = [tf.TensorSpec([None], tf.string)]
    module.tokenize = tf.function(tokenizer.tokenize, input_signature=signature)
    tf.saved_model.save(module, str(tmp_path / "model"))
    (tmp_path / "texts").write_bytes("|||".join(HARD).encode())
    command = [sys.executable, "-c", LOAD, tmp_path / "model", tmp_path / "texts"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert result.stdout.strip() == str(tokenizer.tokenize(HARD).to_list())
