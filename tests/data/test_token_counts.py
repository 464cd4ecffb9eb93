"""Tokens and words of a text, counted by hand."""

import gzip

import pytest

from support import tiny
from support.spelling import TEXTS, byte_pair, ids_of, word_piece
from tf_distilbert.data.prepare import prepare
from tf_distilbert.data.text import BLOCK_BYTES
from tf_distilbert.data.token_counts import Splitting, compare_splitting, count_tokens
from tf_distilbert.errors import UserError
from tf_distilbert.tokenization.trimming import least_kept, trimmed_tokenizer


def counted(tokenizer, counts):
    return {tokenizer.vocabulary[i]: int(n) for i, n in enumerate(counts) if n}


def test_tokens_of_all_sources_are_counted(tmp_path):
    (tmp_path / "a.txt").write_text("The capital.\n\nthe capitals")
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as packed:
        packed.write('{"text": "Paris is\\nthe [MASK]"}\n')
    tokenizer = word_piece()
    counts = count_tokens([str(tmp_path / "a.txt"), str(tmp_path / "*.gz")], tokenizer)
    assert counted(tokenizer, counts) == {
        **{"the": 3, "capital": 2, ".": 1, "##s": 1, "paris": 1, "is": 1, "[MASK]": 1},
    }


def test_many_blocks_are_counted_once_each(tmp_path):
    line = "the capital of france is paris.\n"
    times = 3 * BLOCK_BYTES // len(line)
    (tmp_path / "a.txt").write_text("\n".join([line] * times))
    tokenizer = word_piece()
    found = counted(tokenizer, count_tokens(str(tmp_path / "a.txt"), tokenizer))
    words = ["the", "capital", "of", "france", "is", "paris", "."]
    assert found == dict.fromkeys(words, times)


def test_prepared_text_has_the_same_counts(tmp_path):
    path, tokenizer = tiny.write_text(tmp_path / "text.txt"), tiny.tokenizer()
    records = prepare(str(path), tokenizer, tmp_path / "records", progress=False)
    expected = records.token_counts.copy()
    expected[[tokenizer.start_id, tokenizer.end_id]] = 0
    assert count_tokens(str(path), tokenizer).tolist() == expected.tolist()


def test_words_that_lose_a_token(tmp_path):
    tokenizer = word_piece()
    kept = ids_of(tokenizer, ["the", "cap", "##ital"])
    trimmed = trimmed_tokenizer(tokenizer, [*least_kept(tokenizer), *kept])
    path = tmp_path / "text.txt"
    path.write_text("The capitals in\n\ncap paris 文\nthe the")
    # Words: the, capitals, in, cap, paris, 文 (unknown), the, the. Lost: capital, in, paris.
    assert compare_splitting(str(path), tokenizer, trimmed) == Splitting(
        words=8,
        changed=3,
        pieces=(9, 1 + 3 + 2 + 1 + 5 + 1 + 1 + 1),
        unknown=(1, 1),
    )


def test_words_that_nothing_spells_become_unknown(tmp_path):
    tokenizer = tiny.tokenizer()  # of whole words
    trimmed = trimmed_tokenizer(tokenizer, [*least_kept(tokenizer), *ids_of(tokenizer, ["the"])])
    path = tmp_path / "text.txt"
    path.write_text("the river is the sea, xyz")
    found = compare_splitting(str(path), tokenizer, trimmed)
    assert found == Splitting(words=7, changed=3, pieces=(7, 7), unknown=(1, 4))


def test_words_of_byte_pairs_begin_after_spaces(tmp_path):
    tokenizer = tiny.byte_pair_tokenizer()
    trimmed = trimmed_tokenizer(tokenizer, [*least_kept(tokenizer), *ids_of(tokenizer, ["th"])])
    path = tmp_path / "text.txt"
    path.write_text("the cat the\nthe ox.\n")
    # the | Ġcat | Ġthe;  the | Ġ o x .  to  th e | Ġ c a t | Ġ th e;  th e | Ġ o x .
    expected = Splitting(
        words=5, changed=4, pieces=(1 + 1 + 1 + 1 + 4, 2 + 4 + 3 + 2 + 4), unknown=(0, 0)
    )
    assert compare_splitting(str(path), tokenizer, trimmed) == expected


@pytest.mark.parametrize("make", [word_piece, byte_pair])
def test_what_keeps_all_changes_nothing(make, tmp_path):
    path, tokenizer = tmp_path / "text.txt", make()
    path.write_text("\n".join(TEXTS))
    found = compare_splitting([str(path)], tokenizer, tokenizer)
    assert found.changed == 0 and found.words > 10
    assert found.pieces[0] == found.pieces[1] == count_tokens([str(path)], tokenizer).sum()


def test_a_text_that_is_none_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n")
    with pytest.raises(UserError, match=r"a\.txt: no text at all"):
        count_tokens(str(tmp_path / "a.txt"), word_piece())
