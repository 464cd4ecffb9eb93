"""The masks of 10 million tokens of real text, counted and held against the law of the reference.

Seeds are fixed, so each p-value is always the same; one under 1e-4 fails. The one difference
meant: we choose a share of each sequence, the reference the same share of a whole micro-batch.
"""

from math import erfc, sqrt
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from support import parity
from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.data.prepare import prepare
from tf_distilbert.model_files.folder import load_model

pytestmark = pytest.mark.parity
SECTION = "Masking"
AGAINST = "expectation, chi-square"
SMALLEST_P = 1e-4
RATE, SMOOTHING = 0.15, 0.7


@pytest.fixture(scope="module")
def text(shared, tmp_path_factory):
    """12 MB of Wikipedia as rows of token ids; what is special about them, found anew."""
    # This model's vocabulary is the one of bert-base-uncased.
    tokenizer = load_model(shared / "models" / "bert-mini-en").tokenizer
    vocabulary = (shared / "data/vocab/bert-base-uncased-vocab.txt").read_text("utf-8").split("\n")
    vocabulary = vocabulary[:-1]
    source = str(shared / "data/wiki_en/wiki_en_12mb.txt")
    folder = tmp_path_factory.mktemp("records")
    records = prepare([source], tokenizer, folder, sequence_length=128, progress=False)
    rows = records.gather(np.arange(len(records)))
    ids = [vocabulary.index(token) for token in parity.SPECIAL_TOKENS]
    return SimpleNamespace(
        records=records,
        rows=rows,
        lengths=(rows != ids[0]).sum(axis=1),
        maskable=~np.isin(rows, ids),
        counts=np.bincount(rows[rows != ids[0]], minlength=len(vocabulary)),
        mask_id=ids[4],
        size=len(vocabulary),
    )


def mask(text, indices, epochs, **options):
    """Mask some rows once an epoch: what is seen [E, N, S], and which positions are chosen."""
    masker = tf.function(TokenMasker.for_records(text.records, **options))
    rows, pad = text.rows[indices], text.records.pad_id
    all_seen, all_chosen = [], []
    for epoch in range(epochs):
        inputs, mask_ids, weights = masker(rows, pad, np.full(len(rows), epoch), indices)
        row, slot = np.nonzero(weights.numpy())
        position = inputs["mask_positions"].numpy()[row, slot]
        chosen = np.zeros(rows.shape, bool)
        chosen[row, position] = True
        assert chosen.sum() == len(row), "a position is chosen twice"
        np.testing.assert_array_equal(mask_ids.numpy()[row, slot], rows[row, position])
        all_seen.append(inputs["token_ids"].numpy())
        all_chosen.append(chosen)
    return np.stack(all_seen), np.stack(all_chosen)


@pytest.fixture(scope="module")
def masked(text):
    """Four epochs of all rows, 10.5 million tokens, without smoothing."""
    seen, chosen = mask(text, np.arange(len(text.rows)), epochs=4)
    assert 4 * text.lengths.sum() > 10e6
    return SimpleNamespace(seen=seen, chosen=chosen)


def check_p_value(what, observed, expected, degrees_of_freedom):
    assert expected.min() > 5, "too few for the chi-square distribution"
    statistic = ((observed - expected) ** 2 / expected).sum()
    check_statistic(what, statistic, degrees_of_freedom)


def check_statistic(what, statistic, degrees_of_freedom):
    p_value = parity.chi_square_p_value(statistic, degrees_of_freedom)
    parity.at_least(SECTION, f"p-value: {what}", AGAINST, p_value, SMALLEST_P)


def test_how_many_are_chosen(text, masked):
    numbers, wanted = masked.chosen.sum(axis=2), RATE * text.lengths
    parity.at_most(
        SECTION, "tokens chosen of a row, less 15 %", "15 %", abs(numbers - wanted).max(), 1
    )
    excess = numbers.sum() - 4 * wanted.sum()
    share = excess / (4 * wanted.sum())
    parity.at_most(SECTION, "share of all tokens chosen (relative)", "15 %", abs(share), 1e-3)
    # Rounding up has the fraction as its probability.
    fraction = wanted % 1
    deviation = sqrt(4 * (fraction * (1 - fraction)).sum())
    p_value = erfc(abs(excess) / deviation / sqrt(2))
    what = "p-value: share of all tokens chosen"
    parity.at_least(SECTION, what, "expectation, normal", p_value, SMALLEST_P)


def test_special_tokens_are_never_chosen_and_others_never_changed(text, masked):
    wrong = (masked.chosen & ~text.maskable).sum()
    parity.at_most(SECTION, "special tokens chosen", "none", wrong, 0)
    changed = ((masked.seen != text.rows) & ~masked.chosen).sum()
    parity.at_most(SECTION, "tokens changed that were not chosen", "none", changed, 0)


def test_eighty_ten_ten(text, masked):
    _, _, positions = np.nonzero(masked.chosen)
    seen = masked.seen[masked.chosen]
    original = np.broadcast_to(text.rows, masked.seen.shape)[masked.chosen]
    fates = np.where(seen == text.mask_id, 0, np.where(seen == original, 1, 2))
    # A random token is drawn from the whole vocabulary: now and then it is [MASK] or the original.
    luck = 0.1 / text.size
    shares = np.array([0.8 + luck, 0.1 + luck, 0.1 - 2 * luck])
    check_p_value("80/10/10", np.bincount(fates), len(fates) * shares, 2)
    table = np.bincount(positions // 8 * 3 + fates, minlength=48).reshape(16, 3)
    expected = table.sum(axis=1, keepdims=True) * shares
    check_p_value("80/10/10 in each of 16 bins of positions", table, expected, 32)


@pytest.mark.parametrize("bins", ["ranges", "remainders"])
def test_random_tokens_are_uniform(text, masked, bins):
    seen = masked.seen[masked.chosen]
    original = np.broadcast_to(text.rows, masked.seen.shape)[masked.chosen]
    replaced = (seen != text.mask_id) & (seen != original)
    bin_of = (
        np.arange(text.size) * 100 // text.size
        if bins == "ranges"
        else (np.arange(text.size) % 100)
    )
    observed = np.bincount(bin_of[seen[replaced]], minlength=100)
    # Given that it is neither [MASK] nor the original, it is any other token alike.
    possible = replaced.sum() * np.bincount(bin_of) - np.bincount(bin_of[original[replaced]])
    possible[bin_of[text.mask_id]] -= replaced.sum()
    what = f"random tokens in 100 {bins} of ids"
    check_p_value(what, observed, possible / (text.size - 2), 99)


def test_without_smoothing_every_token_is_chosen_alike(text, masked):
    """Drawing k of m without replacement: counts by frequency bin are hypergeometric."""
    bins = frequency_bins(text)
    numbers = masked.chosen.sum(axis=2, keepdims=True)
    m = text.maskable.sum(axis=1)[:, None]
    shares = count_by_bin(text.maskable[None], bins)[0] / m
    observed = count_by_bin(masked.chosen, bins).sum(axis=(0, 1))
    difference = (observed - (numbers * shares).sum(axis=(0, 1)))[:-1]
    spread = (numbers * (m - numbers) / (m - 1)).sum(axis=0)[:, 0]
    covariance = np.diag(spread @ shares) - (shares.T * spread) @ shares
    statistic = difference @ np.linalg.solve(covariance[:-1, :-1], difference)
    check_statistic("chosen by token frequency, no smoothing", statistic, len(difference))


def test_smoothing_draws_by_weight_without_replacement(text):
    """Against NumPy's drawing, as often and as many from each of 3000 rows, 9.8 million tokens.

    The sum of both sides' differences over independent rows is normal with a covariance that the
    rows themselves give; its square in units of that covariance is chi-square.
    """
    epochs, indices = 30, np.arange(0, len(text.rows), 8)[:3000]
    bins = frequency_bins(text)[indices]
    _, chosen = mask(text, indices, epochs, smoothing=SMOOTHING)
    numbers = chosen.sum(axis=2)
    assert not (chosen & ~text.maskable[indices]).any()
    weights = np.maximum(text.counts, 1.0) ** -SMOOTHING
    weights = np.where(text.maskable[indices], weights[text.rows[indices]], 0.0)
    drawn = np.zeros(chosen.shape, bool)
    generator = np.random.default_rng(5)
    for row, row_weights in enumerate(weights / weights.sum(axis=1, keepdims=True)):
        for epoch in range(epochs):
            k = numbers[epoch, row]
            picks = generator.choice(len(row_weights), k, replace=False, p=row_weights)
            drawn[epoch, row, picks] = True
    expected = count_by_bin(drawn, bins).sum(axis=0)

    def statistic(chosen):
        differences = (count_by_bin(chosen, bins).sum(axis=0) - expected)[:, :-1]
        total = differences.sum(axis=0)
        return total @ np.linalg.solve(differences.T @ differences, total), len(total)

    check_statistic("chosen by token frequency, smoothing 0.7", *statistic(chosen))
    # The count is long enough to tell 0.7 from its neighbours.
    _, otherwise = mask(text, indices, epochs, smoothing=0.68)
    assert parity.chi_square_p_value(*statistic(otherwise)) < SMALLEST_P


def frequency_bins(text):
    """For each token of the rows in which of ten bins its number of occurrences is."""
    edges = [3, 10, 30, 100, 300, 1000, 3000, 10000, 30000]
    return np.digitize(text.counts, edges)[text.rows]


def count_by_bin(chosen, bins):
    """Bool [E, N, S] to numbers [E, N, 10]."""
    return np.stack([(chosen & (bins == b)).sum(axis=2) for b in range(10)], axis=2)
