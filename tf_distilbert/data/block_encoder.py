"""One block of text to sequences of token ids: the work that every runner of `prepare` spreads."""

import numpy as np
import tensorflow as tf

from tf_distilbert.data.packing import drop_useless, mark_kinds, pack_documents, wrap_pieces
from tf_distilbert.data.shards import EncodedBlock
from tf_distilbert.data.text import TextBlock
from tf_distilbert.tokenization.tokenizer import Tokenizer


class BlockEncoder:
    """Turns one block of text into sequences; called from several threads at once.

    Args:
        tokenizer: cuts the text into ids.
        sequence_length: most tokens of a sequence, [CLS] and [SEP] included.
        cross_documents: let a sequence run on into the next document of its block.
    """

    def __init__(self, tokenizer: Tokenizer, sequence_length: int, cross_documents: bool) -> None:
        self._tokenizer = tokenizer
        self._kinds = mark_kinds(
            tokenizer.surface_forms, with_spaces=tokenizer.word_start is not None
        )
        self._capacity = sequence_length - 2
        self._cross_documents = cross_documents

    def __call__(self, block: TextBlock) -> EncodedBlock:
        """Tokenise a block and pack its documents."""
        paragraphs = [paragraph for document in block.documents for paragraph in document]
        with tf.device("CPU"):  # a GPU would only be handed the ids to hand them back
            ragged = self._tokenizer.tokenize(tf.constant(paragraphs, tf.string))
            token_ids, paragraph_lengths = ragged.values.numpy(), ragged.row_lengths().numpy()
        pieces = pack_documents(
            token_ids,
            paragraph_lengths,
            np.array([len(document) for document in block.documents], np.int64),
            kinds=self._kinds,
            capacity=self._capacity,
            cross_documents=self._cross_documents,
        )
        tokenizer = self._tokenizer
        pieces, num_dropped = drop_useless(token_ids, pieces, tokenizer.unknown_id)
        return EncodedBlock(
            *wrap_pieces(token_ids, pieces, tokenizer.start_id, tokenizer.end_id),
            num_dropped=num_dropped,
            num_invalid_lines=block.num_invalid_lines,
            num_text_bytes=block.num_bytes,
            num_source_bytes=block.num_source_bytes,
        )
