"""Running what was written: a file is an export once it gives the model's answers."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_distilbert.errors import UserError
from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.service import Service
from tf_distilbert.serving.token_windows import cut_into_windows, cut_off, pair_room

RawRun = Callable[[Mapping[str, np.ndarray]], np.ndarray]

TOLERANCES = {"float32": 1e-4, "float16": 0.02, "bfloat16": 0.1, "int8": 0.5, "full_int8": 1.0}
"""By precision: differences above this share of the largest output are those of a broken file.

What a precision costs is not for this check to say but for a task: docs/serving.md has figures.
"""

KERAS_NLP_TOLERANCE = 1e-3
"""Of keras-nlp's presets, whose head computes slightly differently; see `export_keras_nlp`."""

SAMPLE_TEXTS = (
    "A short text with a [MASK] in it.",
    "The quick brown fox jumps over the lazy dog, while 12 others watch it from the river bank.",
    "Crème brûlée, naïve façades, Ελλάδα, 東京 and an emoji 🙂 in one line!",
)
_TIMINGS = 9


@dataclass(frozen=True)
class Verification:
    """How a written file compares with its model.

    Attributes:
        largest_difference: of the raw outputs.
        largest_output: the model's, in the same place or another.
        size: bytes of all files.
        milliseconds: median latency of one short text.
    """

    largest_difference: float
    largest_output: float
    size: int
    milliseconds: float


def verify(
    served: ServedModel, model: RawRun, written: RawRun, folder: Path, tolerance: float
) -> Verification:
    """Compare a written file with the model it was made from, and time it.

    Args:
        served: says what both take.
        model: the model in float32.
        written: the file, opened.
        folder: all that was written.
        tolerance: see `TOLERANCES`.

    Raises:
        UserError: the file's outputs are not the model's.
    """
    inputs = sample_inputs(served)
    expected, found = model(inputs), written(inputs)
    if served.task not in ("sequence_classification", "masked_lm"):
        real = inputs["padding_mask"].astype(bool)  # of padding anything may be said
        expected, found = expected[real], found[:, : real.shape[1]][real]
    scale = float(np.abs(expected).max())
    difference = _check_close("the raw outputs", expected, found, tolerance * scale)
    first = {name: values[:1] for name, values in inputs.items()}
    return Verification(difference, scale, folder_size(folder), _latency(written, first))


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


def _check_close(what: str, expected: np.ndarray, found: np.ndarray, most: float) -> float:
    """Give the largest difference, or refuse it."""
    if expected.shape != found.shape:
        raise UserError(
            f"the export: {what} have shape {list(found.shape)}, the model's "
            f"{list(expected.shape)}; nothing was kept of it"
        )
    difference = float(np.abs(expected - found).max()) if expected.size else 0.0
    if not difference <= most:
        raise UserError(
            f"the export: {what} differ from the model's by {difference:.3g}, more than its "
            f"precision explains ({most:.3g}); nothing was kept of it"
        )
    return difference


def sample_inputs(served: ServedModel) -> dict[str, np.ndarray]:
    """Make a few rows of ids as the model takes them; of pairs, where it knows pairs."""
    tokens = served.tokenizer.tokenize(list(SAMPLE_TEXTS))
    questions = None
    if served.task == "question_answering":
        questions = cut_off(tf.reverse(tokens, [0]), pair_room(served) // 2)
    windows = cut_into_windows(served, tokens, questions)
    inputs = {name: tensor.numpy() for name, tensor in windows.inputs.items()}
    if served.task == "masked_lm":
        inputs["mask_positions"] = np.tile(np.array([1, 2], np.int32), (len(SAMPLE_TEXTS), 1))
    return inputs


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
