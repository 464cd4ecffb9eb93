"""Records of which the second shard can be damaged, and ways to damage it."""

import numpy as np

from support.records import write_records

SHARD, INDEX = "records-00001.tfrecord", "records-00001.index.npy"


def twelve_sequences(tmp_path):
    """Twelve sequences in two shards: 6 to 11 are in the second."""
    write_records(tmp_path / "records", 12)
    return tmp_path / "records"


def all_rows(records):
    return records.gather(np.arange(len(records)))


def offsets(folder):
    return np.load(folder / INDEX)["offset"].astype(int).tolist()


def flip(path, position, bits=1):
    content = bytearray(path.read_bytes())
    content[position] ^= bits
    path.write_bytes(content)


def flip_two(folder):
    flip(folder / SHARD, offsets(folder)[1] + 3)
    flip(folder / SHARD, offsets(folder)[4])
    return {7, 10}, "its checksum differs"


def truncate(folder):
    with open(folder / SHARD, "r+b") as file:
        file.truncate(offsets(folder)[4] + 5)
    return {10, 11}, "the file ends before it does"


def remove(folder):
    (folder / SHARD).unlink()
    return set(range(6, 12)), "it cannot be read: No such file or directory"
