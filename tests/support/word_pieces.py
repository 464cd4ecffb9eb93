# ruff: noqa: RUF001 - letters that look like others are what is tested
"""What `tokenizers` makes of a text with BERT's WordPiece, and texts that are hard to cut."""

import itertools

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from tf_distilbert.tokenization.tokenizer import BERT_TOKENS

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
