"""Sequences of token ids on disk: ordinary TFRecord shards that can also be read at random.

A folder of records holds, with every file written under a temporary name and renamed when whole::

    settings.json             what the run was asked for; written first
    vocab.txt                 the vocabulary the ids belong to
    records-00000.tfrecord    `tf.train.Example`s, one bytes feature `token_ids`: [CLS] ... [SEP],
                              little-endian uint16 (int32 for more than 65,536 tokens), no padding
    records-00000.index.npy   per sequence: byte offset of its ids, length, CRC-32 of them
    records-00000.counts.npy  int64 [vocabulary_size], how often each id occurs in the shard
    records-00000.json        the shard's `ShardSummary`; renamed last, so it marks a whole shard
    token_counts.npy          the sum of the shards' counts
    manifest.json             totals and the list of shards; written last, so it marks a whole run

The index is why training can shuffle the whole corpus: `Records.gather` copies any sequences out
of memory-mapped shards instead of streaming past their neighbours. Reading needs NumPy only;
TensorFlow is imported by the writer, which leaves the framing of TFRecords to it. Folders are on
a local disk (renaming is what makes them safe), and there is no compression: ids hardly shrink.
"""

import copy
import hashlib
import json
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tf_distilbert.data.shard_files import (
    INDEX_DTYPE,
    DamagedSequence,
    DamagedSequences,
    ShardFile,
    checksum,
    index_of_shard,
    read_array,
)
from tf_distilbert.errors import UserError

MANIFEST = "manifest.json"
"""The file that marks a folder of records as finished."""

FORMAT_VERSION = 3

HELD_OUT_BLOCK = 16
"""Sequences that `Records.split` holds out side by side."""


def token_dtype(vocabulary_size: int) -> np.dtype:
    """The type of the ids on disk: uint16 where the vocabulary fits it, else int32."""
    return np.dtype("<u2" if vocabulary_size <= 1 << 16 else "<i4")


def shard_path(folder: Path, number: int, suffix: str) -> Path:
    """``folder/records-00007.tfrecord`` for number 7 and suffix ``.tfrecord``."""
    return folder / f"records-{number:05d}{suffix}"


def json_checksum(content: dict[str, Any]) -> int:
    """The CRC-32 of what a file says, but for its own ``crc32``."""
    content = {name: value for name, value in content.items() if name != "crc32"}
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


class Records:
    """Random access to the sequences of a finished folder; open one with `Records.open`.

    Safe to read from several threads. It keeps 16 bytes per sequence in memory, the ids stay in
    the page cache.

    Attributes:
        path: the folder.
        manifest: ``manifest.json`` as a dictionary.
        num_sequences: how many sequences there are.
        num_tokens: tokens in all sequences, special tokens included.
        sequence_length: length of the longest possible sequence, special tokens included.
        vocabulary_size: ids are below it.
        tokenizer_sha256: see `Tokenizer`.
        special_ids: see `Tokenizer`.
        word_start: see `Tokenizer`.
        pad_id: the id that fills up rows.
        token_counts: how often each id occurs; int64 [vocabulary_size].
        damaged: the sequences that were skipped so far, each once. Views made by `split` have the
            same ones.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], on_corrupt: str) -> None:
        self.path = path
        self.manifest = manifest
        self.damaged = DamagedSequences()
        self._skips = on_corrupt == "skip"
        self.num_sequences: int = manifest["num_sequences"]
        self.num_tokens: int = manifest["num_tokens"]
        self.sequence_length: int = manifest["sequence_length"]
        self.vocabulary_size: int = manifest["vocabulary_size"]
        self.tokenizer_sha256: str = manifest["tokenizer_sha256"]
        self.special_ids: list[int] = manifest["special_ids"]
        self.word_start: str | None = manifest["word_start"]
        self.pad_id = self.special_ids[0]
        self._dtype = token_dtype(self.vocabulary_size)
        shards = manifest["shards"]
        self._shards = [self._open_shard(shard) for shard in shards]
        if not any(shard.num_bytes for shard in self._shards):
            raise UserError(f"{path}: none of its shards can be read; prepare again")
        self._index = np.concatenate([self._read_index(i) for i in range(len(shards))])
        self._rows = np.arange(self.num_sequences)
        self._ends = np.cumsum([s["num_sequences"] for s in shards])
        self.token_counts = read_array(
            path / "token_counts.npy",
            np.dtype("<i8"),
            self.vocabulary_size,
            manifest["token_counts_crc32"],
        )

    @classmethod
    def open(cls, path: str | Path, on_corrupt: str = "error") -> "Records":
        """Open a folder that ``prepare`` made.

        Args:
            path: the folder.
            on_corrupt: ``"error"`` refuses a shard that is missing or has another size, and raises
                where `gather` meets a damaged sequence. ``"skip"`` goes on without sequences that
                cannot be read as they were written: `gather` gives a row of padding only and notes
                them in `damaged`. Everything else stays as it would be, so an index that is broken
                is made again from its shard.

        Raises:
            UserError: no such folder, an unfinished one, or a file that is missing, truncated or
                broken; the message names the file.
        """
        if on_corrupt not in ("error", "skip"):
            raise UserError(f"on_corrupt: {on_corrupt!r} is neither 'error' nor 'skip'")
        path = Path(path)
        if not path.is_dir():
            raise UserError(f"{path}: no such folder; make it with `tf-distilbert prepare`")
        manifest_path = path / MANIFEST
        if not manifest_path.exists():
            raise UserError(f"{path}: unfinished (no manifest.json); run prepare again")
        broken = UserError(f"{manifest_path}: broken; remove {path} and prepare again")
        try:
            manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
            version = manifest["format_version"]
        except (ValueError, KeyError, TypeError):
            raise broken from None
        if version != FORMAT_VERSION:
            raise UserError(
                f"{manifest_path}: has format {version}, this program reads {FORMAT_VERSION}; "
                f"remove {path} and prepare again"
            )
        if manifest.get("crc32") != json_checksum(manifest):
            raise broken
        return cls(path, manifest, on_corrupt)

    def __len__(self) -> int:
        return self.num_sequences

    @cached_property
    def vocabulary(self) -> list[str]:
        """The tokens in the order of their ids, read from ``vocab.txt`` when first asked for.

        Raises:
            UserError: the file is not the one that was written.
        """
        path = self.path / "vocab.txt"
        content = path.read_bytes() if path.exists() else b""
        if zlib.crc32(content) != self.manifest["vocabulary_crc32"]:
            raise UserError(
                f"{path}: missing or broken (its checksum differs); remove {self.path} and "
                "prepare again"
            )
        return content.decode("utf-8").removesuffix("\n").split("\n")

    def split(self, share: float) -> tuple["Records", "Records"]:
        """Give two views: the most, and a share that is held out.

        Held out are blocks of neighbours, spread evenly over the corpus, so that every source has
        its part and few documents are in both.

        Args:
            share: of the second part, at least one sequence and not all. The attribute
                `token_counts` of both stays that of the whole.

        Raises:
            UserError: there is a single sequence.
        """
        if len(self) < 2:
            raise UserError(f"{self.path}: has a single sequence, there is nothing to hold out")
        number = min(max(1, round(share * len(self))), len(self) - 1)
        held_out = np.zeros(len(self), bool)
        # Of every block of consecutive held-out ranks the first sets where the whole block lies.
        ranks = np.arange(number)
        first = ranks // HELD_OUT_BLOCK * HELD_OUT_BLOCK
        held_out[first * len(self) // number + ranks - first] = True
        return self._view(~held_out), self._view(held_out)

    def _view(self, chosen: np.ndarray) -> "Records":
        view = copy.copy(self)
        view._rows = self._rows[chosen]
        view.num_sequences = len(view._rows)
        view.num_tokens = int(self._index["length"][view._rows].sum())
        return view

    @property
    def rows(self) -> str:
        """What a sequence is: a part of a ``blocks`` of connected text, or one of ``texts``."""
        return self.manifest.get("settings", {}).get("rows", "blocks")

    @property
    def unknown_share(self) -> float:
        """The share of [UNK] among all tokens but [PAD], [CLS], [SEP] and [MASK]."""
        pad, unknown, *others = self.special_ids
        num_tokens = self.token_counts.sum() - self.token_counts[[pad, *others]].sum()
        return float(self.token_counts[unknown] / max(num_tokens, 1))

    @property
    def identity(self) -> str:
        """Tell these sequences from others: the same text, prepared anew, has the same."""
        counts = zlib.crc32(self.token_counts.astype(np.int64).tobytes())
        return f"{self.tokenizer_sha256[:12]}-{self.num_sequences}-{self.num_tokens}-{counts:08x}"

    @property
    def order(self) -> str:
        """Tell these sequences, in their order, from others: by the checksums of all of them.

        `identity` tells what is learnt; this is for what is kept of each sequence by its number.
        """
        digest = hashlib.sha256(self.tokenizer_sha256.encode())
        for column in ("length", "crc32"):
            digest.update(np.ascontiguousarray(self._index[column][self._rows]).tobytes())
        return digest.hexdigest()

    def lengths(self, indices: np.ndarray) -> np.ndarray:
        """Tokens of the given sequences, 0 for an index of -1: int64 [n] to int32 [n]."""
        indices = self._checked(indices)
        return np.where(indices < 0, 0, self._index["length"][indices]).astype(np.int32)

    def gather(self, indices: np.ndarray) -> np.ndarray:
        """Copy sequences into the rows of a matrix, filled up with `pad_id`.

        Args:
            indices: which sequences, in any order, int64 [n]; -1 gives a row of padding only.

        Returns:
            int32 [n, sequence_length]. The row of a sequence that is skipped is padding only.

        Raises:
            IndexError: an index is not in -1 .. num_sequences - 1.
            UserError: the bytes on disk are not the ones that were written, and the records were
                not opened to skip such sequences.
        """
        indices = self._checked(indices)
        result = np.full((len(indices), self.sequence_length), self.pad_id, np.int32)
        rows = np.flatnonzero(indices >= 0)
        numbers = np.searchsorted(self._ends, indices[rows], side="right").tolist()
        entries = self._index[indices[rows]].tolist()
        size, dtype = self._dtype.itemsize, self._dtype
        for row, number, (offset, length, crc32) in zip(rows, numbers, entries, strict=True):
            try:
                payload, reason = self._shards[number].read(offset, length * size), None
            except OSError as error:
                payload, reason = b"", f"it cannot be read: {error.strerror}"
            if len(payload) < length * size:
                reason = reason or "the file ends before it does"
            elif zlib.crc32(payload) != crc32:
                reason = "its checksum differs"
            if reason:
                self._note_damage(int(indices[row]), number, offset, reason)
            else:
                result[row, :length] = np.frombuffer(payload, dtype)
        return result

    def _checked(self, indices: np.ndarray) -> np.ndarray:
        indices = np.asarray(indices, np.int64)
        if indices.size and not -1 <= indices.min() <= indices.max() < self.num_sequences:
            raise IndexError(f"sequence indices must be in -1 .. {self.num_sequences - 1}")
        return np.where(indices < 0, -1, self._rows[indices])

    def _note_damage(self, sequence: int, number: int, offset: int, reason: str) -> None:
        shard = self.manifest["shards"][number]
        record = sequence - int(self._ends[number]) + shard["num_sequences"]
        damaged = DamagedSequence(self.path / shard["name"], record, offset, reason)
        if not self._skips:
            raise UserError(f"{damaged}; {self._remedy}")
        self.damaged.add(damaged)

    @property
    def _remedy(self) -> str:
        return (
            f"remove {self.path} and prepare again, or go on without such sequences with "
            "data.on_corrupt=skip"
        )

    def _open_shard(self, shard: dict[str, Any]) -> ShardFile:
        path, size = self.path / shard["name"], shard["num_bytes"]
        file = ShardFile(path)
        if self._skips:
            return file
        if isinstance(file.error, FileNotFoundError):
            raise UserError(f"{path}: missing, but the manifest lists it; {self._remedy}")
        if file.error is not None:
            raise UserError(f"{path}: cannot be read ({file.error.strerror}); {self._remedy}")
        if file.num_bytes != size:
            raise UserError(
                f"{path}: {'truncated' if file.num_bytes < size else 'too long'}: it has "
                f"{file.num_bytes:,} bytes, the manifest says {size:,}; {self._remedy}"
            )
        return file

    def _read_index(self, number: int) -> np.ndarray:
        """The index of one shard."""
        shard = self.manifest["shards"][number]
        path = shard_path(self.path, number, ".index.npy")
        try:
            return read_array(path, INDEX_DTYPE, shard["num_sequences"], shard["index_crc32"])
        except UserError as error:
            if not self._skips:
                remedy = "or make it again from its shard with data.on_corrupt=skip"
                raise UserError(f"{error}, {remedy}") from None
            index = self._index_made_again(self.path / shard["name"])
            if checksum(index) != shard["index_crc32"]:
                raise
            return index

    def _index_made_again(self, shard: Path) -> np.ndarray:
        try:
            return index_of_shard(shard, self._dtype.itemsize)
        except OSError:
            return np.empty(0, INDEX_DTYPE)
