"""Sequences of token ids on disk: ordinary TFRecord shards that can also be read at random.

A folder of records holds, with every file written under a temporary name and renamed when whole::

    settings.json             what the run was asked for; written first
    vocab.txt                 the vocabulary the ids belong to
    records-00000.tfrecord    `tf.train.Example`s, one bytes feature `token_ids`: [CLS] ... [SEP],
                              little-endian uint16 (int32 for more than 65,536 tokens), no padding
    records-00000.index.npy   per sequence: byte offset of its ids, length, CRC-32
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
import json
import mmap
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tf_distilbert.errors import UserError

FORMAT_VERSION = 2
INDEX_DTYPE = np.dtype([("offset", "<u8"), ("length", "<u4"), ("crc32", "<u4")])

HELD_OUT_BLOCK = 16
"""Sequences that `Records.split` holds out side by side."""


def token_dtype(vocabulary_size: int) -> np.dtype:
    """The type of the ids on disk: uint16 where the vocabulary fits it, else int32."""
    return np.dtype("<u2" if vocabulary_size <= 1 << 16 else "<i4")


def shard_path(folder: Path, number: int, suffix: str) -> Path:
    """``folder/records-00007.tfrecord`` for number 7 and suffix ``.tfrecord``."""
    return folder / f"records-{number:05d}{suffix}"


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
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
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
        self._shards = [_map_shard(path / s["name"], s["num_bytes"]) for s in shards]
        self._index = np.concatenate([self._read_index(i) for i in range(len(shards))])
        self._rows = np.arange(self.num_sequences)
        self._ends = np.cumsum([s["num_sequences"] for s in shards])
        self.token_counts = _load_array(path / "token_counts.npy")

    @classmethod
    def open(cls, path: str | Path) -> "Records":
        """Open a folder that ``prepare`` made.

        Raises:
            UserError: no such folder, an unfinished one, or a file that is missing, truncated or
                broken; the message names the file.
        """
        path = Path(path)
        if not path.is_dir():
            raise UserError(f"{path}: no such folder; make it with `tf-distilbert prepare`")
        manifest_path = path / "manifest.json"
        if not manifest_path.exists():
            raise UserError(f"{path}: unfinished (no manifest.json); run prepare again")
        try:
            manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
            version = manifest["format_version"]
            if version == FORMAT_VERSION:
                return cls(path, manifest)
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
            raise UserError(f"{manifest_path}: broken; remove {path} and prepare again") from None
        raise UserError(
            f"{manifest_path}: has format {version}, this program reads {FORMAT_VERSION}; "
            f"remove {path} and prepare again"
        )

    def __len__(self) -> int:
        return self.num_sequences

    @cached_property
    def vocabulary(self) -> list[str]:
        """The tokens in the order of their ids, read from ``vocab.txt`` when first asked for."""
        text = (self.path / "vocab.txt").read_text(encoding="utf-8")
        return text.removesuffix("\n").split("\n")

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
    def identity(self) -> str:
        """Tell these sequences from others: the same text, prepared anew, has the same."""
        counts = zlib.crc32(self.token_counts.astype(np.int64).tobytes())
        return f"{self.tokenizer_sha256[:12]}-{self.num_sequences}-{self.num_tokens}-{counts:08x}"

    def lengths(self, indices: np.ndarray) -> np.ndarray:
        """Tokens of the given sequences, 0 for an index of -1: int64 [n] to int32 [n]."""
        indices = self._checked(indices)
        return np.where(indices < 0, 0, self._index["length"][indices]).astype(np.int32)

    def gather(self, indices: np.ndarray) -> np.ndarray:
        """Copy sequences into the rows of a matrix, filled up with `pad_id`.

        Args:
            indices: which sequences, in any order, int64 [n]; -1 gives a row of padding only.

        Returns:
            int32 [n, sequence_length].

        Raises:
            IndexError: an index is not in -1 .. num_sequences - 1.
            UserError: the bytes on disk are not the ones that were written.
        """
        indices = self._checked(indices)
        result = np.full((len(indices), self.sequence_length), self.pad_id, np.int32)
        rows = np.flatnonzero(indices >= 0)
        numbers = np.searchsorted(self._ends, indices[rows], side="right").tolist()
        entries = self._index[indices[rows]].tolist()
        size, dtype = self._dtype.itemsize, self._dtype
        for row, number, (offset, length, crc32) in zip(rows, numbers, entries, strict=True):
            payload = self._shards[number][offset : offset + length * size]
            if zlib.crc32(payload) != crc32:
                raise self._damaged(int(indices[row]), number, offset)
            result[row, :length] = np.frombuffer(payload, dtype)
        return result

    def _checked(self, indices: np.ndarray) -> np.ndarray:
        indices = np.asarray(indices, np.int64)
        if indices.size and not -1 <= indices.min() <= indices.max() < self.num_sequences:
            raise IndexError(f"sequence indices must be in -1 .. {self.num_sequences - 1}")
        return np.where(indices < 0, -1, self._rows[indices])

    def _damaged(self, sequence: int, number: int, offset: int) -> UserError:
        shard = self.manifest["shards"][number]
        record = sequence - int(self._ends[number]) + shard["num_sequences"]
        return UserError(
            f"{self.path / shard['name']}: record {record} at byte {offset} is damaged (its "
            f"checksum differs); remove {self.path} and prepare again"
        )

    def _read_index(self, number: int) -> np.ndarray:
        """The index of one shard, after a check that it points into the shard."""
        path = shard_path(self.path, number, ".index.npy")
        index = _load_array(path)
        expected = self.manifest["shards"][number]["num_sequences"]
        if index.dtype != INDEX_DTYPE or index.shape != (expected,):
            raise UserError(f"{path}: broken; remove {self.path} and prepare again")
        ends = index["offset"] + index["length"].astype(np.uint64) * self._dtype.itemsize
        outside = ends.max(initial=0) > len(self._shards[number])
        if outside or index["length"].max(initial=0) > self.sequence_length:
            raise UserError(f"{path}: broken; remove {self.path} and prepare again")
        return index


def _map_shard(path: Path, num_bytes: int) -> memoryview:
    """The bytes of a shard, mapped into memory after a check of their number."""
    if not path.exists():
        raise UserError(f"{path}: missing, but the manifest lists it; run prepare anew")
    size = path.stat().st_size
    if size != num_bytes:
        raise UserError(
            f"{path}: truncated: it has {size:,} bytes, the manifest says {num_bytes:,}; "
            f"remove {path.parent} and prepare again"
        )
    if num_bytes == 0:  # every sequence of the shard was dropped, and mmap refuses empty files
        return memoryview(b"")
    with open(path, "rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _load_array(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; remove {path.parent} and prepare again") from None
    except (ValueError, EOFError, OSError):
        raise UserError(f"{path}: broken; remove {path.parent} and prepare again") from None
