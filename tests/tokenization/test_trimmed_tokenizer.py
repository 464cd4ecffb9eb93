"""Tokenizers of fewer tokens: what they keep, how they cut words, and what `transformers` gives."""

import numpy as np
import pytest
from tokenizers.pre_tokenizers import ByteLevel

from support import tiny
from support.spelling import CHARACTERS, TEXTS, WORDS, byte_pair, ids_of, tokens_of, word_piece
from tf_distilbert.errors import UserError
from tf_distilbert.sample.corpus import sample_text
from tf_distilbert.tokenization.byte_pair import BytePairTokenizer
from tf_distilbert.tokenization.folder import read_tokenizer
from tf_distilbert.tokenization.tokenizer import BERT_TOKENS, ROBERTA_TOKENS
from tf_distilbert.tokenization.trimming import counts_with_parts, least_kept, trimmed_tokenizer


def keep(tokenizer, *tokens):
    return trimmed_tokenizer(tokenizer, [*least_kept(tokenizer), *ids_of(tokenizer, tokens)])


def closed(tokenizer, generator):
    """What must be kept, a third of the others, and the parts of those."""
    chosen = (generator.random(len(tokenizer.vocabulary)) < 1 / 3).astype(int)
    return {*least_kept(tokenizer), *np.flatnonzero(counts_with_parts(tokenizer, chosen)).tolist()}


def test_characters_and_special_tokens_are_the_least():
    tokenizer = word_piece()
    kept = [tokenizer.vocabulary[i] for i in least_kept(tokenizer)]
    assert kept == [*BERT_TOKENS, *CHARACTERS]
    tokenizer = tiny.byte_pair_tokenizer()
    kept = {tokenizer.vocabulary[i] for i in least_kept(tokenizer)}
    assert kept == {*ROBERTA_TOKENS, *ByteLevel.alphabet()}


def test_the_paddings_id_stays_that_of_a_roberta():
    tokens = ["<s>", "zz", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), "<mask>"]
    tokenizer = BytePairTokenizer({token: i for i, token in enumerate(tokens)}, [("z", "z")])
    trimmed = trimmed_tokenizer(tokenizer, least_kept(tokenizer))
    assert trimmed.pad_id == tokenizer.pad_id == 2
    assert keep(tiny.byte_pair_tokenizer(), "th").special_ids == (1, 3, 0, 2, 261)


def test_a_lost_word_is_cut_into_the_longest_pieces_that_are_kept():
    tokenizer = word_piece()
    assert tokens_of(tokenizer, "the capitals") == ["the", "capital", "##s"]
    without_the_word = keep(tokenizer, "the", "cap", "##ital", "##it")
    assert tokens_of(without_the_word, "the capitals") == ["the", "cap", "##ital", "##s"]
    without_its_end = keep(tokenizer, "cap", "##it")
    expected = ["t", "##h", "##e", "cap", "##it", "##a", "##l", "##s"]
    assert tokens_of(without_its_end, "the capitals") == expected
    assert without_its_end.settings == tokenizer.settings
    assert tokens_of(without_its_end, "naïf é中") == ["n", "##a", "##i", "##f", "e", "中"]


def test_merges_go_as_far_as_what_is_kept():
    tokenizer = tiny.byte_pair_tokenizer(add_prefix_space=True, mask_takes_space=False)
    trimmed = keep(tokenizer, "th", "Ġc", "Ġca")
    assert trimmed.merges == [("t", "h"), ("Ġ", "c"), ("Ġc", "a")]
    assert tokens_of(trimmed, "the cat") == ["Ġ", "th", "e", "Ġca", "t"]
    settings = {**tokenizer.settings, "merges_sha256": trimmed.settings["merges_sha256"]}
    assert trimmed.settings == settings


def test_a_part_counts_as_often_as_what_is_made_of_it():
    tokenizer = tiny.byte_pair_tokenizer()
    counts = np.zeros(len(tokenizer.vocabulary), np.int64)
    counts[ids_of(tokenizer, ["the", "Ġcat", "h", "x"])] = 5, 3, 9, 1
    found = counts_with_parts(tokenizer, counts)
    expected = {"the": 5, "th": 5, "t": 5, "h": 9, "e": 5, "x": 1}
    expected |= dict.fromkeys(["Ġcat", "Ġca", "Ġc", "Ġ", "c", "a"], 3)
    counted = {tokenizer.vocabulary[i]: int(found[i]) for i in np.flatnonzero(found)}
    assert counted == expected
    pieces = word_piece()
    counts = np.arange(len(pieces.vocabulary))
    np.testing.assert_array_equal(counts_with_parts(pieces, counts), counts)


def test_of_two_ways_to_a_token_the_parts_are_those_that_bpe_takes():
    merges = [("a", "b"), ("b", "c"), ("a", "bc"), ("ab", "c")]
    tokens = [*ROBERTA_TOKENS, *sorted(ByteLevel.alphabet()), "ab", "bc", "abc"]
    tokenizer = BytePairTokenizer({token: i for i, token in enumerate(tokens)}, merges)
    counts = np.array([int(token == "abc") for token in tokens])
    found = counts_with_parts(tokenizer, counts)
    assert {t for t, n in zip(tokens, found, strict=True) if n} == {"abc", "ab", "a", "b", "c"}
    assert tokens_of(keep(tokenizer, "ab", "abc"), "abc") == ["abc"]


@pytest.mark.parametrize("make", [word_piece, byte_pair])
@pytest.mark.parametrize("seed", range(3))
def test_words_whose_tokens_are_kept_are_cut_as_before(make, seed):
    tokenizer, generator = make(), np.random.default_rng(seed)
    kept = closed(tokenizer, generator)
    trimmed = trimmed_tokenizer(tokenizer, kept)
    assert len(trimmed.vocabulary) == len(kept) < len(tokenizer.vocabulary)
    new_id = {old: new for new, old in enumerate(sorted(kept))}
    words = sorted({*WORDS, *" ".join(TEXTS).split(), *sample_text("validation").split()[:2000]})
    words += [f" {word}" for word in words]
    before, after = (each.tokenize(words).to_list() for each in (tokenizer, trimmed))
    same = [kept.issuperset(ids) for ids in before]
    assert any(same) and not all(same)
    for word, old, new, is_kept in zip(words, before, after, same, strict=True):
        assert ([new_id.get(i) for i in old] == new) == is_kept, word


@pytest.mark.parity
@pytest.mark.parametrize(
    ("make", "reader"),
    [(word_piece, "BertTokenizerFast"), (byte_pair, "RobertaTokenizerFast")],
)
def test_the_ids_are_those_of_transformers(make, reader, tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer = make()
    trimmed = trimmed_tokenizer(tokenizer, closed(tokenizer, np.random.default_rng(7)))
    trimmed.save(tmp_path, 512)
    theirs = getattr(transformers, reader).from_pretrained(tmp_path)
    texts = [*TEXTS, *sample_text("validation").split("\n")[:200]]
    expected = theirs(texts, add_special_tokens=False)["input_ids"]
    assert trimmed.tokenize(texts).to_list() == expected
    assert len(theirs) == len(trimmed.vocabulary)
    found = (theirs.pad_token_id, theirs.unk_token_id, theirs.mask_token_id)
    assert found == (trimmed.pad_id, trimmed.unknown_id, trimmed.mask_id)
    assert read_tokenizer(tmp_path).sha256 == trimmed.sha256


def test_japanese_words_are_cut_further():
    pytest.importorskip("fugashi", reason="needs the extra `japanese`")
    pytest.importorskip("ipadic", reason="needs the extra `japanese`")
    from tf_distilbert.tokenization.japanese import JapaneseTokenizer

    vocabulary = [*BERT_TOKENS, "猫", "が", "好き", "好", "##き", "だ", "。"]
    tokenizer = JapaneseTokenizer(vocabulary, "ipadic")
    assert tokens_of(tokenizer, "猫が好きだ。") == ["猫", "が", "好き", "だ", "。"]
    trimmed = trimmed_tokenizer(tokenizer, least_kept(tokenizer))
    assert tokens_of(trimmed, "猫が好きだ。") == ["猫", "が", "好", "##き", "だ", "。"]
    assert trimmed.settings == tokenizer.settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lost": ["[SEP]"]}, r"kept_ids lacks 3, '\[SEP\]', which every vocabulary needs; add it"),
        ({"lost": ["##q"]}, r"kept_ids lacks \d+, '##q', which every vocabulary needs; add it"),
        ({"more": [10_000]}, r"kept_ids has 10000; the vocabulary has the ids 0 to \d+$"),
        ({"more": [-1]}, r"kept_ids has -1; the vocabulary has the ids 0 to \d+$"),
    ],
)
def test_ids_that_make_no_vocabulary_are_refused(changes, message):
    tokenizer = word_piece()
    lost = ids_of(tokenizer, changes.get("lost", []))
    kept = {*least_kept(tokenizer), *changes.get("more", [])} - {*lost}
    with pytest.raises(UserError, match=message):
        trimmed_tokenizer(tokenizer, kept)


def test_a_token_without_its_parts_is_refused():
    with pytest.raises(UserError, match=r"lacks \d+, 'th', of which 'the' is made; add it"):
        keep(tiny.byte_pair_tokenizer(), "the")
