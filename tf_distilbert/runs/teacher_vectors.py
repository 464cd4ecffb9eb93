"""A teacher's vectors of all texts of a run, computed once.

Nothing of a text is hidden where vectors are compared, so a teacher gives it the same one in every
epoch. In float16 they take 2 bytes a number: of 384 numbers and a million texts 0.8 GB.

Dimensions: N texts, E a vector.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_distilbert.atomic_writes import publish, write_atomically
from tf_distilbert.backend import step
from tf_distilbert.console.time_left import TimeLeft
from tf_distilbert.data.records import Records
from tf_distilbert.data.shard_files import checksum
from tf_distilbert.errors import NotFiniteError, UserError, explain_write_errors
from tf_distilbert.json_file import read_json
from tf_distilbert.model_files.folder import weights_digest
from tf_distilbert.models.sentence_encoder import SentenceEncoder
from tf_distilbert.runs.job import Job
from tf_distilbert.serving.served_model import Run
from tf_distilbert.training.strategy import chief_first

_TOKENS = 2**13  # of a batch
_MULTIPLE = 16  # of a batch's length, so that few shapes are compiled


def teacher_vectors(teacher: SentenceEncoder, path: str, records: Records, job: Job) -> np.ndarray:
    """Compute a teacher's vectors of the records of a run, or read what an earlier run computed.

    They lie beside the records, under a name that tells teacher and text from others.

    Args:
        teacher: the model.
        path: its folder.
        records: one text a row.
        job: whose run it is.

    Returns:
        float16 [N, E], mapped from the disk.

    Raises:
        UserError: the file cannot be written.
        NotFiniteError: a vector is infinite or no number.
    """
    settings = json.dumps(teacher.settings, sort_keys=True)
    parts = (weights_digest(path), settings, teacher.compute_dtype, records.order)
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:10]
    file = job.run.data / f"vectors-{digest}.npy"

    def load_or_compute() -> np.ndarray:
        found = _read(file, len(records), teacher.embedding_size)
        if found is None:
            _compute(teacher, records, file, job)
            found = _read(file, len(records), teacher.embedding_size)
        if found is None:
            raise UserError(f"{file}: cannot be read after it was written; look after the disk")
        return found

    return chief_first(job.strategy, load_or_compute)


def _facts(file: Path) -> Path:
    return file.with_suffix(".json")


def _read(file: Path, count: int, size: int) -> np.ndarray | None:
    """Map a file of vectors; None if it is not there, not whole, or damaged."""
    if not (file.exists() and _facts(file).exists()):
        return None
    try:
        vectors = np.load(file, mmap_mode="r")
        crc32 = read_json(_facts(file)).get("crc32")
    except (ValueError, OSError):
        return None
    is_whole = vectors.shape == (count, size) and vectors.dtype == np.float16
    return vectors if is_whole and checksum(vectors) == crc32 else None


def _compute(teacher: SentenceEncoder, records: Records, file: Path, job: Job) -> None:
    forward = step.compile_on_tensors(lambda inputs: step.call_on_tensors(teacher, inputs))
    partial = file.with_name(file.name + ".partial")
    with explain_write_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        shape = len(records), teacher.embedding_size
        vectors = np.lib.format.open_memmap(partial, "w+", np.float16, shape)
        batches = _batches(records.lengths(np.arange(len(records))))
        with TimeLeft(job.console, "computing the teacher's vectors", len(batches)) as progress:
            for rows in batches:
                vectors[rows] = _vectors(forward, records, rows)
                progress.advance()
        vectors.flush()
        crc32 = checksum(vectors)
        del vectors
        publish(partial, file)
    write_atomically(_facts(file), json.dumps({"crc32": crc32}).encode())


def _batches(lengths: np.ndarray) -> list[np.ndarray]:
    """Put texts of about one length together, in batches of about `_TOKENS` tokens."""
    order = np.argsort(lengths, kind="stable")
    found, first = [], 0
    while first < len(order):
        # The last one of a batch is the longest: take as many as fit with it.
        last = first + 1
        while last < len(order) and lengths[order[last]] * (last + 1 - first) <= _TOKENS:
            last += 1
        found.append(order[first:last])
        first = last
    return found


def _vectors(forward: Run, records: Records, rows: np.ndarray) -> np.ndarray:
    lengths = records.lengths(rows)
    longest = min(-(-int(lengths.max()) // _MULTIPLE) * _MULTIPLE, records.sequence_length)
    token_ids = records.gather(rows)[:, :longest]
    mask = np.arange(longest) < lengths[:, None]
    inputs = {"token_ids": tf.constant(token_ids), "padding_mask": tf.constant(mask)}
    with np.errstate(over="ignore"):  # it is refused
        found = np.asarray(forward(inputs)).astype(np.float16)
    if not np.isfinite(found).all():
        raise NotFiniteError(
            "the teacher's vectors are not finite, or beyond float16's 65,504; its weights may be "
            "damaged, or train.precision=float32 is needed"
        )
    return found
