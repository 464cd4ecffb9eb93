"""The masks by the rule, in Python's whole numbers and float64, one token at a time."""

import math

import numpy as np
import tensorflow as tf

from tf_distilbert.data.masking import TokenMasker

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, UNKNOWN, START, END, MASK = range(5)
VOCABULARY = SPECIAL_TOKENS + [f"w{i}" for i in range(65)] + [f"##p{i}" for i in range(30)]
SIZE = len(VOCABULARY)
ALL_BITS = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def make_masker(sequence_length, **options):
    return TokenMasker(VOCABULARY, range(5), MASK, sequence_length, **options)


def make_rows(num_rows, sequence_length, seed=0, shortest=3):
    """[CLS] tokens [SEP] and padding; some tokens are [UNK], some are continuations."""
    random = np.random.default_rng(seed)
    rows = random.integers(5, SIZE, (num_rows, sequence_length), np.int32)
    rows[random.random(rows.shape) < 0.03] = UNKNOWN
    rows[:, 0] = START
    lengths = random.integers(shortest, sequence_length + 1, num_rows)
    rows[np.arange(num_rows), lengths - 1] = END
    rows[np.arange(sequence_length) >= lengths[:, None]] = PAD
    return rows


def run(masker, rows, epochs=0, indices=None):
    """The masker's output as NumPy: seen, padding mask, positions, mask ids, chosen."""
    indices = np.arange(len(rows)) if indices is None else np.asarray(indices)
    epochs = np.broadcast_to(epochs, len(rows))
    inputs, mask_ids, mask_weights = masker(
        tf.constant(rows), PAD, tf.constant(epochs, tf.int64), tf.constant(indices, tf.int64)
    )
    assert set(np.unique(mask_weights)) <= {0.0, 1.0}
    names = ("token_ids", "padding_mask", "mask_positions")
    return (*(inputs[name].numpy() for name in names), mask_ids.numpy(), mask_weights.numpy() == 1)


def unmask(seen, positions, mask_ids, chosen):
    restored = seen.copy()
    for row, position, token, used in zip(restored, positions, mask_ids, chosen, strict=True):
        row[position[used]] = token[used]
    return restored


def mix(key):
    key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & ALL_BITS
    key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & ALL_BITS
    return key ^ (key >> 31)


def uniform(key):
    return ((key >> 11) + 0.5) / 2**53


def reference_row(row, epoch, index, seed, num_slots, options):
    """(seen, positions, mask ids, chosen) of one row."""
    rate, smoothing = options.get("rate", 0.15), options.get("smoothing", 0.0)
    row_key = mix((mix((mix(seed & ALL_BITS) + epoch) & ALL_BITS) + index) & ALL_BITS)

    def position_key(position, stream):
        return mix((row_key + (4 * position + stream) * GOLDEN) & ALL_BITS)

    def arrival(position):
        count = options["token_counts"][row[position]] if smoothing else 1
        weight = max(count, 1) ** -smoothing
        return -math.log(uniform(position_key(position, 1))) / weight

    length = sum(token != PAD for token in row)
    wanted = math.floor(rate * length + uniform(mix(row_key ^ GOLDEN)))
    wanted = min(max(wanted, 1), num_slots)
    words = []
    for position, token in enumerate(row):
        if token < 5:
            continue
        joins = options.get("whole_word") and VOCABULARY[token].startswith("##")
        if joins and row[position - 1] >= 5:
            words[-1].append(position)
        else:
            words.append([position])
    chosen = []
    for word in sorted(words, key=lambda word: arrival(word[0])):
        if len(chosen) + len(word) > wanted:
            break
        chosen += word
    seen = list(row)
    mask_share, random_share = options.get("shares", (0.8, 0.1))
    for position in chosen:
        key = position_key(position, 2)
        if uniform(key) < mask_share:
            seen[position] = MASK
        elif uniform(key) < mask_share + random_share:
            seen[position] = ((key & 0xFFFFFFFF) * SIZE) >> 32
    empty = [0] * (num_slots - len(chosen))
    mask_ids = [int(row[position]) for position in chosen]
    return seen, chosen + empty, mask_ids + empty, [True] * len(chosen) + [False] * len(empty)
