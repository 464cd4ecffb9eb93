"""Running what was written: a file is an export once it gives the model's answers."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_distilbert.errors import UserError
from tf_distilbert.exports.agreement import Agreement, measure_agreement
from tf_distilbert.exports.check_texts import SAMPLE_TEXTS, check_rows
from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.service import Service

RawRun = Callable[[Mapping[str, np.ndarray]], np.ndarray]

TOLERANCES = {"float32": 1e-4, "float16": 0.02, "bfloat16": 0.1, "int8": 0.5, "full_int8": 1.0}
"""By precision: differences above this share of the largest output are those of a broken file.

They say little of the answers, which `check_agreement` compares. What a precision costs is for a
task to say: docs/serving.md has figures.
"""

KERAS_NLP_TOLERANCE = 1e-3
"""Of keras-nlp's presets, whose head computes slightly differently; see `export_keras_nlp`."""

_ROWS_AT_ONCE = 16
_TIMINGS = 9


@dataclass(frozen=True)
class Verification:
    """How a written file compares with its model.

    Attributes:
        largest_difference: of the raw outputs.
        largest_output: the model's, in the same place or another.
        size: bytes of all files.
        milliseconds: median latency of one short text.
        agreement: how many of the answers are the model's; see `Agreement`.
    """

    largest_difference: float
    largest_output: float
    size: int
    milliseconds: float
    agreement: Agreement

    def __str__(self) -> str:
        return (
            f"{self.size / 1e6:.1f} MB, {self.milliseconds:.1f} ms for a short text, "
            f"largest difference to the model {self.largest_difference:.2g} "
            f"(outputs up to {self.largest_output:.3g}), agreement {self.agreement}"
        )


def verify(
    served: ServedModel,
    model: RawRun,
    written: RawRun,
    folder: Path,
    tolerance: float,
    texts: Sequence[str],
) -> Verification:
    """Compare a written file with the model it was made from, and time it.

    Args:
        served: says what both take.
        model: the model in float32.
        written: the file, opened.
        folder: all that was written.
        tolerance: see `TOLERANCES`.
        texts: to compare on, the first of them also to time; see `check_texts`.

    Raises:
        UserError: the file's outputs are not the model's.
    """
    rows = check_rows(served, texts)
    expected, found = _run(model, rows.inputs), _run(written, rows.inputs)
    what = "the raw outputs"
    _check_shape(what, expected, found)
    agreement = measure_agreement(served, expected, found, rows.counted)
    if expected.ndim > 2:  # of padding anything may be said
        real = rows.inputs["padding_mask"].astype(bool)
        some = rows.counted if served.task == "masked_lm" else real
        expected, found = expected[some], found[some]
    scale = float(np.abs(expected).max())
    difference = _check_close(what, expected, found, tolerance * scale)
    first = {name: values[:1] for name, values in rows.inputs.items()}
    milliseconds = _latency(written, first)
    return Verification(difference, scale, folder_size(folder), milliseconds, agreement)


def verify_texts(
    model: Service, written: Callable[..., Mapping[str, np.ndarray]], tolerance: float
) -> None:
    """Compare the answers of a SavedModel's text signatures with those of the model it is made of.

    Args:
        model: the service, with the model in float32.
        written: takes texts by name and the signature's name.
        tolerance: see `TOLERANCES`. Words and places must be the same if it is float32's.

    Raises:
        UserError: they differ.
    """
    for signature, names in model.signatures.items():
        texts = {
            name: np.array(SAMPLE_TEXTS[:: 1 if i else -1], object) for i, name in enumerate(names)
        }
        expected = model.answer(**{name: tf.constant(values) for name, values in texts.items()})
        found = written(texts, signature)
        for name, tensor in expected.items():
            what = f"{signature}'s {name}"
            if tensor.dtype == tf.float32:
                scale = float(tf.reduce_max(tf.abs(tensor))) if tf.size(tensor) else 1.0
                _check_close(what, tensor.numpy(), found[name], tolerance * max(1.0, scale))
            elif tolerance == TOLERANCES["float32"] and not np.array_equal(tensor, found[name]):
                raise UserError(f"the export: {what} is not the model's; nothing was kept of it")


def _check_shape(what: str, expected: np.ndarray, found: np.ndarray) -> None:
    if expected.shape != found.shape:
        raise UserError(
            f"the export: {what} have shape {list(found.shape)}, the model's "
            f"{list(expected.shape)}; nothing was kept of it"
        )


def _check_close(what: str, expected: np.ndarray, found: np.ndarray, most: float) -> float:
    """Give the largest difference, or refuse it."""
    _check_shape(what, expected, found)
    difference = float(np.abs(expected - found).max()) if expected.size else 0.0
    if not difference <= most:
        raise UserError(
            f"the export: {what} differ from the model's by {difference:.3g}, more than its "
            f"precision explains ({most:.3g}); nothing was kept of it"
        )
    return difference


def _run(run: RawRun, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Run some rows at a time, so that memory stays bounded."""
    starts = range(0, len(inputs["token_ids"]), _ROWS_AT_ONCE)
    parts = ({n: values[i : i + _ROWS_AT_ONCE] for n, values in inputs.items()} for i in starts)
    return np.concatenate([run(part) for part in parts])


def folder_size(folder: Path) -> int:
    """Give the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _latency(run: RawRun, inputs: Mapping[str, np.ndarray]) -> float:
    seconds = []
    for _ in range(_TIMINGS):
        start = time.perf_counter()
        run(inputs)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[2:])  # the first ones warm up
