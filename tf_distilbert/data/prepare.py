"""Text to shards of token sequences, on all cores, and restartable after a kill.

The main thread reads blocks of text and writes sequences in the order of the text; a pool of
threads tokenises and packs in between (TensorFlow's tokeniser runs outside Python's global lock).
So the shards are the same, byte for byte, whatever the number of threads and however often the
run was interrupted: whole shards are kept, and the blocks that they hold are skipped.

`beam.py` does the same on many machines.

What it leaves out: shuffling and masking, which training does afresh in each epoch.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from tf_distilbert.data.output_folder import OutputFolder, ProgressReport
from tf_distilbert.data.packing import BlockEncoder
from tf_distilbert.data.records import Records
from tf_distilbert.data.shards import EncodedBlock, ShardWriter, read_whole_shards
from tf_distilbert.data.text import BLOCK_BYTES, TextBlock, read_blocks
from tf_distilbert.data.text_rows import TextEncoder, unique_texts
from tf_distilbert.errors import UserError
from tf_distilbert.tokenization.tokenizer import Tokenizer

ROWS = ("blocks", "texts")
"""What a sequence may be."""

SHARD_TOKENS = 32 << 20
"""A shard is closed after the block with which it reaches this many tokens: about 64 MB."""

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
    rows: str = "blocks",
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
        rows: what a sequence is: ``blocks`` of whole sentences, as long as they can be; or one of
            ``texts``, a line each: every line once, however short, cut where it is longer.
        shard_tokens: a shard is closed after the block with which it reaches this many tokens.
        progress: show a progress bar (on a terminal) and a summary on stderr.
        on_corrupt: how the records are opened; see `Records.open`.

    Returns:
        The finished records, opened.

    Raises:
        UserError: bad sources or settings, an output that was made with other settings or cannot
            be written, or text of which no sequence is left.
    """
    sources = [sources] if isinstance(sources, str) else list(sources)
    if rows not in ROWS:
        raise UserError(f"rows: {rows!r} is neither {' nor '.join(map(repr, ROWS))}")
    if rows == "texts" and cross_documents:
        raise UserError("cross_documents goes with rows: blocks; texts stay apart")
    workers = min(os.cpu_count() or 1, _MAX_DEFAULT_WORKERS) if workers is None else workers
    if workers < 1:
        raise UserError(f"workers: {workers} is too few; give 1 or more, or leave it out")
    folder = OutputFolder(
        Path(output),
        sources,
        tokenizer,
        sequence_length=sequence_length,
        invalid_utf8=invalid_utf8,
        cross_documents=cross_documents,
        shard_tokens=shard_tokens,
        block_bytes=BLOCK_BYTES,
        **({"rows": rows} if rows != "blocks" else {}),  # older folders of blocks do not say so
    )
    report = ProgressReport(progress, folder.settings["sources"])
    if (records := folder.claim(on_corrupt)) is not None:
        report.say_already(records)
        return records
    folder.begin()
    try:
        _write_shards(folder, sources, tokenizer, workers, report)
        records = folder.finish(read_whole_shards(folder.path), on_corrupt)
    except UserError:
        folder.abandon()
        raise
    report.summarise(records)
    return records


def _write_shards(
    folder: OutputFolder,
    sources: list[str],
    tokenizer: Tokenizer,
    workers: int,
    report: ProgressReport,
) -> None:
    """Write all shards that are not there yet."""
    output, settings = folder.path, folder.settings
    whole = read_whole_shards(output)
    if whole:
        report.say(f"{output}: going on after {len(whole)} whole shards")
    length, is_texts = settings["sequence_length"], settings.get("rows") == "texts"
    encode: Callable[[TextBlock], EncodedBlock] = TextEncoder(tokenizer, length)
    if not is_texts:
        encode = BlockEncoder(tokenizer, length, settings["cross_documents"])
    with report:
        blocks = read_blocks(sources, settings["invalid_utf8"], settings["block_bytes"])
        if is_texts:
            blocks = unique_texts(blocks)
        for block in islice(blocks, sum(shard.num_blocks for shard in whole)):
            report.advance(block.num_source_bytes)
        writer = None
        number = len(whole)
        for encoded in _map_in_order(encode, blocks, workers):
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


def _map_in_order(
    encode: Callable[[TextBlock], EncodedBlock], blocks: Iterator[TextBlock], workers: int
) -> Iterator[EncodedBlock]:
    """Encode blocks in parallel, in order, a few of them waiting."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="tokenise")
    waiting: deque[Future[EncodedBlock]] = deque()
    try:
        for block in blocks:
            waiting.append(pool.submit(encode, block))
            if len(waiting) > workers + 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
