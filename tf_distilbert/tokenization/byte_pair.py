"""Byte-level BPE as RoBERTa (and GPT-2) use it, by the `tokenizers` library.

It is not part of TensorFlow graphs: training reads prepared ids and does not need it there.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors

from tf_distilbert.tokenization.tokenizer import ROBERTA_TOKENS, Tokenizer, TokenSpans


@keras.saving.register_keras_serializable("tf_distilbert")
class BytePairTokenizer(Tokenizer):
    """Text to byte-level BPE ids.

    Args:
        vocabulary: token to id, RoBERTa's five special tokens among them.
        merges: pairs of tokens in the order in which they are merged.
        add_prefix_space: treat a text's first word as if a space were before it.
        mask_takes_space: the space before a mask belongs to it, as in RoBERTa: what it hides is
            mostly a word with its space.

    Example:
        >>> tokenizer.encode("Paris is in <mask>.")
        [0, 32826, 16, 11, 50264, 4, 2]
    """

    word_start = "\u0120"  # how the byte alphabet writes a space: at the front of the word

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        merges: Sequence[tuple[str, str]],
        add_prefix_space: bool = False,
        mask_takes_space: bool = True,
    ) -> None:
        tokens = sorted(vocabulary, key=vocabulary.__getitem__)
        self.merges = [(first, second) for first, second in merges]
        self.add_prefix_space = add_prefix_space
        self._arguments = {
            "vocabulary": dict(vocabulary),
            "merges": self.merges,
            "add_prefix_space": add_prefix_space,
            "mask_takes_space": mask_takes_space,
        }
        super().__init__(
            tokens,
            ROBERTA_TOKENS,
            merges_sha256=hashlib.sha256(json.dumps(self.merges).encode()).hexdigest(),
            add_prefix_space=add_prefix_space,
            mask_takes_space=mask_takes_space,
        )
        self._mask: dict[str, Any] = {"content": ROBERTA_TOKENS.mask, "lstrip": mask_takes_space}
        self._library = tokenizers.Tokenizer(models.BPE(dict(vocabulary), self.merges))
        self._library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
        # RoBERTa's own setting: offsets leave out the space.
        self._library.post_processor = processors.ByteLevel(
            add_prefix_space=add_prefix_space, trim_offsets=True
        )
        self._library.add_special_tokens(
            [AddedToken(token, normalized=False) for token in ROBERTA_TOKENS[:-1]]
            + [AddedToken(**self._mask, normalized=False)]
        )

    def tokenize(self, texts: tf.Tensor | Sequence[str]) -> tf.RaggedTensor:
        """Give each text's ids: string [B] to ragged int32 [B, None]; see `Tokenizer.tokenize`.

        Outside graphs only. What is not UTF-8 is read as U+FFFD.
        """
        return _ragged([encoding.ids for encoding in self._encode(texts)])

    def tokenize_with_offsets(self, texts: tf.Tensor | Sequence[str]) -> TokenSpans:
        """Give ids and the characters they are made of; see `Tokenizer.tokenize_with_offsets`.

        Outside graphs only. A space before a word belongs to its token and not to its characters.
        """
        encodings = self._encode(texts)
        starts = [[start for start, _ in e.offsets] for e in encodings]
        ends = [[end for _, end in e.offsets] for e in encodings]
        return TokenSpans(*map(_ragged, ([e.ids for e in encodings], starts, ends)))

    def _encode(self, texts: tf.Tensor | Sequence[str]) -> list[tokenizers.Encoding]:
        texts = tf.convert_to_tensor(texts, tf.string).numpy().tolist()
        texts = [text.decode("utf-8", errors="replace") for text in texts]
        return self._library.encode_batch(texts, add_special_tokens=False)

    @cached_property
    def surface_forms(self) -> tuple[str, ...]:
        """What each token of the vocabulary looks like in a text; U+FFFD for parts of letters."""
        decoder = decoders.ByteLevel()
        return tuple(
            token if token in ROBERTA_TOKENS else decoder.decode([token])
            for token in self.vocabulary
        )

    def save(self, folder: Path, max_length: int) -> None:
        """Write ``vocab.json``, ``merges.txt``, ``tokenizer_config.json``; see `Tokenizer.save`."""
        ids = {token: i for i, token in enumerate(self.vocabulary)}
        (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
        lines = ["#version: 0.2", *(" ".join(pair) for pair in self.merges), ""]
        (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
        self._save_settings(
            folder,
            "RobertaTokenizer",
            model_max_length=max_length,
            add_prefix_space=self.add_prefix_space,
            bos_token=ROBERTA_TOKENS.start,
            eos_token=ROBERTA_TOKENS.end,
            mask_token={"__type": "AddedToken", **self._mask, "special": True},
        )


def _ragged(rows: list[list[int]]) -> tf.RaggedTensor:
    flat = [number for row in rows for number in row]
    return tf.RaggedTensor.from_row_lengths(
        tf.constant(flat, tf.int32), tf.constant([len(row) for row in rows], tf.int64)
    )
