"""One text a row: lines as they are, each once, cut where they are too long.

Blocks of connected text teach words; what is compared as a whole, as the vectors of a sentence
encoder are, must be a text of its own. `packing.py` makes the blocks.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import tensorflow as tf

from tf_distilbert.data.packing import mostly_unknown, wrap_pieces
from tf_distilbert.data.shards import EncodedBlock
from tf_distilbert.data.text import TextBlock
from tf_distilbert.tokenization.tokenizer import Tokenizer

_DIGEST_BYTES = 16  # two of a billion texts are alike by chance once in 10^20


def unique_texts(blocks: Iterable[TextBlock]) -> Iterator[TextBlock]:
    """Leave out every line that came before, in any block; memory is about 100 bytes a line.

    Args:
        blocks: of `read_blocks`, from the first one on: what was left out before is so again.

    Yields:
        The blocks without them, and their number as `num_duplicates`.
    """
    seen: set[bytes] = set()
    for block in blocks:
        documents, duplicates = [], 0
        for document in block.documents:
            kept = []
            for line in document:
                digest = hashlib.blake2b(line.strip(), digest_size=_DIGEST_BYTES).digest()
                if digest in seen:
                    duplicates += 1
                else:
                    seen.add(digest)
                    kept.append(line)
            documents.append(kept)
        yield replace(block, documents=documents, num_duplicates=duplicates)


class TextEncoder:
    """Turns the lines of a block into sequences; called from several threads at once.

    Args:
        tokenizer: cuts the text into ids.
        sequence_length: most tokens of a sequence, [CLS] and [SEP] included; the rest of a longer
            line is left out.
    """

    def __init__(self, tokenizer: Tokenizer, sequence_length: int) -> None:
        self._tokenizer = tokenizer
        self._capacity = sequence_length - 2

    def __call__(self, block: TextBlock) -> EncodedBlock:
        """Tokenise a block, and make a sequence of each line."""
        lines = [line for document in block.documents for line in document]
        with tf.device("CPU"):  # a GPU would only be handed the ids to hand them back
            ragged = self._tokenizer.tokenize(tf.constant(lines, tf.string))
            token_ids, lengths = ragged.values.numpy(), ragged.row_lengths().numpy()
        ends = np.cumsum(lengths)
        starts = ends - lengths
        pieces = np.stack([starts, np.minimum(ends, starts + self._capacity)], axis=1)
        is_empty = lengths == 0
        is_unknown = ~is_empty & mostly_unknown(token_ids, pieces, self._tokenizer.unknown_id)
        kept = ~(is_empty | is_unknown)
        tokenizer = self._tokenizer
        return EncodedBlock(
            *wrap_pieces(token_ids, pieces[kept], tokenizer.start_id, tokenizer.end_id),
            num_dropped={
                "empty": int(is_empty.sum()),
                "unknown": int(is_unknown.sum()),
                "duplicate": block.num_duplicates,
            },
            num_cut=int((kept & (lengths > self._capacity)).sum()),
            num_lines=block.num_lines,
            num_invalid_lines=block.num_invalid_lines,
            num_text_bytes=block.num_bytes,
            num_source_bytes=block.num_source_bytes,
        )
