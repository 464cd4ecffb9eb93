# ruff: noqa: RUF001 - letters that look like others are what is tested

import itertools
import lzma
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text as tf_text
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from tf_distilbert.tokenization.bert_characters import bert_characters
from tf_distilbert.tokenization.normalizer_model import normalizer_model
from tf_distilbert.tokenization.tokenizer import BERT_TOKENS
from tf_distilbert.tokenization.vocabulary_file import read_vocabulary
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

SETTINGS = list(itertools.product([True, False], repeat=3))
MAIN = (True, True, True)
EVERY = list(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
ASSIGNED = [c for c in EVERY if c < "\U00034000" or "\U000e0000" <= c < "\U000e1000"]
LETTERS = [*BERT_TOKENS, "a", "##a", "b", "##b", "ab"]

# All that still differs, and only where accents are taken off: marks that are not taken off and
# that Hugging Face puts in Unicode's order, if they follow each other in another one.
ORDERED_MARKS = (
    "8d4-8e1 1b44 1baa 1bf2-1bf3 1dfb 302e-302f a953 a9c0 111c0 11235 1134d 11442 11446 116b6 "
    "11c3f 1d15e-1d166 1d16d-1d172 1d1bb-1d1c0 1e000-1e006 1e008-1e018 1e01b-1e021 1e023-1e024 "
    "1e026-1e02a 1e944-1e94a"
)


def normalizer(lower_case, strip_accents, split_chinese):
    return normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=split_chinese,
        strip_accents=strip_accents,
        lowercase=lower_case,
    )


def reference(vocabulary, settings):
    ids = {token: number for number, token in enumerate(vocabulary)}
    model = models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizer(*settings)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(list(BERT_TOKENS))
    return tokenizer


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


def spelling_vocabulary(characters, settings):
    """A vocabulary that can spell all that becomes of the characters, letter by letter."""
    text = normalizer(*settings).normalize_str("".join(characters))
    letters = sorted(set(text) - {" "})
    return [*BERT_TOKENS, *letters, *(f"##{letter}" for letter in letters)]


def in_rows(pieces, size=64):
    return [" ".join(pieces[i : i + size]) for i in range(0, len(pieces), size)]


def parse(ranges):
    ends = [part.split("-") for part in ranges.split()]
    return {chr(c) for end in ends for c in range(int(end[0], 16), int(end[-1], 16) + 1)}


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

HARD = [
    "",
    " ",
    " \t\r\n\u3000 ",
    "Café naïve ÀÉÎÕÜ ñ ç Ångström Łódź Đà Nẵng",
    "Straße GROẞE İstanbul ılık ĲSSEL ﬁn ﬂ ŉ ǰ ΐ Σίσυφος ΟΔΥΣΣΕΥΣ",
    "ＡＢＣ１２３，．！ ①②③ ½ … ‥ ™ ℃ Å Ω",
    "中文，测试。𠀀𠮷野家 㐀 豈更 丽 \U0002b820x\U0002b920y ⼀ 々〆〇",
    "カタカナ ｶﾀｶﾅ ひらがな がぎぐ ヴ か\u3099 ・ー「」",
    "한국어 ᄒᆞᆫ글 각",
    "👩\u200d👩\u200d👧\u200d👦 👍🏽 🇫🇷🇩🇪 ❤️ a🙂b",
    "a\x00b a\x07b a\x7fb a\x85b a\u2028b a\u2029b a\xa0b a\xadb a\u200bb a\u200cb a\u200fb",
    "\ufeffabc a\ufeffb a\ufffdb a\ufffeb a\ufdd0b a\ue000b a\ue001b a\uf8ffb",
    "a\U000f0000b a\U0010fffdb a\U0010ffffb a\U0001fffeb a\u0378b a\u200d\u200db",
    "e\u0301 e\u0323\u0301 e\u0301\u0323 q\u0307\u0323\u034f\u0301 \u0301 \u0301a",
    "שָׁלוֹם العَرَبِيَّة हिन्दी ไทยภาษา ตัวอย่าง မြန်မာ",
    "don't stop-it (now) a.b.c $1,000.00 #tag @me x^2 `code` ~a |b| {c} <d> a_b",
    "a[MASK]b",
    "[mask] [Mask] [[MASK]] [ MASK ] [MASK [MASK]]",
    "[CLS] a b [SEP] ab [PAD][PAD][UNK]a",
    "[MA\u200bSK] [MASK\x00] [\ue000MASK] \ue000MASK \ue000mask a\ue000mask[MASK] \ue001",
    "[MASK]\u0301 [SEP]中[SEP]",
    "[ [[ ] ][ [a] [P] [PA] [[P [[[[[[",
    *(letter * n for letter in "aé中ไ가🙂𐐀" for n in (33, 34, 99, 100, 101, 200)),
    *("x " + "e\u0301" * n + " y" for n in (50, 51, 100, 101)),
    *("[" + "a" * n + "]" + "é" * n + "…" + "[MASK]" + "b" * n for n in (99, 100, 101)),
    *("a" * n + s + "a" * n for n in (99, 100) for s in "\x00\u2028…。.\U0002b820İ "),
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_hard_strings(settings):
    assert_same(HARD, spelling_vocabulary(HARD, settings), settings)
    assert_same(HARD, LETTERS, settings)


INVALID = [
    b"a\xffb",
    b"a\xc3",
    b"\xc3(",
    b"\xe3\x81a \xe3\x81\xe3\x81\x82",
    b"\xed\xa0\x80b",
    b"\xf0\x9f\x99a\xf0\x9fb\xf0c",
    b"\xf4\x90\x80\x80 \xf8\x88\x80\x80\x80",
    b"\xc0\xaf\xe0\x80\xaf",
    b"[MA\xffSK] [MASK]\xff \xff[MASK]",
    b"\xf0\xee\x80\x80b",
    b"a" * 60 + b"\xff" + b"a" * 60,
    b"a" * 50 + b"\xff" + b"a" * 50,
    b"\x80" * 200,
]


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
