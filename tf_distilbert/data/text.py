"""Text from files, globs, tensorflow-datasets or the built-in sample to blocks of documents.

Whatever the source, its text becomes documents (between blank lines, or one record each) of
paragraphs (lines), in blocks of about 1 MB: large enough to keep a tokenising thread busy,
small enough that memory stays bounded. The same sources always give the same blocks, which lets
an interrupted run skip the blocks it has done.

What it leaves out: cleaning, language detection and deduplication. The text is taken as it is,
but for lines that are not UTF-8. `text_files` refuses files that are no text.
"""

import glob
import io
import json
import lzma
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from tf_distilbert.data.text_files import (
    MOST_INVALID,
    explain_damage,
    is_json_lines,
    open_text,
    other_encoding,
    utf8_fault,
)
from tf_distilbert.data.tfds_split import load_split
from tf_distilbert.errors import UserError

BLOCK_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 20
"""A longer line is cut at a space, so that a file without newlines needs no more memory."""

MAX_JSON_BYTES = 256 << 20
"""A longer line of a .jsonl file is refused; unlike text it cannot be read in pieces."""

_TFDS, _SAMPLE = "tfds:", "sample:"
_SAMPLE_SPLITS = ("train", "validation")


@dataclass
class TextBlock:
    """Some documents, in the order of the sources.

    Attributes:
        documents: each a list of paragraphs: UTF-8, not empty, without newlines. A document
            longer than a block goes on in the next one.
        num_bytes: bytes of the paragraphs with one newline each.
        num_lines: lines (or records) that were read, but for blank ones.
        num_invalid_lines: those of them that were not UTF-8 and were skipped.
        num_source_bytes: bytes read from the sources for this block. Over all blocks this is
            the sources' size, also where they are compressed.
        num_duplicates: paragraphs that were left out because they came before; see `unique_texts`.
    """

    documents: list[list[bytes]]
    num_bytes: int
    num_lines: int
    num_invalid_lines: int
    num_source_bytes: int
    num_duplicates: int = 0


def read_blocks(
    sources: Sequence[str],
    invalid_utf8: str = "skip",
    block_bytes: int = BLOCK_BYTES,
    *,
    allow_empty: bool = False,
) -> Iterator[TextBlock]:
    """Read sources one after another.

    Args:
        sources: each the path of a text file (a blank line ends a document) or of a ``.jsonl``,
            ``.ndjson`` or ``.json`` file (one document a line, in its field ``text``), plain or
            ``.gz``, ``.xz`` or ``.bz2``; a glob of such paths; ``tfds:NAME`` (the field ``text`` of
            the train split) or ``tfds:NAME#SPLIT`` (e.g. ``#train[99%:]``); or ``sample:train``,
            ``sample:validation``.
        invalid_utf8: ``"skip"`` and count lines that are not UTF-8, or ``"refuse"`` them. A file
            of which most lines are not UTF-8 is refused in any case.
        block_bytes: a block ends with the first document that reaches this size.
        allow_empty: whether all sources may be without text, as a part of a corpus may be.

    Raises:
        UserError: a source is missing, truncated, no text or not what its name says, or all are
            empty.
    """
    if invalid_utf8 not in ("skip", "refuse"):
        raise UserError(f"invalid_utf8: {invalid_utf8!r} is neither 'skip' nor 'refuse'")
    corpus = _Corpus(expand_sources(sources), invalid_utf8 == "refuse")
    is_empty = True
    documents: list[list[bytes]] = []
    document: list[bytes] = []
    block_size = document_size = 0
    for paragraph in corpus.paragraphs():
        if paragraph:
            document.append(paragraph)
            document_size += len(paragraph) + 1
            if document_size < block_bytes:
                continue
        if not document:
            continue
        documents.append(document)
        block_size += document_size
        document, document_size = [], 0
        if block_size >= block_bytes:
            yield corpus.make_block(documents, block_size)
            is_empty, documents, block_size = False, [], 0
    last = corpus.make_block(documents, block_size)
    if is_empty and not documents and not allow_empty:
        raise no_text(sources, last.num_invalid_lines)
    if documents or last.num_invalid_lines or last.num_source_bytes:
        yield last


def no_text(sources: Sequence[str], num_invalid_lines: int) -> UserError:
    """Give the error that says that nothing could be read."""
    skipped = f" ({num_invalid_lines} lines are not UTF-8)" * bool(num_invalid_lines)
    return UserError(f"{', '.join(sources)}: no text at all{skipped}; check the sources")


def expand_sources(sources: Sequence[str]) -> list[str]:
    """Replace globs by the files they match, sorted, and check that every file is there.

    Raises:
        UserError: no source, a missing file, a folder, a glob without match, an unknown sample.
    """
    if not sources:
        raise UserError("no source of text; name a file, a glob, tfds:NAME or sample:train")
    names: list[str] = []
    for source in map(str, sources):
        if source.startswith(_SAMPLE) and source.removeprefix(_SAMPLE) not in _SAMPLE_SPLITS:
            raise UserError(f"{source}: no such sample; there are sample:train, sample:validation")
        if source.startswith((_TFDS, _SAMPLE)) or os.path.isfile(source):
            names.append(source)
        elif os.path.isdir(source):
            raise UserError(f"{source}: is a folder; name its files, for example {source}/*.txt")
        elif any(mark in source for mark in "*?["):
            files = filter(os.path.isfile, glob.glob(source, recursive=True))
            names.extend(matches := sorted(files))
            if not matches:
                raise UserError(f"{source}: matches no file; check the pattern")
        else:
            raise UserError(f"{source}: no such file; check the path")
    return names


def check_sources(sources: Sequence[str]) -> None:
    """See, before hours of work, that all files of a corpus begin as text does.

    Raises:
        UserError: as `expand_sources`; or a file is no text, or is packed and damaged.
    """
    for name in expand_sources(sources):
        if name.startswith((_TFDS, _SAMPLE)):
            continue
        try:
            with open(name, "rb") as stored:
                open_text(stored, name)
        except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
            raise explain_damage(error, name) from None


def fingerprint(sources: Sequence[str]) -> list[list[Any]]:
    """Tell one corpus from another without reading it.

    Returns:
        For each expanded source its name, its size as it is stored, in bytes, and when it was last
        changed, in nanoseconds (of the sample a checksum). Both are None for ``tfds:``.
    """
    return [[name, *_size_and_state(name)] for name in expand_sources(sources)]


def _size_and_state(name: str) -> tuple[int | None, int | None]:
    if name.startswith(_TFDS):
        return None, None
    if name.startswith(_SAMPLE):
        sample = _sample_bytes(name)
        return len(sample), zlib.crc32(sample)
    facts = os.stat(name)
    return facts.st_size, facts.st_mtime_ns


def _sample_bytes(name: str) -> bytes:
    from tf_distilbert.sample.corpus import sample_text

    return sample_text(name.removeprefix(_SAMPLE)).encode("utf-8")


class _Corpus:
    """Reads expanded sources in turn and counts what it has read since the last block."""

    def __init__(self, names: Sequence[str], refuse_invalid: bool) -> None:
        self._names = names
        self._refuse_invalid = refuse_invalid
        self._num_lines = self._num_invalid_lines = 0
        self._stored: BinaryIO | None = None  # the source as stored, before decompression
        self._num_finished_bytes = 0  # of the sources before it
        self._reported = (0, 0, 0)

    def make_block(self, documents: list[list[bytes]], num_bytes: int) -> TextBlock:
        num_read = self._num_finished_bytes + (self._stored.tell() if self._stored else 0)
        counts = (self._num_lines, self._num_invalid_lines, num_read)
        new = (now - before for now, before in zip(counts, self._reported, strict=True))
        self._reported = counts
        return TextBlock(documents, num_bytes, *new)

    def paragraphs(self) -> Iterator[bytes]:
        """Every paragraph of every source in order; ``b""`` stands between two documents."""
        for name in self._names:
            if name.startswith(_TFDS):
                for number, text in enumerate(_tfds_texts(name), 1):
                    self._num_lines += 1
                    yield from self._record_paragraphs(text, f"{name}: record {number}")
            elif name.startswith(_SAMPLE):
                with self._counted(io.BytesIO(_sample_bytes(name))) as stream:
                    yield from self._text_paragraphs(stream, name)
            else:
                yield from self._file_paragraphs(name)
            yield b""

    @contextmanager
    def _counted(self, stored: BinaryIO) -> Iterator[BinaryIO]:
        with stored:
            self._stored = stored
            yield stored
            self._num_finished_bytes += stored.seek(0, os.SEEK_END)
            self._stored = None

    def _file_paragraphs(self, path: str) -> Iterator[bytes]:
        read = self._json_paragraphs if is_json_lines(path) else self._text_paragraphs
        try:
            with self._counted(open(path, "rb")) as stored:
                yield from read(open_text(stored, path), path)
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            raise explain_damage(error, path) from None

    def _text_paragraphs(self, stream: BinaryIO, name: str) -> Iterator[bytes]:
        first_line, first_invalid = self._num_lines, self._num_invalid_lines
        for number, line in _lines(stream):
            self._num_lines += bool(line.strip())
            if self._is_valid(line, f"{name}: line {number}"):
                yield line.strip()
        num_lines = self._num_lines - first_line
        num_invalid = self._num_invalid_lines - first_invalid
        if num_invalid > MOST_INVALID * num_lines:
            raise other_encoding(name, num_invalid, num_lines)

    def _json_paragraphs(self, stream: BinaryIO, name: str) -> Iterator[bytes]:
        lines = iter(lambda: stream.readline(MAX_JSON_BYTES), b"")
        for number, line in enumerate(lines, 1):
            where = f"{name}: line {number}"
            if len(line) == MAX_JSON_BYTES:
                raise UserError(f"{where} is longer than {MAX_JSON_BYTES >> 20} MiB; split it")
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not line.strip():
                continue
            self._num_lines += 1
            if self._is_valid(line, where):
                yield from self._record_paragraphs(_json_text(line, where), where)

    def _record_paragraphs(self, text: bytes, where: str) -> Iterator[bytes]:
        """One document: its blank lines do not end it."""
        if self._is_valid(text, where):
            yield from filter(None, (line.strip() for _, line in _lines(io.BytesIO(text))))
            yield b""

    def _is_valid(self, text: bytes, where: str) -> bool:
        """Whether it is UTF-8. If it is not, count it or refuse it."""
        if (fault := utf8_fault(text)) is None:
            return True
        if self._refuse_invalid:
            raise UserError(
                f"{where} is not UTF-8 (byte {fault + 1} of it); convert the file, or skip such "
                "lines with invalid_utf8: skip"
            )
        self._num_invalid_lines += 1
        return False


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Numbered lines without their ends; a very long line comes in pieces of the same number."""
    number, rest = 1, b""
    while piece := stream.readline(MAX_LINE_BYTES - len(rest)):
        if not rest and number == 1:
            piece = piece.removeprefix(b"\xef\xbb\xbf")  # a byte-order mark
        line = rest + piece
        if line.endswith(b"\n"):
            yield number, line.rstrip(b"\r\n")
            number, rest = number + 1, b""
        elif len(line) < MAX_LINE_BYTES:  # the last line, without a newline
            yield number, line
            rest = b""
        else:
            cut = _cut_position(line)
            yield number, line[:cut]
            rest = line[cut:]
    if rest:
        yield number, rest


def _cut_position(line: bytes) -> int:
    """After the last space, or without one before the last character: never inside one."""
    if (space := line.rfind(b" ")) > 0:
        return space + 1
    position = len(line) - 1
    while position > len(line) - 4 and line[position] & 0xC0 == 0x80:  # continues a character
        position -= 1
    return position


def _json_text(line: bytes, where: str) -> bytes:
    """Field ``text`` of a JSON record, encoded so that lone surrogates count as invalid UTF-8."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not JSON ({error}); each line must be an object") from None
    text = record.get("text") if isinstance(record, dict) else None
    if not isinstance(text, str):
        raise UserError(f'{where} lacks the text; each line must be {{"text": "..."}}')
    return text.encode("utf-8", errors="surrogatepass")


def _tfds_texts(name: str) -> Iterator[bytes]:
    """The texts of a tensorflow-datasets split, in its fixed order."""
    dataset_name, _, split = name.removeprefix(_TFDS).partition("#")
    dataset = load_split(name, dataset_name, split or "train")
    if "text" not in dataset.element_spec:
        raise UserError(f"{name}: has no feature `text`; export it to .jsonl and name that file")
    for record in dataset.as_numpy_iterator():
        yield record["text"]
