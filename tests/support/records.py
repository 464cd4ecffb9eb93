"""Small prepared records, and the arrays of a batch."""

import numpy as np

from tf_distilbert.data.records import Records
from tf_distilbert.data.shards import EncodedBlock, ShardWriter, read_whole_shards, write_manifest

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = SPECIAL_TOKENS + [f"w{i}" for i in range(95)]
LENGTH = 20


def write_records(folder, num_sequences, num_shards=2, shortest=12):
    """Sequences of up to 20 tokens that are all different."""
    random = np.random.default_rng(num_sequences)
    folder.mkdir(exist_ok=True)
    for number, part in enumerate(np.array_split(np.arange(num_sequences), num_shards)):
        lengths = random.integers(shortest, LENGTH + 1, len(part))
        token_ids = random.integers(5, 100, lengths.sum())
        ends = np.cumsum(lengths)
        token_ids[ends - lengths], token_ids[ends - 1] = 2, 3
        writer = ShardWriter(folder, number, 100, LENGTH)
        writer.append(EncodedBlock(token_ids, lengths, {}, 0, 0, 0, 0))
        writer.close()
    settings = {
        "vocabulary_size": 100,
        "tokenizer_sha256": "ab",
        "special_ids": [0, 1, 2, 3, 4],
        "word_start": None,
        "sequence_length": LENGTH,
    }
    (folder / "vocab.txt").write_text("\n".join([*VOCABULARY, ""]))
    write_manifest(folder, read_whole_shards(folder), settings)
    return Records.open(folder)


def flatten(batch):
    inputs, mask_ids, mask_weights = batch
    return [np.asarray(part) for part in (*inputs.values(), mask_ids, mask_weights)]
