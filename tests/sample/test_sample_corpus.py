"""The sample corpus: the same text everywhere, and a validation split that keeps its promise."""

import hashlib
import re
import subprocess
import sys

import pytest

from tf_distilbert.errors import UserError
from tf_distilbert.sample.corpus import KINDS, PROMPTS, sample_text, sentences
from tf_distilbert.sample.facts import kinds, table, tell, with_article, with_next

SHA256 = {
    "train": "3443dd45c09a2fb30a26fe6b5ddc812bb99ad755ad67e578bbc947488bcc82e0",
    "validation": "81712c58d8361ff374a0c7a21fb9d0ad9463c04fa2909462a5473bc572d3c41e",
}


def words(text):
    return set(re.findall(r"\w+", text.lower()))


def paragraphs(split):
    return [line for line in sample_text(split).splitlines() if line]


@pytest.mark.parametrize("split", SHA256)
def test_text_never_changes(split):
    assert hashlib.sha256(sample_text(split).encode()).hexdigest() == SHA256[split]


def test_text_is_the_same_in_another_process_with_other_hashes():
    program = (
        "import hashlib; from tf_distilbert.sample.corpus import sample_text;"
        "print(hashlib.sha256(sample_text('validation').encode()).hexdigest())"
    )
    for seed in ("1", "2"):
        printed = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert printed.strip() == SHA256["validation"]


def test_unknown_split_names_the_two_splits():
    with pytest.raises(UserError, match=r"'test'.*train or validation"):
        sample_text("test")


def test_sizes():
    assert 1_000_000 <= len(sample_text("train")) <= 1_500_000
    assert 60_000 <= len(sample_text("validation")) <= 100_000
    assert len(words(sample_text("train"))) < 2_500


def test_counts_of_facts_and_wordings():
    counts = {kind.name: len(kind.facts) for kind in KINDS}
    assert len(counts) == len(KINDS) == 69
    assert sum(counts.values()) == 2191
    assert sum(len(kind.wordings) for kind in KINDS) == 480
    assert counts["capital"] == 66
    assert counts["neighbour"] == 59
    assert counts["symbol"] == 43
    assert counts["young"] == 48
    assert counts["sum"] == 100
    assert min(counts.values()) >= 4
    assert all(len(set(kind.wordings)) == len(kind.wordings) >= 3 for kind in KINDS)


@pytest.mark.parametrize("split", SHA256)
def test_format_is_documents_of_paragraphs(split):
    text = sample_text(split)
    assert text.isascii()
    assert text.endswith(".\n")
    assert "\n\n\n" not in text
    for document in text.split("\n\n"):
        assert 5 <= len(document.strip().split("\n")) <= 10


@pytest.mark.parametrize("split", SHA256)
def test_every_paragraph_is_unique_and_clean(split):
    lines = paragraphs(split)
    assert len(set(lines)) == len(lines)
    for line in lines:
        assert line[0].isupper() or line[0].isdigit()
        assert line.endswith(".")
        assert not re.search(r"[{}]|  | - \D|\ba [aio]\w+|\ban [^aeiouh]", line), line


def test_no_validation_sentence_is_in_the_training_text():
    training = sample_text("train")
    assert [told.text for told in sentences("validation") if told.text in training] == []


def test_no_two_facts_share_a_sentence():
    texts = [told.text for split in SHA256 for told in sentences(split)]
    assert len(set(texts)) == len(texts)


def test_validation_text_is_made_of_held_out_sentences_only():
    held_out = sorted((told.text for told in sentences("validation")), key=len, reverse=True)
    any_of_them = re.compile("|".join(re.escape(text) for text in held_out))
    assert {any_of_them.sub("", line).strip() for line in paragraphs("validation")} == {""}


def test_every_fact_is_told_in_both_splits():
    validation, training = sample_text("validation"), sample_text("train")
    for kind in KINDS:
        for fact in kind.facts:
            told = [tell(wording, fact) for wording in kind.wordings]
            assert any(text in validation for text in told), (kind.name, fact)
            assert any(text in training for text in told), (kind.name, fact)


def test_every_word_of_validation_is_in_training():
    assert words(sample_text("validation")) <= words(sample_text("train"))


def test_prompts_ask_for_facts_of_the_corpus():
    told = {
        tell(wording, fact) for kind in KINDS for fact in kind.facts for wording in kind.wordings
    }
    told = {text.lower() for text in told}
    training_words = words(sample_text("train"))
    assert len(PROMPTS) >= 12
    for prompt, answer in PROMPTS:
        assert prompt.count("[MASK]") == 1
        assert answer in training_words
        assert prompt.replace("[MASK]", answer).lower() in told


def test_table_refuses_a_row_of_the_wrong_length():
    assert table("\none, many\nmouse, mice\n") == ({"one": "mouse", "many": "mice"},)
    with pytest.raises(ValueError, match="zip"):
        table("one, many\nmouse")


def test_a_row_without_a_value_is_no_fact():
    rows = table("animal, sound, legs\ndog, barks, four\nfish, -, no")
    sound, legs = kinds("animals", "animal", rows, "\n[sound]\nA {animal} {sound}.\n[legs]\n{legs}")
    assert sound.facts == ({"animal": "dog", "sound": "barks"},)
    assert [fact["animal"] for fact in legs.facts] == ["dog", "fish"]


def test_with_next_closes_the_circle():
    days = tuple({"day": day} for day in ("Saturday", "Sunday", "Monday"))
    assert [row["other_day"] for row in with_next(days)] == ["Sunday", "Monday", "Saturday"]


def test_tell_puts_articles_and_capitals():
    wording = "what is {animal!a}? {animal!a} is in an hour-long film."
    assert tell(wording, {"animal": "owl"}) == "What is an owl? An owl is in an hour-long film."
    assert [with_article(noun) for noun in ("unit", "hour", "onion", "cat")] == [
        "a unit",
        "an hour",
        "an onion",
        "a cat",
    ]
