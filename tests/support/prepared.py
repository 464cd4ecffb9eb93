"""Prepared folders, compared."""

import numpy as np


def sequences(records):
    """All sequences, sorted, with repetitions."""
    rows = records.gather(np.arange(len(records)))
    return rows[np.lexsort(rows.T)]


def assert_same(ours, local):
    """The same sequences in any order, and the same counts of everything."""
    np.testing.assert_array_equal(sequences(ours), sequences(local))
    np.testing.assert_array_equal(ours.token_counts, local.token_counts)
    differing = {"shards", "settings", "crc32"}  # the last is of the whole manifest
    assert ours.manifest.keys() == local.manifest.keys()
    for name in ours.manifest.keys() - differing:
        assert ours.manifest[name] == local.manifest[name], name
    assert ours.vocabulary == local.vocabulary
