import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tf_distilbert.data.vocabulary import learn_vocabulary
from tf_distilbert.errors import UserError
from tf_distilbert.tokenization.tokenizer import BERT_TOKENS
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer


def write_corpus(path):
    """Random words, so many of them equally frequent, and 1200 ideographs that occur twice."""
    random = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyzé"))
    words = ["".join(random.choice(letters, n)) for n in random.integers(2, 8, 4000)]
    ideographs = [chr(0x4E00 + i) for i in range(1200)] * 2
    path.write_text(" ".join([*words, *words, *ideographs]), encoding="utf-8")
    return str(path)


def test_exactly_as_many_tokens_as_asked_for(tmp_path):
    vocabulary = learn_vocabulary([write_corpus(tmp_path / "a.txt")], 2000, tmp_path / "vocab.txt")
    assert vocabulary[:5] == list(BERT_TOKENS)
    assert len(vocabulary) == len(set(vocabulary)) == 2000
    assert (tmp_path / "vocab.txt").read_text().split("\n") == [*vocabulary, ""]
    # Of 26 letters (é is e) and 1200 ideographs, the 1000 most frequent are kept.
    assert len([token for token in vocabulary if len(token) == 1]) == 1000
    assert "é" not in vocabulary
    assert list(tmp_path.glob("*.partial")) == []


def test_learns_the_frequent_words(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("Walking talking walking talking walks.\n" * 3)
    vocabulary = learn_vocabulary([str(tmp_path / "a.txt")], 100, tmp_path / "vocab.txt")
    assert {"walking", "talking", "walks", "."} < set(vocabulary)
    assert f"only {len(vocabulary)} of 100 tokens" in capsys.readouterr().err
    tokens = WordPieceTokenizer(vocabulary).tokenize(["WALKING walks talk."]).to_list()[0]
    assert [vocabulary[i] for i in tokens[:2]] == ["walking", "walks"]
    assert vocabulary.index("[UNK]") not in tokens


def test_cased(tmp_path):
    (tmp_path / "a.txt").write_text("Été ÉTÉ été\n" * 3)
    cased = learn_vocabulary([str(tmp_path / "a.txt")], 50, tmp_path / "c.txt", lower_case=False)
    assert {"Été", "ÉTÉ", "été"} < set(cased)
    uncased = learn_vocabulary([str(tmp_path / "a.txt")], 50, tmp_path / "u.txt")
    assert "ete" in uncased
    assert not any("é" in token or "É" in token for token in uncased)


def test_the_same_in_every_process(tmp_path):
    source = write_corpus(tmp_path / "a.txt")
    first = learn_vocabulary([source], 2000, tmp_path / "1.txt")
    program = (
        "import sys; from tf_distilbert.data.vocabulary import learn_vocabulary\n"
        "learn_vocabulary([sys.argv[1]], 2000, sys.argv[2])"
    )
    arguments = [sys.executable, "-c", program, source, str(tmp_path / "2.txt")]
    subprocess.run(arguments, cwd=Path(__file__).parents[2], check=True, stderr=subprocess.DEVNULL)
    assert (tmp_path / "2.txt").read_text().split("\n")[:-1] == first


def test_refusals(tmp_path):
    (tmp_path / "a.txt").write_text("abc abc abc")
    (tmp_path / "empty.txt").write_text("\n")
    source, output = str(tmp_path / "a.txt"), tmp_path / "vocab.txt"
    with pytest.raises(UserError, match=r"5 special tokens and 5 pieces of one .* need 10"):
        learn_vocabulary([source], 9, output)
    with pytest.raises(UserError, match="no text at all"):
        learn_vocabulary([str(tmp_path / "empty.txt")], 100, output)
    with pytest.raises(UserError, match="no such folder"):
        learn_vocabulary([source], 100, tmp_path / "none" / "vocab.txt")
    assert not output.exists()
    assert len(learn_vocabulary([source], 10, output)) == 10  # a, b, c, ##b, ##c
    with pytest.raises(UserError, match=r"vocab\.txt: exists already"):
        learn_vocabulary([source], 100, output)
