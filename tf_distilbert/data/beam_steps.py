"""The steps of `prepare` as Beam's workers run them.

A step may run twice, or on two workers at once: every try at a shard has a folder of its own, and
the list at the end names one for each shard. Which block goes to which shard depends on the text
alone.

Beam would try again what fails, wrap the error and print where in its insides it was. So a step
writes a `UserError` to a file and ends; the steps that see such a file do nothing more.
"""

import dataclasses
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import apache_beam as beam

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.data.packing import BlockEncoder
from tf_distilbert.data.records import token_dtype
from tf_distilbert.data.shards import EncodedBlock, ShardWriter
from tf_distilbert.data.text import TextBlock, read_blocks
from tf_distilbert.errors import UserError, explain_write_errors
from tf_distilbert.tokenization.tokenizer import Tokenizer

ShardKey = tuple[int, int]
"""Number of the group of sources, number of the shard in it."""


@dataclass(frozen=True)
class Job:
    """What all steps need to know.

    Attributes:
        sources: groups of sources; a group is read as one text.
        settings: the output folder's.
        blocks_per_shard: after so many blocks of a group a new shard begins.
        parts: the folder where the workers leave shards, ``shards.json`` and ``errors/``.
    """

    sources: list[list[str]]
    settings: dict[str, Any]
    blocks_per_shard: int
    parts: Path

    @property
    def errors(self) -> Path:
        """The folder of what went wrong, a file each."""
        return self.parts / "errors"


class Step(beam.DoFn):
    """A step that ends at a UserError, its own or another's, instead of failing."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def process(self, element: Any) -> Iterator[Any]:
        """Do the step's work on one element."""
        try:
            if not self.is_stopped():
                yield from self.work(element)
        except UserError as error:
            path = self._job.errors / f"{uuid.uuid4().hex}.txt"
            try:
                write_atomically(path, str(error).encode("utf-8"))
            except UserError:  # this worker sees no such folder, or the disk is full
                raise error from None

    def is_stopped(self) -> bool:
        """Whether some worker met an error."""
        try:
            return any(self._job.errors.iterdir())
        except FileNotFoundError:
            raise UserError(
                f"{self._job.errors}: a worker does not see it; give an --output that all workers "
                "and the starting machine see under the same path"
            ) from None

    def work(self, element: Any) -> Iterator[Any]:
        """Turn an element into others."""
        raise AssertionError("a step does something")


class Read(Step):
    """Number and names of a group of sources to blocks, each with its shard and its number."""

    def work(self, element: tuple[int, list[str]]) -> Iterator[Any]:
        """See `Step`."""
        group, names = element
        settings = self._job.settings
        choices = (settings["invalid_utf8"], settings["block_bytes"])
        for number, block in enumerate(read_blocks(names, *choices, allow_empty=True)):
            if self.is_stopped():
                return
            yield (group, number // self._job.blocks_per_shard), (number, block)


class Encode(Step):
    """Blocks to sequences."""

    def __init__(self, job: Job, tokenizer: Tokenizer) -> None:
        super().__init__(job)
        self._tokenizer = tokenizer

    def setup(self) -> None:
        """Make the tables, once on each worker."""
        settings = self._job.settings
        self._encoder = BlockEncoder(
            self._tokenizer, settings["sequence_length"], settings["cross_documents"]
        )
        self._dtype = token_dtype(settings["vocabulary_size"])

    def work(self, element: tuple[ShardKey, tuple[int, TextBlock]]) -> Iterator[Any]:
        """See `Step`."""
        key, (number, block) = element
        encoded = self._encoder(block)
        # As on the disk, mostly half the size: all of it goes over the network.
        token_ids = encoded.token_ids.astype(self._dtype)
        yield key, (number, dataclasses.replace(encoded, token_ids=token_ids))


class Write(Step):
    """The blocks of a shard, in any order, to a folder with the shard: its key and its name."""

    def work(self, element: tuple[ShardKey, Iterable[tuple[int, EncodedBlock]]]) -> Iterator[Any]:
        """See `Step`."""
        key, blocks = element
        settings = self._job.settings
        folder = self._job.parts / uuid.uuid4().hex
        with explain_write_errors(folder):
            folder.mkdir()
        size = (settings["vocabulary_size"], settings["sequence_length"])
        try:
            writer = ShardWriter(folder, 0, *size)
            for _, block in sorted(blocks, key=itemgetter(0)):
                writer.append(block)
            writer.close()
        except UserError:
            for path in folder.iterdir():  # on a full disk this makes room for the message
                os.truncate(path, 0)
            raise
        yield key, folder.name


class WriteList(Step):
    """The keys and folders of all shards to ``shards.json``."""

    def work(self, element: list[tuple[ShardKey, str]]) -> Iterator[Any]:
        """See `Step`."""
        write_atomically(self._job.parts / "shards.json", json.dumps(element).encode("utf-8"))
        yield from ()
