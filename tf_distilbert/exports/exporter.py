"""``export``: a model in, a checked export with its model card out."""

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from rich.console import Console

from tf_distilbert.atomic_writes import whole_folder, write_atomically
from tf_distilbert.console.lines import say
from tf_distilbert.errors import UserError, explain_write_errors
from tf_distilbert.exports import formats
from tf_distilbert.exports.agreement import check_agreement
from tf_distilbert.exports.check_texts import calibration_texts, check_texts, num_checked
from tf_distilbert.exports.formats import PRECISIONS
from tf_distilbert.exports.model_card import FILE as CARD
from tf_distilbert.exports.model_card import model_card, usage
from tf_distilbert.exports.saved_model import WARM_UP_BATCH, SavedModelSession, batching_parameters
from tf_distilbert.exports.verification import (
    KERAS_NLP_TOLERANCE,
    TOLERANCES,
    RawRun,
    Verification,
    verify,
    verify_texts,
)
from tf_distilbert.model_files.folder import load_task_model, resolve_folder
from tf_distilbert.model_files.keras_nlp_presets import is_preset
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.serving.served_model import ServedModel, model_function
from tf_distilbert.serving.service import Run, Service
from tf_distilbert.serving.services import SERVICES
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

_WRITE: dict[str, Callable[..., RawRun]] = {
    "saved_model": formats.as_saved_model,
    "litert": formats.as_litert,
    "onnx": formats.as_onnx,
    "openvino": formats.as_openvino,
    "keras_nlp": formats.as_keras_nlp,
}

SAVED_MODELS = "saved_models"
"""Where SavedModels go by default."""

LITERT_LENGTH = 128
"""Tokens of a row in a LiteRT file by default."""

BATCHING = "batching_parameters.txt"

# A script of its own, which nothing here imports.
EXAMPLE = Path(__file__).with_name("litert_example.py")


def export(
    model: str | Path | EncoderModel,
    format_name: str,
    output: str | Path | None = None,
    *,
    task: str | None = None,
    precision: str = "float32",
    name: str | None = None,
    version: int = 1,
    long_texts: str | None = None,
    max_length: int | None = None,
    top_k: int = 5,
    batching: int | None = None,
    calibration: Sequence[str] | None = None,
    console: Console | None = None,
) -> tuple[Path, Verification]:
    """Write a model in another format, run what was written, and compare.

    An export in which few answers are the model's is kept with a warning, and one in 8 bits in
    which most are others is refused: `agreement.EXPECTED_AGREEMENT` and `LEAST_AGREEMENT` say
    where the limits are.

    Args:
        model: what `load_task_model` takes; or a model with its tokenizer.
        format_name: ``saved_model`` (for TensorFlow Serving), ``litert``, ``onnx``, ``openvino``
            or ``keras_nlp``.
        output: a new folder; of a SavedModel the one that its name is put in, by default
            ``saved_models``.
        task: the head to be used; see `load_task_model`.
        precision: what `PRECISIONS` has for the format: ``float32``; ``bfloat16`` or ``float16``
            weights; ``int8`` weights; ``full_int8``: activations, too.
        name: of a SavedModel, under which a server knows it; by default the model folder's.
        version: of a SavedModel; one that is there is not touched.
        long_texts: ``cut`` or ``window``, see `Service`; by default ``window`` for question
            answering and ``cut`` else. A SavedModel keeps it.
        max_length: tokens that the model reads at once; by default all its positions, in a LiteRT
            file, whose rows all have this length, `LITERT_LENGTH`.
        top_k: words for each mask, of a masked language model's SavedModel.
        batching: write a file for the server, too, by which it puts up to so many texts of several
            requests together; it refuses requests of more.
        calibration: sources of text, as `read_blocks` takes them, for ``full_int8``. The
            first lines are calibrated on, the next ones are compared on.
        console: where progress and warnings are shown, by default stderr.

    Returns:
        The folder of the export, and how it compares with the model.

    Raises:
        UserError: model, format, options or output are at fault; a package is missing; or the
            written files do not give the model's answers. Nothing is left of a failed export.

    Example:
        >>> folder, found = tf_distilbert.export("runs/mini/model", "saved_model", version=3)
        >>> found.largest_difference < 1e-4, found.agreement.share
        (True, 1.0)
    """
    _check_options(format_name, precision, version, name, batching, calibration)
    _check_names(output, name)
    tell = partial(say, console or Console(stderr=True))
    source = None if isinstance(model, EncoderModel) else model
    if output is None and format_name != "saved_model":
        raise UserError(f"--format {format_name} needs --output: a new folder")
    folder = Path(SAVED_MODELS if output is None else output)
    if format_name == "saved_model":
        name = name or _name(source)
        folder = folder / name / str(version)
    _check_free(folder, "--output or --version" if format_name == "saved_model" else "--output")
    # The rows of a LiteRT file all have one length.
    row_length = (max_length or LITERT_LENGTH) if format_name == "litert" else None
    extra: dict[str, Any] = {}
    texts = check_texts(num_checked(row_length))
    if calibration:
        extra["calibration"], texts = calibration_texts(calibration, len(texts))
    if source is not None:
        tell(f"loading {source}")
        model = load_task_model(source, task)
    if not isinstance(model, EncoderModel):
        raise UserError(f"{source}: is a keras-nlp preset, which keras-nlp's own export() writes")
    if row_length is not None and max_length is None:
        max_length = min(row_length, model.architecture.max_positions)
    service = _service(ServedModel.of(model, max_length), model, long_texts, top_k)
    # A keras-nlp preset by its name has no folder of its own.
    home = None if source is None or is_preset(source) else resolve_folder(source)
    with _new_parents(folder), whole_folder(folder) as partial_folder:
        tell(f"writing {format_name} in {precision}")
        run = _WRITE[format_name](model, service, partial_folder, precision, **extra)
        tell("checking the answers")
        tolerance = _tolerance(format_name, precision)
        found = verify(service.model, _as_raw(service.run), run, partial_folder, tolerance, texts)
        if format_name == "saved_model" and isinstance(model.tokenizer, WordPieceTokenizer):
            verify_texts(service, SavedModelSession(partial_folder), TOLERANCES[precision])
        if warning := check_agreement(found.agreement, precision):
            tell(warning)
        if format_name == "litert" and isinstance(model.tokenizer, WordPieceTokenizer):
            shutil.copyfile(EXAMPLE, partial_folder / "example.py")
        where = folder.parent if format_name == "saved_model" else folder
        card = model_card(
            model,
            service,
            home,
            _name(source) if source is not None else type(model).__name__,
            format_name,
            precision,
            found,
            usage(format_name, service.model, where, name or folder.name),
        )
        (partial_folder / CARD).write_text(card, encoding="utf-8")
        if batching:
            write_atomically(folder.parent / BATCHING, batching_parameters(batching).encode())
    return folder, found


def _check_options(
    format_name: str,
    precision: str,
    version: int,
    name: str | None,
    batching: int | None,
    calibration: Sequence[str] | None,
) -> None:
    if format_name not in PRECISIONS:
        raise UserError(f"--format {format_name!r}: use one of {', '.join(PRECISIONS)}")
    if precision not in PRECISIONS[format_name]:
        raise UserError(
            f"--precision {precision}: {format_name} can be {', '.join(PRECISIONS[format_name])}"
        )
    if version < 1:
        raise UserError(f"--version is {version}; servers know whole numbers from 1 on")
    if format_name != "saved_model" and (version != 1 or name is not None):
        option = "--version" if version != 1 else "--name"
        raise UserError(f"{option} goes with --format saved_model, not {format_name}; leave it out")
    if batching is not None and (batching < WARM_UP_BATCH or format_name != "saved_model"):
        raise UserError(
            f"--batching {batching}: {WARM_UP_BATCH} or more, with --format saved_model"
        )
    if (precision == "full_int8") != bool(calibration):
        raise UserError(
            "--calibration: full_int8 needs text from which it learns the ranges of numbers"
            if not calibration
            else f"--calibration goes with --precision full_int8, not {precision}"
        )


def _check_names(output: str | Path | None, name: str | None) -> None:
    if output is not None and not str(output):
        raise UserError("--output is empty; give a new folder")
    if name is not None and (not re.fullmatch(r"[\w.-]+", name) or not name.strip(".")):
        raise UserError(f"--name {name!r}: letters, digits, _ - and . alone; it names a folder")


def _service(
    served: ServedModel, model: EncoderModel, long_texts: str | None, top_k: int
) -> Service:
    options: dict[str, Any] = {"top_k": top_k} if served.task == "masked_lm" else {}
    if long_texts is not None:
        options["long_texts"] = long_texts
    return SERVICES[served.task](served, model_function(model, served), **options)


def _as_raw(run: Run) -> RawRun:
    return lambda inputs: np.asarray(run({n: tf.constant(v) for n, v in inputs.items()}))


def _tolerance(format_name: str, precision: str) -> float:
    return KERAS_NLP_TOLERANCE if format_name == "keras_nlp" else TOLERANCES[precision]


def _name(source: str | Path | None) -> str:
    """The name of a model: its folder's; of a run's ``model`` the run's."""
    if source is None:
        raise UserError("--name: give the name under which a server shall know the model")
    if str(source).startswith("hf://"):
        return str(source).partition("@")[0].rpartition("/")[2]
    path = Path(source).resolve()
    return path.parent.name if path.name == "model" else path.name


def _check_free(folder: Path, options: str) -> None:
    """See, before anything is loaded, that the output is free; the options choose another."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists already; choose another {options}")


@contextlib.contextmanager
def _new_parents(folder: Path) -> Iterator[None]:
    """Make the folders that a folder is in; take them away again if what is done then fails."""
    missing = [parent for parent in folder.parents if not parent.exists()]
    with explain_write_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for parent in missing:
            with contextlib.suppress(OSError):  # somebody else may use it by now
                parent.rmdir()
        raise
