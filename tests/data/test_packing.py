import numpy as np
import pytest

from tf_distilbert.data.packing import (
    drop_useless,
    mark_kinds,
    pack_documents,
    sentence_boundaries,
    wrap_pieces,
)

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *'abc.?!"()”。']
IDS = {token: i for i, token in enumerate(VOCABULARY)}
KINDS = mark_kinds(VOCABULARY)


def encode(*paragraphs):
    """Ids and lengths of paragraphs of which each character is a token."""
    ids = np.array([IDS[c] for paragraph in paragraphs for c in paragraph], np.int32)
    return ids, np.array([len(paragraph) for paragraph in paragraphs], np.int64)


def pack(documents, capacity, **options):
    """Pieces of documents, as strings."""
    token_ids, lengths = encode(*[p for document in documents for p in document])
    document_lengths = np.array([len(document) for document in documents])
    pieces = pack_documents(
        token_ids, lengths, document_lengths, kinds=KINDS, capacity=capacity, **options
    )
    return ["".join(VOCABULARY[i] for i in token_ids[start:end]) for start, end in pieces]


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        ("ab.c.", ["ab.", "c."]),
        ("ab...c", ["ab...", "c"]),
        ("ab?!c", ["ab?!", "c"]),
        ("(ab.)c", ["(ab.)", "c"]),
        ("a.(b)c", ["a.", "(b)c"]),
        ('"a."b', ['"a."', "b"]),  # the second quote closes
        ('a."b."c', ["a.", '"b."', "c"]),  # the first opens
        ('"a.".)b', ['"a.".)', "b"]),
        (")a.b", [")a.", "b"]),
        ("a。”b", ["a。”", "b"]),
        ("a)b", ["a)b"]),
        ("abc", ["abc"]),
    ],
)
def test_sentences(paragraph, expected):
    token_ids, lengths = encode(paragraph)
    ends = sentence_boundaries(token_ids, lengths, KINDS).tolist()
    starts = [0, *ends[:-1]]
    assert [paragraph[a:b] for a, b in zip(starts, ends, strict=True)] == expected


def test_paragraphs_do_not_share_quotes_or_sentence_ends():
    token_ids, lengths = encode('a"b.', '"b."', "", ")a")
    assert sentence_boundaries(token_ids, lengths, KINDS).tolist() == [4, 8, 10]


def test_the_example_of_the_documentation():
    first, second = "ab.abc.", "a." + "b" * 11 + "." + "c"
    sequences = pack([[first, second]], 9)
    assert list(map(len, sequences)) == [9, 9, 4]


def test_documents_stay_apart_unless_asked():
    documents = [["ab.", "c."], ["a."], ["bb.", "cc."]]
    assert pack(documents, 7) == ["ab.c.", "a.", "bb.cc."]
    assert pack(documents, 7, cross_documents=True) == ["ab.c.a.", "bb.cc."]


def test_nothing_and_empty_paragraphs():
    assert pack([], 5) == []
    assert pack([["", ""]], 5) == []
    assert pack([["", "ab.", ""], [""], ["c"]], 5) == ["ab.", "c"]


def slow_sentences(paragraph):
    """Sentences of a paragraph, one character after the other."""
    sentences, current, num_quotes, over = [], "", 0, False
    for i, mark in enumerate(paragraph):
        num_quotes += mark == '"'
        closes = i > 0 and (mark in ")”" or (mark == '"' and num_quotes % 2 == 0))
        ends = mark in ".?!。"
        if over and not (closes or ends):
            sentences.append(current)
            current, over = "", False
        over = ends or (over and closes)
        current += mark
    return [*sentences, current] if current else sentences


def slow_pack(documents, capacity):
    sequences = []
    for document in documents:
        current = ""
        for sentence in [s for paragraph in document for s in slow_sentences(paragraph)]:
            if current and len(current) + len(sentence) > capacity:
                sequences.append(current)
                current = ""
            current += sentence
            while len(current) > capacity:
                sequences.append(current[:capacity])
                current = current[capacity:]
        sequences += [current] * bool(current)
    return sequences


@pytest.mark.parametrize("capacity", [3, 7, 20])
def test_agrees_with_the_slow_way_on_random_text(capacity):
    random = np.random.default_rng(capacity)
    letters = list('abcabcabc.?!"()”。')
    for _ in range(60):
        documents = [
            ["".join(random.choice(letters, random.integers(0, 40))) for _ in range(n)]
            for n in random.integers(1, 5, random.integers(1, 6))
        ]
        assert pack(documents, capacity) == slow_pack(documents, capacity)
        whole = [[p for document in documents for p in document]]
        assert pack(documents, capacity, cross_documents=True) == slow_pack(whole, capacity)


def test_drops_short_and_unknown():
    unknown, known = [1] * 10, [5] * 10
    token_ids = np.array([*known[:9], *known, *known[:4], *unknown[:6], *known[:5], *unknown[:6]])
    pieces = np.array([[0, 9], [9, 19], [19, 29], [29, 40]])
    # With the special tokens: 11 tokens (short), 12, 12 with 6 unknown (half), 13 with 6 unknown.
    kept, dropped = drop_useless(token_ids.astype(np.int32), pieces, unknown_id=1)
    assert kept.tolist() == [[9, 19], [29, 40]]
    assert dropped == {"short": 1, "unknown": 1}


def test_drops_nothing_of_nothing():
    kept, dropped = drop_useless(np.zeros(0, np.int32), np.empty((0, 2), np.int64), 1)
    assert kept.shape == (0, 2)
    assert dropped == {"short": 0, "unknown": 0}


def test_wraps_pieces():
    token_ids, lengths = wrap_pieces(np.arange(10, 20), np.array([[1, 3], [5, 9]]), 2, 3)
    assert token_ids.tolist() == [2, 11, 12, 3, 2, 15, 16, 17, 18, 3]
    assert lengths.tolist() == [4, 6]
