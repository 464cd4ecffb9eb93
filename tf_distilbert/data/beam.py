"""`prepare` as an Apache Beam pipeline, for text that one machine would take too long for.

The sequences are those of `prepare`, and so are all counts; only their order may differ. Shards
are the same, byte for byte, whatever the number of workers. The workers leave them in a folder
inside the output; when all are there, the process that started the pipeline gives them their
places and writes the manifest. So the output is a folder that every worker and this process see
under the same path.

What it leaves out: going on with a pipeline that was stopped. It starts again from the first block.
"""

import contextlib
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tf_distilbert.data.output_folder import OutputFolder, ProgressReport
from tf_distilbert.data.prepare import SHARD_TOKENS
from tf_distilbert.data.records import Records
from tf_distilbert.data.shards import ShardSummary, move_shard
from tf_distilbert.data.text import BLOCK_BYTES
from tf_distilbert.errors import UserError
from tf_distilbert.tokenization.tokenizer import Tokenizer

_PARTS = "beam.partial"
"""Folder in the output for what is not finished."""

_BYTES_PER_TOKEN = 4  # of English, about; a shard's size in text must be known before it is cut


def prepare_with_beam(
    sources: str | Iterable[str],
    tokenizer: Tokenizer,
    output: str | Path,
    *,
    beam_options: Sequence[str] = (),
    sequence_length: int = 512,
    invalid_utf8: str = "skip",
    cross_documents: bool = False,
    shard_tokens: int = SHARD_TOKENS,
    progress: bool = True,
) -> Records:
    """Do what `prepare` does on the workers of a Beam runner.

    Files are read side by side, each by one worker; with ``cross_documents``, where one text goes
    on into the next, a single worker reads all. Blocks of text are tokenised on all workers.

    Args:
        sources: one or several; see `text.read_blocks`. Workers read them under the same names.
        tokenizer: cuts the text into ids; its vocabulary is stored with the records.
        output: a folder that all workers see under this path; made if it is missing.
        beam_options: Beam's pipeline options, such as ``--runner=FlinkRunner``. Without
            ``--runner`` it is the part of Beam's DirectRunner that is in Python and runs here.
        sequence_length: most tokens of a sequence, [CLS] and [SEP] included.
        invalid_utf8: ``"skip"`` and count lines that are not UTF-8, or ``"refuse"`` them.
        cross_documents: let a sequence run on into the next document.
        shard_tokens: about how many tokens are in a shard.
        progress: print a summary on stderr.

    Returns:
        The finished records, opened.

    Raises:
        UserError: Beam is not installed or does not take its options, the pipeline failed, or
            anything for which `prepare` raises one.
    """
    if "://" in str(output):
        raise UserError(
            f"{output}: is no folder; give one that all workers see (a network disk, a mounted "
            "bucket), and copy it afterwards"
        )
    with _explain_missing_beam():
        from tf_distilbert.data.beam_pipeline import build_pipeline, run
        from tf_distilbert.data.beam_steps import Job
    sources = [sources] if isinstance(sources, str) else list(sources)
    folder = OutputFolder(
        Path(output),
        sources,
        tokenizer,
        sequence_length=sequence_length,
        invalid_utf8=invalid_utf8,
        cross_documents=cross_documents,
        shard_tokens=shard_tokens,
        block_bytes=BLOCK_BYTES,
        runner="beam",  # the order of the sequences is not the local runner's
    )
    parts = folder.path / _PARTS
    fingerprint = folder.settings["sources"]
    shard_bytes = _BYTES_PER_TOKEN * shard_tokens
    job = Job(
        sources=group_sources(fingerprint, None if cross_documents else shard_bytes),
        settings=folder.settings,
        blocks_per_shard=max(1, shard_bytes // BLOCK_BYTES),
        parts=parts,
    )
    pipeline = build_pipeline(job, tokenizer, beam_options)
    report = ProgressReport(progress, fingerprint, with_bar=False)
    if (records := folder.claim()) is not None:
        report.say_already(records)
        return records
    folder.begin()
    _remove_shards(folder.path)  # of a run that was stopped before the manifest
    try:
        with report:
            run(pipeline, job)
            shards = _collect_shards(folder.path, parts)
            report.advance(0, sum(shard.num_text_bytes for shard in shards))
        records = folder.finish(shards)
    except BaseException:
        shutil.rmtree(parts, ignore_errors=True)
        _remove_shards(folder.path)
        folder.abandon()
        raise
    shutil.rmtree(parts, ignore_errors=True)
    report.summarise(records)
    return records


def group_sources(fingerprint: list[list[Any]], num_bytes: int | None) -> list[list[str]]:
    """Put neighbours together until they are large enough for a shard, to be read as one text.

    Args:
        fingerprint: from `text.fingerprint`.
        num_bytes: when a group is large enough; None puts all into one.
    """
    if num_bytes is None:
        return [[name for name, _, _ in fingerprint]]
    groups: list[list[str]] = []
    group_bytes = num_bytes
    for name, size, _ in fingerprint:
        if group_bytes >= num_bytes:
            groups.append([])
            group_bytes = 0
        groups[-1].append(name)
        group_bytes += num_bytes if size is None else size  # tfds: does not say
    return groups


def _collect_shards(output: Path, parts: Path) -> list[ShardSummary]:
    """Move the shards that the pipeline lists to the output, in the order of the text."""
    try:
        listed = json.loads((parts / "shards.json").read_text(encoding="utf-8"))
        folders = [parts / name for _, name in sorted(listed)]
        return [move_shard(part, output, number) for number, part in enumerate(folders)]
    except FileNotFoundError as error:
        raise UserError(
            f"{error.filename}: is not there, though a worker has written it; give an --output "
            "that all workers and the starting machine see under the same path"
        ) from None


def _remove_shards(output: Path) -> None:
    for path in output.glob("records-*"):
        path.unlink()


@contextlib.contextmanager
def _explain_missing_beam() -> Iterator[None]:
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # on import it complains about Google's clients
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"{error.name or error}: is not installed; run `pip install 'tf_distilbert[beam]'`"
        ) from None
    finally:
        logging.disable(disabled)
