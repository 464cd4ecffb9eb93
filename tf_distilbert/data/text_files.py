"""Files of text, opened: unpacked if they are packed, refused if they are no text.

What is no text would otherwise be learnt: a file of numbers is cut into lines and characters like
any other. So the first megabyte of each file is looked at before it is read.

What it leaves out: markup. HTML and CSV are text, and are learnt as they are.
"""

import bz2
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Callable
from typing import BinaryIO

from tf_distilbert.errors import UserError

HEAD_BYTES = 1 << 20
"""What is looked at of a file, unpacked."""

MOST_INVALID = 0.5
"""A file with a larger share of lines that are not UTF-8 has another encoding."""

_MOST_CONTROLS = 0.01  # of the bytes; a stray one is no reason to refuse a gigabyte

_OPENERS: dict[str, Callable[[BinaryIO], BinaryIO]] = {
    ".gz": lambda stored: io.BufferedReader(gzip.GzipFile(fileobj=stored)),
    ".xz": lambda stored: io.BufferedReader(lzma.LZMAFile(stored)),
    ".bz2": lambda stored: io.BufferedReader(bz2.BZ2File(stored)),
}
_DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)

_JSON_LINES = (".jsonl", ".ndjson", ".json")

_UNPACK = "unpack it first"
_REPACK = "unpack it first, or compress it with gzip, xz or bzip2"
_RENAME = "let its name end in {}"
_EXPORT = "export its text to .txt or .jsonl"
_CONVERT = "convert it: iconv -f {} -t utf-8"

# How files of a kind begin, what they are, and what to do. The first that fits holds.
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"\xff\xfe\x00\x00", "is UTF-32 (byte-order mark FF FE 00 00)", _CONVERT.format("utf-32")),
    (b"\x00\x00\xfe\xff", "is UTF-32 (byte-order mark 00 00 FE FF)", _CONVERT.format("utf-32")),
    (b"\xff\xfe", "is UTF-16 (byte-order mark FF FE)", _CONVERT.format("utf-16")),
    (b"\xfe\xff", "is UTF-16 (byte-order mark FE FF)", _CONVERT.format("utf-16")),
    (b"PK\x03\x04", "is a zip archive", _UNPACK),
    (b"PK\x05\x06", "is an empty zip archive", "give a file with text"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "is a RAR archive", _UNPACK),
    (b"\x1f\x8b", "is packed by gzip", _RENAME.format(".gz")),
    (b"\xfd7zXZ\x00", "is packed by xz", _RENAME.format(".xz")),
    *((b"BZh%d1AY&SY" % i, "is packed by bzip2", _RENAME.format(".bz2")) for i in range(1, 10)),
    (b"\x28\xb5\x2f\xfd", "is packed by Zstandard", _REPACK),
    (b"\x04\x22\x4d\x18", "is packed by LZ4", _REPACK),
    (b"\x1f\x9d", "is packed by compress", _REPACK),
    (b"PAR1", "is a Parquet file", _EXPORT),
    (b"ARROW1", "is an Arrow file", _EXPORT),
    (b"\xff\xff\xff\xff", "is an Arrow stream", _EXPORT),
    (b"Obj\x01", "is an Avro file", _EXPORT),
    (b"SQLite format 3\x00", "is an SQLite database", _EXPORT),
    (b"%PDF-", "is a PDF", _EXPORT),
    (b"{\\rtf", "is an RTF document", _EXPORT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Office document", _EXPORT),
    (b"\x89PNG", "is a PNG picture", "give text"),
    (b"\xff\xd8\xff", "is a JPEG picture", "give text"),
    (b"GIF8", "is a GIF picture", "give text"),
    (b"\x89HDF", "is an HDF5 file", "give text"),
    (b"\x93NUMPY", "is a NumPy array", "give text"),
    (b"\x7fELF", "is a program", "give text"),
    (b"version https://git-lfs", "stands for a file in Git LFS", "fetch it: git lfs pull"),
)
_TAR_MARK, _TAR_OFFSET = b"ustar", 257
_TAR_NAMES = (".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst")

# Zip archives by other names: unpacking them gives no text.
_ZIPPED_DOCUMENTS = {".docx", ".xlsx", ".pptx", ".odt", ".ods", ".epub", ".npz", ".keras"}

# All below the space but tab, newline, vertical tab, form feed and carriage return; and DEL.
_CONTROLS = bytes({*range(32), 127} - {9, 10, 11, 12, 13})


def is_json_lines(path: str) -> bool:
    """Tell by a file's name, without that of a packer, whether each line is a JSON object."""
    base, suffix = os.path.splitext(path)
    return (base if suffix in _OPENERS else path).endswith(_JSON_LINES)


def open_text(stored: BinaryIO, path: str) -> BinaryIO:
    """Give a file's text as a stream that begins at its first byte.

    Args:
        stored: the file as it is stored, at its beginning.
        path: its name, by which it is unpacked.

    Raises:
        UserError: it is no text in UTF-8.
        EOFError, OSError, LZMAError, zlib.error: it is packed and damaged; see `explain_damage`.
    """
    opener = _OPENERS.get(os.path.splitext(path)[1])
    stream = opener(stored) if opener else stored
    _refuse_no_text(stream.read(HEAD_BYTES), path)
    stream.seek(0)
    return stream


def explain_damage(error: Exception, path: str) -> UserError:
    """Make an error in reading a file one that is meant for the user's eyes."""
    suffix = os.path.splitext(path)[1]
    # Without a number of the system's it comes from unpacking: bz2 has no error of its own.
    if isinstance(error, _DAMAGE) or (suffix in _OPENERS and not getattr(error, "errno", None)):
        return UserError(
            f"{path}: truncated or damaged {suffix} file ({error}); fetch or compress it again"
        )
    return UserError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})")


def other_encoding(path: str, num_invalid: int, num_lines: int) -> UserError:
    """Give the error that says that a file's text is not in UTF-8."""
    return UserError(
        f"{path}: is not UTF-8 in {num_invalid:,} of {num_lines:,} lines; convert it from the "
        "encoding that it has: iconv -f latin1 -t utf-8"
    )


def _refuse_no_text(head: bytes, path: str) -> None:
    """Refuse a file by what it begins with."""
    if found := _kind(head, path):
        what, remedy = found
        raise UserError(f"{path}: {what}, not text in UTF-8; {remedy}")
    num_controls = len(head) - len(head.translate(None, _CONTROLS))
    if num_controls > _MOST_CONTROLS * len(head):
        raise UserError(
            f"{path}: is not text: {num_controls / len(head):.0%} of its first {len(head):,} bytes "
            "are control characters; give text in UTF-8"
        )
    num_invalid, num_lines = _invalid_lines(head)
    if num_invalid > MOST_INVALID * num_lines:
        raise other_encoding(path, num_invalid, num_lines)


def _kind(head: bytes, path: str) -> tuple[str, str] | None:
    """Tell a kind of file that is no text, and what to do with it."""
    name = path.lower()
    suffix = os.path.splitext(name)[1]
    what, remedy = next((kind[1:] for kind in _KINDS if head.startswith(kind[0])), ("", ""))
    if head[_TAR_OFFSET:].startswith(_TAR_MARK) or (what and suffix in _TAR_NAMES):
        return "is a tar archive", f"{_UNPACK}: tar -xf"
    if what == "is a zip archive" and suffix in _ZIPPED_DOCUMENTS:
        return f"is a {suffix} document", _EXPORT
    # A safetensors file: the length of its header in 8 bytes, then the header, in JSON.
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 1 << 30:
        return "is a safetensors file", "give text, not a model"
    return (what, remedy) if what else None


def _invalid_lines(head: bytes) -> tuple[int, int]:
    """Count lines that are not UTF-8, and all that are not blank; not a last one that is cut."""
    if utf8_fault(head) is None:
        return 0, 0
    lines = head.split(b"\n")[: -1 if len(head) == HEAD_BYTES else None]
    lines = [line for line in lines if line.strip()]
    return sum(utf8_fault(line) is not None for line in lines), len(lines)


def utf8_fault(text: bytes) -> int | None:
    """Give the place of the first byte that is not UTF-8, from 0, if there is one."""
    if text.isascii():
        return None
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return None
