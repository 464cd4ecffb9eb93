"""Windows of tokens, against the same written with lists and loops, and against `tokenizers`."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from support.windows import END, PAD, START, rows_of
from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.token_windows import cut_into_windows, cut_off, cut_pair, pair_room


def served(max_length, family="bert"):
    tokenizer = SimpleNamespace(start_id=START, end_id=END, pad_id=PAD)
    return ServedModel("encoder", family, tokenizer, max_length, segments=family == "bert")


def ragged(rows):
    return tf.ragged.constant(rows, tf.int32, ragged_rank=1)


def random_rows(random, count, longest):
    """Rows in which no two tokens are the same, so that none can stand in for another."""
    ids = iter(range(10, 10 + count * longest))
    return [[next(ids) for _ in range(random.integers(0, longest + 1))] for _ in range(count)]


def padded(rows, filler, length):
    return np.array([[*row, *[filler] * (length - len(row))] for row in rows]).reshape(-1, length)


def assert_same(windows, expected, length=None):
    """Compare with the reference's rows: (text, dictionary) for each window."""
    texts, rows = [text for text, _ in expected], [row for _, row in expected]
    length = length or max([2, *(len(row["token_ids"]) for row in rows)])
    assert windows.texts.numpy().tolist() == texts
    assert windows.starts.numpy().tolist() == [row["starts"] for row in rows]
    assert windows.body.numpy().tolist() == [row["body"] for row in rows]
    columns = {
        "token_ids": padded([row["token_ids"] for row in rows], PAD, length),
        "padding_mask": padded([[1] * len(row["token_ids"]) for row in rows], 0, length),
        "segment_ids": padded([row["segment_ids"] for row in rows], 0, length),
        "shown": padded([row["shown"] for row in rows], False, length),
        "owned": padded([row["owned"] for row in rows], False, length),
    }
    found = windows.inputs | {"shown": windows.shown, "owned": windows.owned}
    assert found.keys() >= columns.keys() - {"segment_ids"}
    for name, values in found.items():
        assert values.dtype == (tf.bool if name in ("shown", "owned") else tf.int32)
        np.testing.assert_array_equal(values, columns[name], name)


# --- windows ---


@pytest.mark.parametrize("seed", range(60))
def test_windows_are_those_of_lists_and_loops(seed):
    random = np.random.default_rng(seed)
    family = ("bert", "roberta")[seed % 2]
    separators = 2 if family == "roberta" else 1
    max_length = int(random.integers(4 + separators, 24))
    texts = random_rows(random, int(random.integers(1, 9)), 60)
    overlap = None if seed % 3 == 0 else int(random.integers(0, max_length))
    prefixes, rooms = None, [max_length - 2] * len(texts)
    if seed % 4 < 2:
        longest = max_length - 2 - separators - 1  # one token of the text must have room
        prefixes = [row[:longest] for row in random_rows(random, len(texts), longest + 4)]
        rooms = [max_length - 2 - separators - len(prefix) for prefix in prefixes]
    length = max_length + 3 if seed % 5 == 0 else None
    windows = cut_into_windows(
        served(max_length, family),
        ragged(texts),
        None if prefixes is None else ragged(prefixes),
        overlap,
        length,
    )
    expected = [
        (number, row)
        for number, (text, room) in enumerate(zip(texts, rooms, strict=True))
        for row in rows_of(text, room, overlap, prefixes and prefixes[number], separators)
    ]
    assert_same(windows, expected, length)
    assert ("segment_ids" in windows.inputs) == (family == "bert")


@pytest.mark.parametrize("room", range(1, 9))
def test_each_token_is_answered_for_once_where_most_is_around_it(room):
    texts = [list(range(10, 10 + count)) for count in range(40)]
    for overlap in range(room):
        windows = cut_into_windows(served(room + 2), ragged(texts), overlap=overlap)
        places, columns = np.nonzero(windows.owned)
        of_text = windows.texts.numpy()[places]
        tokens = windows.starts.numpy()[places] + columns - windows.body.numpy()[places]
        everything = [(number, token) for number in range(40) for token in range(number)]
        assert sorted(zip(of_text.tolist(), tokens.tolist(), strict=True)) == everything
        starts, of_window = windows.starts.numpy(), windows.texts.numpy()
        ends = starts + windows.shown.numpy().sum(axis=1)
        for place, text, token in zip(places, of_text, tokens, strict=True):
            own = min(token - starts[place], ends[place] - 1 - token)
            siblings = of_window == text
            lefts, rights = token - starts[siblings], ends[siblings] - 1 - token
            others = np.minimum(lefts, rights)
            assert own == others.max()


def test_no_window_is_there_that_answers_for_nothing():
    texts = ragged([list(range(10, 10 + count)) for count in range(1, 80)])
    windows = cut_into_windows(served(12), texts, overlap=2)
    assert windows.owned.numpy().any(axis=1).all()


def test_a_fixed_length_adds_padding_and_nothing_else():
    texts, prefixes = ragged([[10, 11], [], [12, 13, 14, 15]]), ragged([[20], [21, 22], []])
    free = cut_into_windows(served(8), texts, prefixes, overlap=1)
    fixed = cut_into_windows(served(8), texts, prefixes, overlap=1, length=13)
    width = free.owned.shape[1]
    assert width == 7
    for one, other in zip(tf.nest.flatten(free), tf.nest.flatten(fixed), strict=True):
        if len(one.shape) == 1:
            np.testing.assert_array_equal(one, other)
        else:
            assert other.shape[1] == 13
            np.testing.assert_array_equal(one, other[:, :width])
            assert not np.asarray(other[:, width:]).any()  # pad_id is 0 here, too


@pytest.mark.parametrize("overlap", [None, 0, 2])
@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_an_empty_batch_has_no_window(family, pair, overlap):
    prefixes = ragged([]) if pair else None
    windows = cut_into_windows(served(9, family), ragged([]), prefixes, overlap)
    assert windows.texts.shape == windows.starts.shape == windows.body.shape == (0,)
    assert {tuple(part.shape) for part in windows.inputs.values()} == {(0, 2)}
    assert windows.shown.shape == windows.owned.shape == (0, 2)


@pytest.mark.parametrize("overlap", [None, 0, 2])
def test_an_empty_text_is_a_window_of_start_and_end(overlap):
    windows = cut_into_windows(served(9), ragged([[], []]), overlap=overlap)
    assert windows.inputs["token_ids"].numpy().tolist() == [[START, END]] * 2
    assert not windows.shown.numpy().any()
    windows = cut_into_windows(served(9), ragged([[], []]), ragged([[], [10]]), overlap)
    assert windows.inputs["token_ids"].numpy().tolist() == [
        [START, END, END, PAD],
        [START, 10, END, END],
    ]
    assert windows.inputs["segment_ids"].numpy().tolist() == [[0, 0, 1, 0], [0, 0, 0, 1]]


def test_the_smallest_windows_hold_one_token():
    text = [10, 11, 12]
    windows = cut_into_windows(served(3), ragged([text]), overlap=0)
    assert_same(windows, [(0, row) for row in rows_of(text, 1, 0)])
    assert windows.inputs["token_ids"].numpy().tolist() == [[START, t, END] for t in text]
    for family, max_length in (("bert", 4), ("roberta", 5)):
        model = served(max_length, family)
        assert pair_room(model) == 1
        windows = cut_into_windows(model, ragged([text]), ragged([[]]), overlap=0)
        rows = rows_of(text, 1, 0, [], max_length - 3)
        assert_same(windows, [(0, row) for row in rows])


def test_a_graph_with_free_dimensions_cuts_alike():
    spec = tf.RaggedTensorSpec([None, None], tf.int32)
    model = served(9)

    @tf.function(input_signature=[spec, spec], autograph=False)
    def windows(texts, prefixes):
        return tf.nest.flatten(cut_into_windows(model, texts, prefixes, 2))

    for texts, prefixes in (([[10] * 20, []], [[11], []]), ([], []), ([[]], [[]])):
        found = windows(ragged(texts), ragged(prefixes))
        expected = tf.nest.flatten(cut_into_windows(model, ragged(texts), ragged(prefixes), 2))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


# --- pairs ---


def library(room, family):
    """`tokenizers` itself: words of one token each, cut where the longer text is."""
    vocabulary = {"<pad>": PAD, "<s>": START, "</s>": END} | {f"w{i}": 10 + i for i in range(40)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    pair = "<s> $A </s> $B:1 </s>:1" if family == "bert" else "<s> $A </s> </s> $B </s>"
    special = [("<s>", START), ("</s>", END)]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", pair, special)
    special_tokens = 3 if family == "bert" else 4
    tokenizer.enable_truncation(room + special_tokens, strategy="longest_first")
    return tokenizer, room + special_tokens


@pytest.mark.parametrize("room", range(1, 13))
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_pairs_are_cut_as_the_tokenizers_library_cuts_them(family, room):
    tokenizer, max_length = library(room, family)
    pairs = [(a, b) for a in range(15) for b in range(15)]
    firsts = [list(range(10, 10 + a)) for a, _ in pairs]
    seconds = [list(range(30, 30 + b)) for _, b in pairs]
    model = served(max_length, family)
    assert pair_room(model) == room
    first, second = cut_pair(ragged(firsts), ragged(seconds), room)
    windows = cut_into_windows(model, second, first)

    def words(ids):
        return " ".join(f"w{i - 10}" for i in ids)

    encodings = tokenizer.encode_batch(
        [(words(one), words(other)) for one, other in zip(firsts, seconds, strict=True)]
    )
    mask = windows.inputs["padding_mask"].numpy().astype(bool)
    ids = windows.inputs["token_ids"].numpy()
    for row, (pair, encoding) in enumerate(zip(pairs, encodings, strict=True)):
        assert ids[row][mask[row]].tolist() == encoding.ids, pair
        if family == "bert":
            segments = windows.inputs["segment_ids"].numpy()[row]
            assert segments[mask[row]].tolist() == encoding.type_ids, pair
            assert not segments[~mask[row]].any()
    # RoBERTa has one row of segments: there is nothing that the model could be told.
    assert ("segment_ids" in windows.inputs) == (family == "bert")


@pytest.mark.parametrize(
    ("lengths", "room", "kept"),
    [
        ((3, 4), 10, [3, 4]),
        ((9, 2), 6, [4, 2]),
        ((2, 9), 6, [2, 4]),
        ((5, 5), 7, [3, 4]),
        ((9, 5), 7, [4, 3]),
    ],
)
def test_the_longer_text_is_cut_first(lengths, room, kept):
    first, second = cut_pair(*(ragged([range(length)]) for length in lengths), room)
    assert [len(first[0]), len(second[0])] == kept


@pytest.mark.parametrize("room", [0, 1])
def test_where_there_is_no_room_nothing_is_left(room):
    first, second = cut_pair(ragged([[10, 11], []]), ragged([[20, 21], [22]]), room)
    assert first.to_list() == [[], []]
    assert second.to_list() == [[20][:room], [22][:room]]


def test_cut_off_keeps_the_beginning():
    rows = random_rows(np.random.default_rng(0), 30, 12)
    for most in range(14):
        assert cut_off(ragged(rows), most).to_list() == [row[:most] for row in rows]
    assert cut_off(ragged([]), 3).to_list() == []
    assert cut_off(ragged([[], []]), 3).to_list() == [[], []]
