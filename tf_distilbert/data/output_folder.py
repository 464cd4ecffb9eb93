"""The folder that `prepare` fills: claimed by its settings, finished by its manifest.

Every runner of `prepare` begins and ends with it, and tells its user so (`ProgressReport`). What
lies in between, which sequence goes to which shard, is the runner's.
"""

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.console.lines import say
from tf_distilbert.data.records import FORMAT_VERSION, MANIFEST, Records
from tf_distilbert.data.shards import (
    ShardSummary,
    add_dropped,
    read_whole_shards,
    write_json,
    write_manifest,
)
from tf_distilbert.data.text import check_sources, fingerprint, no_text
from tf_distilbert.data.text_warnings import text_warnings
from tf_distilbert.errors import UserError, explain_write_errors
from tf_distilbert.tokenization.tokenizer import Tokenizer

MIN_SEQUENCE_LENGTH = 16

# What is said of settings whose values say nothing.
_DIFFERENCES = {
    "sources": "other files, sizes or dates",
    "tokenizer_sha256": "other tokens",
    "runner": "the other one made it",
}


class OutputFolder:
    """A folder for records, and all that its content depends on.

    Args:
        path: made by `claim` if it is missing.
        sources: of the text; see `text.read_blocks`.
        tokenizer: cuts the text into ids.
        sequence_length: most tokens of a sequence, [CLS] and [SEP] included.
        choices: what else decides over the content.

    Attributes:
        path: as given.
        settings: what ``settings.json`` holds.

    Raises:
        UserError: bad sources or a sequence length that is too short.
    """

    def __init__(
        self,
        path: Path,
        sources: Sequence[str],
        tokenizer: Tokenizer,
        *,
        sequence_length: int,
        **choices: Any,
    ) -> None:
        if sequence_length < MIN_SEQUENCE_LENGTH:
            raise UserError(
                f"sequence_length: {sequence_length} is too short; give {MIN_SEQUENCE_LENGTH} or "
                "more"
            )
        self.path = path
        self._sources = sources
        self._vocabulary = tokenizer.vocabulary
        self._made: list[Path] = []  # by `claim`, the innermost first
        self.settings: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "sources": fingerprint(sources),
            "vocabulary_size": len(tokenizer.vocabulary),
            "tokenizer": tokenizer.settings,
            "tokenizer_sha256": tokenizer.sha256,
            "special_ids": list(tokenizer.special_ids),
            "word_start": tokenizer.word_start,
            "sequence_length": sequence_length,
            **choices,
        }

    def claim(self, on_corrupt: str = "error") -> Records | None:
        """Make the folder ours by its ``settings.json``, or see that it already is.

        Args:
            on_corrupt: how records are opened; see `Records.open`.

        Returns:
            The records, if they are finished.

        Raises:
            UserError: it was made with other settings or cannot be written.
        """
        output, path = self.path, self.path / "settings.json"
        if not (output / MANIFEST).exists():
            check_sources(self._sources)
        self._made = [folder for folder in (output, *output.parents) if not folder.exists()]
        with explain_write_errors(output):
            output.mkdir(parents=True, exist_ok=True)
        if any(output.glob("records-*.tfrecord")) and not path.exists():
            raise UserError(f"{output}: has shards but no settings.json; choose another --output")
        if any(output.glob("records-*.json")):  # whole shards that would be lost or mixed
            self._refuse_others(path)
        else:
            write_json(path, self.settings)
        return Records.open(output, on_corrupt) if (output / MANIFEST).exists() else None

    def _refuse_others(self, path: Path) -> None:
        """Compare our settings with those that are there."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise UserError(
                f"{path}: broken; remove {self.path} or choose another --output"
            ) from None
        wanted = json.loads(json.dumps(self.settings))  # tuples become lists, as in the file
        for name in {**wanted, **found}:
            if found.get(name) != wanted.get(name):
                values = f"{found.get(name)} there, {wanted.get(name)} now"
                difference = _DIFFERENCES.get(name, values)
                raise UserError(
                    f"{self.path}: was made with other settings ({name}: {difference}); choose "
                    "another --output or remove it"
                )

    def begin(self) -> None:
        """Remove what a stopped run left unfinished and write ``vocab.txt``.

        Raises:
            UserError: the folder cannot be written.
        """
        with explain_write_errors(self.path):
            for partial in self.path.glob("*.partial"):
                shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
        vocabulary = "\n".join(self._vocabulary) + "\n"
        write_atomically(self.path / "vocab.txt", vocabulary.encode("utf-8"))

    def finish(self, shards: Sequence[ShardSummary], on_corrupt: str = "error") -> Records:
        """Write the manifest over whole shards.

        Args:
            shards: their summaries, in the order of their numbers.
            on_corrupt: how the records are opened; see `Records.open`.

        Returns:
            The finished records, opened.

        Raises:
            UserError: there is no text in the sources, no sequence is left of it, or the folder
                cannot be written.
        """
        if not any(shard.num_text_bytes for shard in shards):
            raise no_text(self._sources, sum(shard.num_invalid_lines for shard in shards))
        if not any(shard.num_sequences for shard in shards):
            raise UserError(
                f"{', '.join(self._sources)}: no sequence is left "
                f"({describe_dropped(add_dropped(shards))} dropped); give more text, or a "
                "vocabulary that fits it"
            )
        num_cut, length = sum(shard.num_cut for shard in shards), self.settings["sequence_length"]
        if num_cut == sum(shard.num_sequences for shard in shards):
            raise UserError(
                f"{', '.join(self._sources)}: every line is longer than {length} tokens, and would "
                "be cut; give one text a line, or a greater sequence length"
            )
        write_manifest(self.path, shards, self.settings)
        return Records.open(self.path, on_corrupt)

    def abandon(self) -> None:
        """Remove what was written after an error, but for sequences: with them a run goes on."""
        if any(shard.num_sequences for shard in read_whole_shards(self.path)):
            return
        for pattern in ("records-*", "settings.json", "vocab.txt", "token_counts.npy", "*.partial"):
            for path in self.path.glob(pattern):
                with contextlib.suppress(OSError):
                    path.unlink()
        for folder in self._made:
            with contextlib.suppress(OSError):  # somebody else may use it by now
                folder.rmdir()


class ProgressReport:
    """What the user sees on stderr: a bar while it works, if that is a terminal, then one line.

    Args:
        enabled: whether anything is shown.
        sources: what `text.fingerprint` says of them.
        with_bar: whether somebody calls `advance` meanwhile.
    """

    def __init__(self, enabled: bool, sources: list[list[Any]], *, with_bar: bool = True) -> None:
        sizes = [size for _, size, _ in sources]
        self._console = Console(stderr=True, quiet=not enabled)
        self._bar = Progress(
            TextColumn("preparing"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[speed]:.1f} MB/s"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not (enabled and with_bar and sys.stderr.isatty()),
        )
        self._task = self._bar.add_task("", total=None if None in sizes else sum(sizes), speed=0.0)
        self._num_text_bytes = 0
        self._seconds = 0.0

    def __enter__(self) -> "ProgressReport":
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
        say(self._console, line)

    def say_already(self, records: Records) -> None:
        """Print that an earlier run has done it all."""
        self.say(f"{records.path}: already prepared, {len(records):,} sequences")
        self.warn_of(records)

    def summarise(self, records: Records) -> None:
        """Print what the folder holds and how fast this run was."""
        fill = records.num_tokens / (records.num_sequences * records.sequence_length)
        self.say(
            f"{records.path}: {records.num_sequences:,} sequences, {records.num_tokens:,} tokens, "
            f"{fill:.1%} filled, {records.unknown_share:.1%} [UNK]; dropped "
            f"{describe_dropped(records.manifest['num_dropped'])}; "
            f"{records.manifest['num_invalid_lines']:,} invalid lines; "
            + f"{records.manifest['num_cut']:,} cut; " * (records.rows == "texts")
            + f"{self._num_text_bytes / 1e6 / max(self._seconds, 1e-9):.1f} MB/s"
        )
        self.warn_of(records)

    def warn_of(self, records: Records) -> None:
        """Print what should be known of records before they are learnt."""
        for line in text_warnings(records):
            self.say(f"warning: {records.path}: {line}")


# What sequences are dropped for; see `drop_useless`.
_REASONS = {
    "short": "short",
    "unknown": "mostly [UNK]",
    "empty": "empty",
    "duplicate": "that came before",
}


def describe_dropped(counts: dict[str, int]) -> str:
    """Say how many sequences were dropped for which reason: ``4 short, 1 mostly [UNK]``."""
    return ", ".join(f"{count:,} {_REASONS[name]}" for name, count in counts.items())
