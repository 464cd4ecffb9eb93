"""Text to shards of token sequences, on all cores, and restartable after a kill.

The main thread reads blocks of text and writes sequences in the order of the text; a pool of
threads tokenises and packs in between (TensorFlow's tokeniser runs outside Python's global lock).
So the shards are the same, byte for byte, whatever the number of threads and however often the
run was interrupted: whole shards are kept, and the blocks that they hold are skipped.

What it leaves out: shuffling and masking, which training does afresh in each epoch.
"""

import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.data.packing import drop_useless, mark_kinds, pack_documents, wrap_pieces
from tf_distilbert.data.records import FORMAT_VERSION, Records
from tf_distilbert.data.shards import (
    EncodedBlock,
    ShardWriter,
    read_whole_shards,
    write_json,
    write_manifest,
)
from tf_distilbert.data.text import (
    BLOCK_BYTES,
    TextBlock,
    fingerprint,
    read_blocks,
)
from tf_distilbert.errors import UserError, explain_write_errors
from tf_distilbert.tokenization.tokenizer import Tokenizer

SHARD_TOKENS = 32 << 20
"""A shard is closed after the block with which it reaches this many tokens: about 64 MB."""

MIN_SEQUENCE_LENGTH = 16

_MAX_DEFAULT_WORKERS = 8  # more would hardly be fed by the one reader, but take memory


def prepare(
    sources: str | Iterable[str],
    tokenizer: Tokenizer,
    output: str | Path,
    *,
    sequence_length: int = 512,
    workers: int | None = None,
    invalid_utf8: str = "skip",
    cross_documents: bool = False,
    shard_tokens: int = SHARD_TOKENS,
    progress: bool = True,
    on_corrupt: str = "error",
) -> Records:
    """Tokenise text, pack it into sequences and write them as records.

    Run again with the same arguments it goes on where it stopped, or says that all is done.

    Args:
        sources: one or several; see `text.read_blocks`.
        tokenizer: cuts the text into ids; its vocabulary is stored with the records.
        output: a folder; made if it is missing.
        sequence_length: most tokens of a sequence, [CLS] and [SEP] included.
        workers: tokenising threads; by default one a core, at most 8.
        invalid_utf8: ``"skip"`` and count lines that are not UTF-8, or ``"refuse"`` them.
        cross_documents: let a sequence run on into the next document.
        shard_tokens: a shard is closed after the block with which it reaches this many tokens.
        progress: show a progress bar (on a terminal) and a summary on stderr.
        on_corrupt: how the records are opened; see `Records.open`.

    Returns:
        The finished records, opened.

    Raises:
        UserError: bad sources or settings, an output that was made with other settings or cannot
            be written, or text of which no sequence is left.
    """
    output = Path(output)
    sources = [sources] if isinstance(sources, str) else list(sources)
    workers = min(os.cpu_count() or 1, _MAX_DEFAULT_WORKERS) if workers is None else workers
    _check_sizes(sequence_length, workers)
    settings = {
        "format_version": FORMAT_VERSION,
        "sources": fingerprint(sources),
        "vocabulary_size": len(tokenizer.vocabulary),
        "tokenizer": tokenizer.settings,
        "tokenizer_sha256": tokenizer.sha256,
        "special_ids": list(tokenizer.special_ids),
        "word_start": tokenizer.word_start,
        "sequence_length": sequence_length,
        "invalid_utf8": invalid_utf8,
        "cross_documents": cross_documents,
        "shard_tokens": shard_tokens,
        "block_bytes": BLOCK_BYTES,
    }
    report = _Report(progress, settings["sources"])
    _claim_folder(output, settings)
    if (output / "manifest.json").exists():
        records = Records.open(output, on_corrupt)
        report.say(f"{output}: already prepared, {len(records):,} sequences; nothing to do")
        return records
    _write_shards(output, sources, tokenizer, settings, workers, report)
    shards = read_whole_shards(output)
    if not any(shard.num_sequences for shard in shards):
        raise UserError(
            f"{', '.join(sources)}: no sequence is left ({_join_counts(shards[0].num_dropped)} "
            f"dropped); give more text, or a vocabulary that fits it, and remove {output}"
        )
    write_manifest(output, shards, settings)
    records = Records.open(output, on_corrupt)
    report.summarise(records)
    return records


def _check_sizes(sequence_length: int, workers: int) -> None:
    if sequence_length < MIN_SEQUENCE_LENGTH:
        raise UserError(
            f"sequence_length: {sequence_length} is too short; give {MIN_SEQUENCE_LENGTH} or more"
        )
    if workers < 1:
        raise UserError(f"workers: {workers} is too few; give 1 or more, or leave it out")


# What is said of settings whose values say nothing.
_DIFFERENCES = {"sources": "other files, sizes or dates", "tokenizer_sha256": "other tokens"}


def _claim_folder(output: Path, settings: dict[str, Any]) -> None:
    """Make the folder ours by its ``settings.json``, or see that it already is."""
    with explain_write_errors(output):
        output.mkdir(parents=True, exist_ok=True)
    path = output / "settings.json"
    if any(output.glob("records-*.tfrecord")) and not path.exists():
        raise UserError(f"{output}: has shards but no settings.json; choose another --output")
    if not any(output.glob("records-*.json")):  # no whole shard that would be lost or mixed
        write_json(path, settings)
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{path}: broken; remove {output} or choose another --output") from None
    wanted = json.loads(json.dumps(settings))  # tuples become lists, as in the file
    for name in wanted:
        if found.get(name) != wanted[name]:
            values = f"{found.get(name)} there, {wanted[name]} now"
            difference = _DIFFERENCES.get(name, values)
            raise UserError(
                f"{output}: was made with other settings ({name}: {difference}); choose another "
                "--output or remove it"
            )


def _write_shards(
    output: Path,
    sources: list[str],
    tokenizer: Tokenizer,
    settings: dict[str, Any],
    workers: int,
    report: "_Report",
) -> None:
    """Write all shards that are not there yet."""
    with explain_write_errors(output):
        for partial in output.glob("*.partial"):
            partial.unlink()
    vocabulary = "\n".join(tokenizer.vocabulary) + "\n"
    write_atomically(output / "vocab.txt", vocabulary.encode("utf-8"))
    whole = read_whole_shards(output)
    if whole:
        report.say(f"{output}: going on after {len(whole)} whole shards")
    encoder = _Encoder(tokenizer, settings["sequence_length"], settings["cross_documents"])
    with report:
        blocks = read_blocks(sources, settings["invalid_utf8"], settings["block_bytes"])
        for block in islice(blocks, sum(shard.num_blocks for shard in whole)):
            report.advance(block.num_source_bytes)
        writer = None
        number = len(whole)
        for encoded in _map_in_order(encoder, blocks, workers):
            if writer is None:
                size = (settings["vocabulary_size"], settings["sequence_length"])
                writer = ShardWriter(output, number, *size)
            writer.append(encoded)
            report.advance(encoded.num_source_bytes, encoded.num_text_bytes)
            if writer.summary.num_tokens >= settings["shard_tokens"]:
                writer.close()
                writer, number = None, number + 1
        if writer is not None:
            writer.close()


class _Encoder:
    """Turns one block of text into sequences; called from several threads at once."""

    def __init__(self, tokenizer: Tokenizer, sequence_length: int, cross_documents: bool) -> None:
        self._tokenizer = tokenizer
        self._kinds = mark_kinds(
            tokenizer.surface_forms, with_spaces=tokenizer.word_start is not None
        )
        self._capacity = sequence_length - 2
        self._cross_documents = cross_documents

    def __call__(self, block: TextBlock) -> EncodedBlock:
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


def _map_in_order(
    encoder: _Encoder, blocks: Iterator[TextBlock], workers: int
) -> Iterator[EncodedBlock]:
    """Encode blocks in parallel, in order, a few of them waiting."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="tokenise")
    waiting: deque[Future[EncodedBlock]] = deque()
    try:
        for block in blocks:
            waiting.append(pool.submit(encoder, block))
            if len(waiting) > workers + 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Report:
    """What the user sees on stderr: a bar while it works, if that is a terminal, then one line."""

    def __init__(self, enabled: bool, sources: list[list[Any]]) -> None:
        sizes = [size for _, size, _ in sources]
        self._console = Console(stderr=True, quiet=not enabled, soft_wrap=True, highlight=False)
        self._bar = Progress(
            TextColumn("preparing"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[speed]:.1f} MB/s"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not (enabled and sys.stderr.isatty()),
        )
        self._task = self._bar.add_task("", total=None if None in sizes else sum(sizes), speed=0.0)
        self._num_text_bytes = 0
        self._seconds = 0.0

    def __enter__(self) -> "_Report":
        self._start = time.perf_counter()
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        self._seconds = time.perf_counter() - self._start

    def advance(self, num_source_bytes: int, num_text_bytes: int = 0) -> None:
        """Count bytes of the sources as done and bytes of text as tokenised in this run."""
        self._num_text_bytes += num_text_bytes
        speed = self._num_text_bytes / 1e6 / (time.perf_counter() - self._start)
        self._bar.update(self._task, advance=num_source_bytes, speed=speed)

    def say(self, line: str) -> None:
        """Print one line."""
        self._console.print(line, markup=False)

    def summarise(self, records: Records) -> None:
        """Print what the folder holds and how fast this run was."""
        fill = records.num_tokens / (records.num_sequences * records.sequence_length)
        self.say(
            f"{records.path}: {records.num_sequences:,} sequences, {records.num_tokens:,} tokens, "
            f"{fill:.1%} filled; dropped {_join_counts(records.manifest['num_dropped'])}; "
            f"{records.manifest['num_invalid_lines']:,} invalid lines; "
            f"{self._num_text_bytes / 1e6 / max(self._seconds, 1e-9):.1f} MB/s"
        )


def _join_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
