"""Writes the shards that `records.py` reads, so that a kill at any moment leaves no torn file.

A shard's sequences go to a file with a temporary name; closing the shard renames it and its
companions, the summary last. So a shard with a summary is whole, one without is written again.

What it leaves out: which block goes to which shard; `prepare.py` and `beam.py` decide that.
"""

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_distilbert.atomic_writes import publish, write_atomically
from tf_distilbert.data.records import (
    FORMAT_VERSION,
    MANIFEST,
    json_checksum,
    shard_path,
    token_dtype,
)
from tf_distilbert.data.shard_files import (
    FOOTER_BYTES,
    HEADER_BYTES,
    INDEX_DTYPE,
    read_array,
    write_array,
)
from tf_distilbert.errors import explain_write_errors

HISTOGRAM_BIN = 32
"""Width of a bin of the length histogram, in tokens: bin i counts 32 i < length <= 32 (i + 1)."""

MANIFEST_SETTINGS = (
    "vocabulary_size",
    "tokenizer_sha256",
    "special_ids",
    "word_start",
    "sequence_length",
)
"""What reading the records needs to know of how they were made."""

_OF_EACH_SHARD = ("name", "num_bytes", "num_sequences", "index_crc32")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write ``value`` as readable JSON, whole or not at all."""
    write_atomically(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


@dataclass
class EncodedBlock:
    """The sequences of one block of text, and what became of the rest of it.

    Attributes:
        token_ids: ids of all sequences one after another, each [CLS] ... [SEP];
            int32 [sum(lengths)].
        lengths: tokens of each sequence, special tokens included; int64 [num_sequences].
        num_dropped: sequences left out, by reason.
        num_lines: lines that were read.
        num_invalid_lines: those of them that were no UTF-8 and were skipped.
        num_text_bytes: bytes of text in the block.
        num_source_bytes: bytes read from the sources, which may be compressed, for the block.
        num_cut: sequences whose text went on, where a text is a row.
    """

    token_ids: np.ndarray
    lengths: np.ndarray
    num_dropped: dict[str, int]
    num_lines: int
    num_invalid_lines: int
    num_text_bytes: int
    num_source_bytes: int
    num_cut: int = 0


@dataclass
class ShardSummary:
    """What ``records-NNNNN.json`` says about its shard; the manifest lists and sums them."""

    name: str
    num_bytes: int = 0
    num_sequences: int = 0
    num_tokens: int = 0
    num_blocks: int = 0
    num_text_bytes: int = 0
    num_lines: int = 0
    num_invalid_lines: int = 0
    index_crc32: int = 0
    counts_crc32: int = 0
    num_cut: int = 0
    num_dropped: dict[str, int] = field(default_factory=dict)
    length_histogram: list[int] = field(default_factory=list)


class ShardWriter:
    """Writes one shard; none of its files has its final name before `close`.

    Args:
        folder: an existing folder.
        number: the shard's place among the shards, from 0.
        vocabulary_size: decides the type of the ids on disk.
        sequence_length: the longest sequence, for the length histogram.
    """

    def __init__(
        self, folder: Path, number: int, vocabulary_size: int, sequence_length: int
    ) -> None:
        self._path = shard_path(folder, number, ".tfrecord")
        self._partial = self._path.with_name(self._path.name + ".partial")
        self._number = number
        self._position = 0
        self._index: list[tuple[int, int, int]] = []
        self._counts = np.zeros(vocabulary_size, np.int64)
        self._num_bins = -(-sequence_length // HISTOGRAM_BIN)
        self._dtype = token_dtype(vocabulary_size)
        self.summary = ShardSummary(self._path.name, length_histogram=[0] * self._num_bins)
        with self._explain_write_errors():
            self._file = tf.io.TFRecordWriter(str(self._partial))

    def append(self, block: EncodedBlock) -> None:
        """Add the sequences of a block and its share of the summary.

        Raises:
            UserError: the shard cannot be written.
        """
        token_ids = block.token_ids.astype(self._dtype, copy=False)
        starts = np.cumsum(block.lengths) - block.lengths
        with self._explain_write_errors():
            for start, length in zip(starts.tolist(), block.lengths.tolist(), strict=True):
                self._append_sequence(token_ids[start : start + length].tobytes(), length)
        self._counts += np.bincount(token_ids, minlength=len(self._counts))
        bins = np.bincount((block.lengths - 1) // HISTOGRAM_BIN, minlength=self._num_bins)
        summary = self.summary
        summary.length_histogram = (np.array(summary.length_histogram) + bins).tolist()
        summary.num_sequences += len(block.lengths)
        summary.num_tokens += len(token_ids)
        summary.num_blocks += 1
        summary.num_text_bytes += block.num_text_bytes
        summary.num_lines += block.num_lines
        summary.num_invalid_lines += block.num_invalid_lines
        summary.num_cut += block.num_cut
        summary.num_dropped = _add(summary.num_dropped, block.num_dropped)

    def _append_sequence(self, payload: bytes, length: int) -> None:
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[payload]))
        example = tf.train.Example(features=tf.train.Features(feature={"token_ids": feature}))
        data = example.SerializeToString()
        self._file.write(data)
        # The ids are the innermost and only value, so they are the last bytes of the message.
        end = self._position + HEADER_BYTES + len(data)
        self._index.append((end - len(payload), length, zlib.crc32(payload)))
        self._position = end + FOOTER_BYTES

    def close(self) -> ShardSummary:
        """Finish the shard: its files get their final names, the summary last.

        Raises:
            UserError: the shard cannot be written; then there is no summary.
        """
        with self._explain_write_errors():
            self._file.close()
            publish(self._partial, self._path)
        folder, summary = self._path.parent, self.summary
        index = np.array(self._index, INDEX_DTYPE)
        summary.num_bytes = self._position
        summary.index_crc32 = write_array(shard_path(folder, self._number, ".index.npy"), index)
        counts_path = shard_path(folder, self._number, ".counts.npy")
        summary.counts_crc32 = write_array(counts_path, self._counts)
        _write_summary(folder, self._number, summary)
        return summary

    @contextmanager
    def _explain_write_errors(self) -> Iterator[None]:
        with explain_write_errors(self._path):
            try:
                yield
            except tf.errors.OpError as error:
                raise OSError(error.message.split("\n")[0]) from None


def _add(counts: dict[str, int], more: dict[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) + more.get(name, 0) for name in counts | more}


def move_shard(source: Path, folder: Path, number: int) -> ShardSummary:
    """Make the one shard of a folder the shard of another one, under another number.

    Args:
        source: an existing folder with a whole shard of number 0.
        folder: another one on the same disk.
        number: the shard's place there.

    Raises:
        UserError: it cannot be moved; then there is no summary in `folder`.
    """
    target = shard_path(folder, number, ".tfrecord")
    content = json.loads(shard_path(source, 0, ".json").read_text(encoding="utf-8"))
    del content["crc32"]
    summary = ShardSummary(**content | {"name": target.name})
    with explain_write_errors(target):
        for suffix in (".tfrecord", ".index.npy", ".counts.npy"):
            publish(shard_path(source, 0, suffix), shard_path(folder, number, suffix))
    _write_summary(folder, number, summary)
    return summary


def _write_summary(folder: Path, number: int, summary: ShardSummary) -> None:
    content = asdict(summary)
    content["crc32"] = json_checksum(content)
    write_json(shard_path(folder, number, ".json"), content)


def read_whole_shards(folder: Path) -> list[ShardSummary]:
    """Summaries of the shards, from the first on, that an interrupted run left whole."""
    summaries: list[ShardSummary] = []
    while (summary := _read_whole_shard(folder, len(summaries))) is not None:
        summaries.append(summary)
    return summaries


def add_dropped(shards: Iterable[ShardSummary]) -> dict[str, int]:
    """Sum up what was dropped, by reason."""
    return reduce(_add, (shard.num_dropped for shard in shards))


def _read_whole_shard(folder: Path, number: int) -> ShardSummary | None:
    path = shard_path(folder, number, ".json")
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("crc32") != json_checksum(content):
            return None
        summary = ShardSummary(**content)
        index_path = shard_path(folder, number, ".index.npy")
        read_array(index_path, INDEX_DTYPE, summary.num_sequences, summary.index_crc32)
    except (ValueError, KeyError, TypeError):  # a UserError is a ValueError
        return None
    shard = folder / summary.name
    is_whole = shard.exists() and shard.stat().st_size == summary.num_bytes
    return summary if is_whole else None


def write_manifest(folder: Path, shards: Sequence[ShardSummary], settings: dict[str, Any]) -> None:
    """Sum up whole shards; with this the folder is finished and `Records.open` accepts it.

    Args:
        folder: where the shards and ``vocab.txt`` are.
        shards: their summaries, in the order of their numbers.
        settings: what `settings.json` holds; must have `MANIFEST_SETTINGS`.

    Raises:
        UserError: a file of the folder is broken, or one cannot be written.
    """
    counts = [
        read_array(
            shard_path(folder, i, ".counts.npy"),
            np.dtype("<i8"),
            settings["vocabulary_size"],
            shard.counts_crc32,
        )
        for i, shard in enumerate(shards)
    ]
    counts_crc32 = write_array(folder / "token_counts.npy", np.sum(counts, axis=0))
    histogram = np.sum([shard.length_histogram for shard in shards], axis=0)
    manifest = {
        "format_version": FORMAT_VERSION,
        **{name: settings[name] for name in MANIFEST_SETTINGS},
        "num_sequences": sum(shard.num_sequences for shard in shards),
        "num_tokens": sum(shard.num_tokens for shard in shards),
        "num_text_bytes": sum(shard.num_text_bytes for shard in shards),
        "num_lines": sum(shard.num_lines for shard in shards),
        "num_invalid_lines": sum(shard.num_invalid_lines for shard in shards),
        "num_cut": sum(shard.num_cut for shard in shards),
        "num_dropped": add_dropped(shards),
        "length_histogram": {"bin_width": HISTOGRAM_BIN, "counts": histogram.tolist()},
        "shards": [{name: getattr(shard, name) for name in _OF_EACH_SHARD} for shard in shards],
        "vocabulary_crc32": zlib.crc32((folder / "vocab.txt").read_bytes()),
        "token_counts_crc32": counts_crc32,
        "settings": settings,
    }
    manifest["crc32"] = json_checksum(manifest)
    write_json(folder / MANIFEST, manifest)
