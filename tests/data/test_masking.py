"""The masks, held against a slow reference written from the rule, and against exact statistics."""

import itertools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from support.masking_reference import (
    ALL_BITS,
    END,
    GOLDEN,
    MASK,
    PAD,
    SIZE,
    START,
    UNKNOWN,
    VOCABULARY,
    make_masker,
    make_rows,
    mix,
    reference_row,
    run,
    unmask,
)
from tf_distilbert.data import masking
from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.errors import UserError


def test_the_mixing_function_has_the_published_values():
    # The first outputs of splitmix64 from state 0: vectors of its public-domain C source.
    states = [GOLDEN, 2 * GOLDEN & ALL_BITS, 3 * GOLDEN & ALL_BITS]
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [mix(state) for state in states] == published
    assert masking.mix(tf.constant(states, tf.uint64)).numpy().tolist() == published


def test_uniform_numbers_are_strictly_between_0_and_1():
    # At 0 and at 1 the logarithms of the race are infinite.
    numbers = masking.to_uniform(tf.constant([0, 1 << 63, ALL_BITS], tf.uint64)).numpy()
    assert 0 < numbers[0] < 1e-6
    assert numbers[1] == pytest.approx(0.5, abs=1e-6)
    assert 1 - 1e-6 < numbers[2] < 1


COUNTS = (np.arange(SIZE) - 20).clip(0) ** 3
CASES = {
    "defaults": {},
    "smoothed": {"smoothing": 0.7, "token_counts": COUNTS},
    "whole words": {"whole_word": True},
    "whole words, smoothed": {"whole_word": True, "smoothing": 1.0, "token_counts": COUNTS},
    "another rate and other shares": {"rate": 0.4, "mask_share": 0.3, "random_share": 0.6},
}


@pytest.mark.parametrize("in_dataset", [False, True], ids=["eager", "tf.data"])
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_ids_equal_the_reference(options, in_dataset):
    rows = make_rows(60, 48)
    rows[7] = PAD
    rows[8, 1] = 70  # a continuation without its word
    epochs = np.arange(60) // 7
    indices = np.arange(60) * 1_000_003 + 2**33
    masker = make_masker(48, seed=-5, **options)
    if in_dataset:
        tensors = (rows, epochs.astype(np.int64), indices.astype(np.int64))
        dataset = tf.data.Dataset.from_tensor_slices(tensors).batch(60)
        [(inputs, mask_ids, weights)] = dataset.map(lambda r, e, i: masker(r, PAD, e, i))
        found = (inputs["token_ids"], inputs["mask_positions"], mask_ids, weights)
        assert (inputs["padding_mask"].numpy() == (rows != PAD)).all()
    else:
        seen, padding_mask, *rest = run(masker, rows, epochs, indices)
        found = (seen, *rest)
        assert (padding_mask == (rows != PAD)).all()
    if "mask_share" in options:
        options = {**options, "shares": (options["mask_share"], options["random_share"])}
    slots = math.ceil(options.get("rate", 0.15) * 48)
    expected = [
        reference_row(row, int(epoch), int(index), -5, slots, options)
        for row, epoch, index in zip(rows, epochs, indices, strict=True)
    ]
    names = ("seen", "positions", "mask ids", "weights")
    for name, one, other in zip(names, found, zip(*expected, strict=True), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.array(other), err_msg=name)


@pytest.fixture(scope="module")
def many():
    """2.1 million tokens in rows of 130, masked: (rows, seen, positions, mask ids, chosen)."""
    random = np.random.default_rng(3)
    rows = random.integers(5, SIZE, (16_400, 130), np.int32)
    rows[:, 0], rows[:, -1] = START, END
    masker = make_masker(130, seed=3)
    parts = [run(masker, part, 0, i) for part, i in batches(rows)]
    seen, _, positions, mask_ids, chosen = map(np.concatenate, zip(*parts, strict=True))
    return rows, seen, positions, mask_ids, chosen


def batches(rows, size=4100):
    return [(rows[i : i + size], np.arange(i, i + size)) for i in range(0, len(rows), size)]


def is_plausible(counts, expected):
    """Chi-square test at one in a million, by Wilson and Hilferty's cube root."""
    counts, expected = np.asarray(counts, float), np.asarray(expected, float)
    assert counts.sum() == pytest.approx(expected.sum())
    freedom = len(counts) - 1
    ratio = ((counts - expected) ** 2 / expected).sum() / freedom
    deviation = math.sqrt(2 / (9 * freedom))
    return (ratio ** (1 / 3) - 1 + deviation**2) / deviation < 4.75


def test_fifteen_percent_are_chosen(many):
    rows, _, _, _, chosen = many
    # 19.5 a row is rounded up or down with equal chances: a deviation of 1/2 a row.
    numbers = chosen.sum(axis=1)
    assert rows.size > 2_000_000
    assert set(numbers) == {19, 20}
    assert abs(numbers.sum() - 0.15 * rows.size) < 4.5 * 0.5 * math.sqrt(len(rows))
    binomial_deviation = math.sqrt(rows.size * 0.15 * 0.85)
    assert abs(numbers.sum() - 0.15 * rows.size) < 4.5 * binomial_deviation


def test_a_rate_of_0_leaves_all_as_it_is():
    seen, *_, weights = run(make_masker(40, rate=0.0), rows := make_rows(50, 40), 1, np.arange(50))
    assert (seen == rows).all() and weights.shape == (50, 1) and not weights.any()


def test_rows_of_other_lengths_meet_the_rate_too():
    rows = make_rows(8000, 100, shortest=7)
    numbers = run(make_masker(100), rows)[-1].sum(axis=1)
    shares = 0.15 * (rows != PAD).sum(axis=1)
    assert (numbers >= np.floor(shares)).all()
    assert (numbers <= np.ceil(shares)).all()
    # A row asks for at least 1, which 0.15 * 7 already is.
    assert abs(numbers.sum() - shares.sum()) < 4.5 * 0.5 * math.sqrt(len(rows))


def test_every_place_is_chosen_equally_often(many):
    rows, _, positions, _, chosen = many
    counts = np.bincount(positions[chosen], minlength=130)
    assert counts[0] == counts[129] == 0
    assert is_plausible(counts[1:129], np.full(128, chosen.sum() / 128))
    tokens = np.bincount(rows[np.nonzero(chosen)[0], positions[chosen]], minlength=SIZE)
    share = np.bincount(rows[:, 1:-1].ravel(), minlength=SIZE)[5:] / rows[:, 1:-1].size
    assert is_plausible(tokens[5:], share * chosen.sum())


def test_eighty_percent_masked_ten_random_ten_kept(many):
    rows, seen, positions, mask_ids, chosen = many
    shown = np.take_along_axis(seen, positions, axis=1)[chosen]
    original = mask_ids[chosen]
    counts = [(shown == MASK).sum(), (shown == original).sum()]
    # A random token is [MASK] or the original itself once in every SIZE times.
    shares = np.array([0.8 + 0.1 / SIZE, 0.1 + 0.1 / SIZE, 0.1 - 0.2 / SIZE])
    counts.append(len(shown) - sum(counts))
    assert is_plausible(counts, shares * len(shown))
    untouched = np.ones(rows.shape, bool)
    untouched[np.nonzero(chosen)[0], positions[chosen]] = False
    assert (seen == rows)[untouched].all()


def test_random_tokens_are_uniform_over_the_whole_vocabulary(many):
    rows = many[0]
    masker = make_masker(130, mask_share=0.0, random_share=1.0, seed=4)
    counts = np.zeros(SIZE)
    for part, indices in batches(rows):
        seen, _, positions, _, chosen = run(masker, part, 0, indices)
        counts += np.bincount(np.take_along_axis(seen, positions, 1)[chosen], minlength=SIZE)
    assert counts.sum() > 300_000
    assert is_plausible(counts, np.full(SIZE, counts.sum() / SIZE))


def test_shares_of_one_leave_nothing_to_chance():
    rows = make_rows(300, 64)
    seen, _, positions, _, chosen = run(make_masker(64, mask_share=1.0, random_share=0.0), rows)
    assert (np.take_along_axis(seen, positions, 1)[chosen] == MASK).all()
    assert (seen != rows).sum() == chosen.sum()
    seen = run(make_masker(64, mask_share=0.0, random_share=0.0), rows)[0]
    np.testing.assert_array_equal(seen, rows)


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_special_tokens_are_never_chosen_and_the_text_can_be_restored(options):
    rows = make_rows(3000, 64)
    rows[:, 20] = np.where(rows[:, 20] != PAD, MASK, PAD)  # a [MASK] of the text itself
    seen, padding_mask, positions, mask_ids, chosen = run(make_masker(64, **options), rows)
    assert chosen.sum() > 10_000
    assert (mask_ids[chosen] >= 5).all()
    assert (np.take_along_axis(rows, positions, axis=1)[chosen] == mask_ids[chosen]).all()
    assert all(
        len(set(place[used])) == used.sum() for place, used in zip(positions, chosen, strict=True)
    )
    assert not positions[~chosen].any()
    assert not mask_ids[~chosen].any()
    np.testing.assert_array_equal(unmask(seen, positions, mask_ids, chosen), rows)
    np.testing.assert_array_equal(padding_mask, rows != PAD)


@pytest.mark.parametrize("whole_word", [False, True])
def test_rows_without_a_word_have_no_weight(whole_word):
    rows = np.full((4, 32), PAD, np.int32)
    rows[1, :2] = START, END
    rows[2] = UNKNOWN
    rows[3, :3] = START, 30, END
    seen, padding_mask, positions, mask_ids, chosen = run(
        make_masker(32, whole_word=whole_word), rows
    )
    assert chosen.sum(axis=1).tolist() == [0, 0, 0, 1]
    assert (positions[3, 0], mask_ids[3, 0]) == (1, 30)
    np.testing.assert_array_equal(seen[:3], rows[:3])
    assert padding_mask.sum(axis=1).tolist() == [0, 2, 32, 3]


def inclusion_probabilities(weights, number):
    """Of each item, when `number` are drawn one after another without replacement."""
    result = np.zeros(len(weights))
    for order in itertools.permutations(range(len(weights)), number):
        probability, rest = 1.0, sum(weights)
        for item in order:
            probability *= weights[item] / rest
            rest -= weights[item]
        result[list(order)] += probability
    return result


@pytest.mark.parametrize("number", [1, 2])
def test_smoothing_prefers_rare_tokens_as_the_race_has_it(number):
    counts = np.zeros(SIZE, np.int64)
    counts[[10, 11, 12]] = 0, 10, 100  # a token that never occurred counts as one that did once
    masker = make_masker(5, rate=number / 5, smoothing=0.7, token_counts=counts, seed=number)
    num_rows = 200_000
    rows = np.tile(np.array([START, 10, 11, 12, END], np.int32), (num_rows, 1))
    _, _, _, mask_ids, chosen = run(masker, rows)
    assert (chosen.sum(axis=1) == number).all()
    expected = inclusion_probabilities([1.0, 10**-0.7, 100**-0.7], number)
    found = np.bincount(mask_ids[chosen], minlength=SIZE)[[10, 11, 12]] / num_rows
    deviations = np.sqrt(expected * (1 - expected) / num_rows)
    assert (np.abs(found - expected) < 4.5 * deviations).all(), (found, expected)


def words_of(row):
    words = []
    for position, token in enumerate(row):
        if token >= 5:
            if VOCABULARY[token].startswith("##") and row[position - 1] >= 5:
                words[-1].append(position)
            else:
                words.append([position])
    return words


def test_whole_words_are_chosen_together_or_not_at_all():
    rows = make_rows(1500, 90)
    _, _, positions, _, chosen = run(make_masker(90, whole_word=True), rows)
    lengths = (rows != PAD).sum(axis=1)
    num_long = 0
    for row, place, used, length in zip(rows, positions, chosen, lengths, strict=True):
        words, taken = words_of(row), set(place[used].tolist())
        touched = [word for word in words if taken & set(word)]
        assert taken == {position for word in touched for position in word}
        num_long += sum(len(word) > 1 for word in touched)
        # From below: what stays free is less than the longest word.
        assert len(taken) <= max(1, math.ceil(0.15 * length))
        assert len(taken) > math.floor(0.15 * length) - max(map(len, words), default=1)
    assert num_long > 1000
    assert 0.12 * lengths.sum() < chosen.sum() < 0.15 * lengths.sum()


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_a_mask_depends_on_seed_epoch_and_index_alone(options):
    rows = make_rows(40, 50)
    masker = make_masker(50, seed=9, **options)
    whole = run(masker, rows, 3)
    for size in (1, 7, 40):
        for i in range(0, 40, size):
            part = run(masker, rows[i : i + size], 3, np.arange(i, min(i + size, 40)))
            for one, other in zip(part, whole, strict=True):
                np.testing.assert_array_equal(one, other[i : i + size])
    order = np.random.default_rng(1).permutation(40)
    for one, other in zip(run(masker, rows[order], 3, order), whole, strict=True):
        np.testing.assert_array_equal(one, other[order])
    neighbours = rows.copy()
    neighbours[::2] = PAD
    for one, other in zip(run(masker, neighbours, 3), whole, strict=True):
        np.testing.assert_array_equal(one[1::2], other[1::2])


def test_epochs_seeds_and_indices_give_unrelated_masks():
    """Two unrelated masks share 15 % of their places: as many as chance gives."""
    rows = np.tile(make_rows(1, 130, shortest=130), (3000, 1))
    rows[rows == UNKNOWN] = 9

    def places(seed, epoch, first_index):
        indices = np.arange(first_index, first_index + 3000)
        _, _, positions, _, chosen = run(make_masker(130, seed=seed), rows, epoch, indices)
        result = np.zeros(rows.shape, bool)
        result[np.nonzero(chosen)[0], positions[chosen]] = True
        return result

    base = places(0, 0, 0)
    # (seed, epoch, index) are not just added up: shifting one is not undone by another.
    for other in (places(1, 0, 0), places(0, 1, 0), places(0, 0, 1), places(0, 1, -1 % 2**31)):
        expected = base.sum() * other.sum() / (3000 * 128)
        assert abs((base & other).sum() - expected) < 5 * math.sqrt(expected)
    assert (base == places(0, 0, 0)).all()
    assert (base == places(2**64, 0, 0)).all()  # seeds are taken modulo 2^64


CHECKED = """
import sys
sys.path[:0] = {paths!r}
import numpy as np
import tensorflow as tf
from support.masking_reference import PAD, make_masker, make_rows
tf.debugging.enable_check_numerics()
rows = make_rows(60, 48)
counts = np.arange(100)
for options in ({{}}, {{"smoothing": 0.7, "token_counts": counts}}, {{"whole_word": True}}):
    masker = make_masker(48, **options)
    dataset = tf.data.Dataset.from_tensor_slices((rows, np.arange(60))).batch(20)
    for inputs, _, weights in dataset.map(lambda r, i: masker(r, PAD, tf.zeros_like(i), i)):
        print(int(weights.numpy().sum()), int(inputs["token_ids"].numpy().sum()))
"""


@pytest.mark.slow
def test_no_number_on_the_way_is_infinite():
    """As the debugger of TensorFlow sees it, which has its hand in all that is traced later."""
    tests = Path(__file__).parents[1]
    code = CHECKED.format(paths=[str(tests), str(tests.parent)])
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    rows, expected = make_rows(60, 48), []
    for options in ({}, {"smoothing": 0.7, "token_counts": np.arange(100)}, {"whole_word": True}):
        seen, *_, chosen = run(make_masker(48, **options), rows)
        parts = [slice(i, i + 20) for i in (0, 20, 40)]
        expected += [f"{chosen[part].sum()} {seen[part].sum()}" for part in parts]
    assert result.stdout.splitlines() == expected


def test_smoothing_without_counts_is_refused():
    with pytest.raises(UserError, match="smoothing needs token_counts"):
        TokenMasker(VOCABULARY, range(5), MASK, 16, smoothing=0.7)
    TokenMasker(VOCABULARY, range(5), MASK, 16)
