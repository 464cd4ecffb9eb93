"""One function for each format: it writes the files, and gives what runs them on raw inputs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_distilbert.errors import UserError, explain_missing
from tf_distilbert.exports.description import write_description
from tf_distilbert.exports.litert_file import QUANTIZATIONS
from tf_distilbert.exports.raw_model import FixedShapeRun, concrete_function, input_specs
from tf_distilbert.exports.saved_model import TOKEN_IDS, SavedModelSession, write_saved_model
from tf_distilbert.exports.verification import RawRun
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.models.masked_language_model import MaskedLanguageModel
from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.service import Service
from tf_distilbert.serving.token_windows import cut_into_windows

PRECISIONS = {
    "saved_model": ("float32", "bfloat16"),
    "litert": QUANTIZATIONS,
    "onnx": ("float32", "int8"),
    "openvino": ("float32",),
    "keras_nlp": ("float32",),
}
"""What each format can hold; the first is the default."""

LITERT_SLOTS = 8
"""Positions that a masked language model in a LiteRT file predicts at once."""


def as_saved_model(model: EncoderModel, service: Service, folder: Path, precision: str) -> RawRun:
    """Write a SavedModel; see `write_saved_model`."""
    write_saved_model(model.cast_copy(precision), service, folder)
    return open_raw(folder, service.model)


def as_litert(
    model: EncoderModel,
    service: Service,
    folder: Path,
    precision: str,
    calibration: Sequence[str] | None = None,
) -> RawRun:
    """Write ``model.tflite`` and its description; the length of a row is ``max_length``.

    Args:
        calibration: texts for ``full_int8``.
    """
    from tf_distilbert.exports.litert_file import convert_to_litert

    served = service.model
    slots = LITERT_SLOTS if served.task == "masked_lm" else None
    specs = input_specs(served, 1, served.max_length, slots)
    rows = _calibration_rows(served, calibration) if calibration else None
    content = convert_to_litert(concrete_function(model, served, specs), precision, rows)
    (folder / "model.tflite").write_bytes(content)
    _describe(folder, service, "litert", precision, "model.tflite", specs)
    return open_raw(folder, served)


def as_onnx(model: EncoderModel, service: Service, folder: Path, precision: str) -> RawRun:
    """Write ``model.onnx`` and its description; batch and length are free."""
    from tf_distilbert.exports.onnx_file import convert_to_onnx
    from tf_distilbert.exports.onnx_int8 import quantize_onnx

    served, specs = service.model, input_specs(service.model)
    path = folder / "model.onnx"
    convert_to_onnx(concrete_function(model, served, specs), path)
    if precision == "int8":
        quantize_onnx(path, path)
    _describe(folder, service, "onnx", precision, path.name, specs)
    return open_raw(folder, served)


def as_openvino(model: EncoderModel, service: Service, folder: Path, precision: str) -> RawRun:
    """Write ``model.xml``, ``model.bin`` and their description; batch and length are free."""
    with explain_missing("openvino"):  # which brings them, too
        import onnx  # noqa: F401
        import tf2onnx  # noqa: F401
    from tf_distilbert.exports.onnx_file import convert_to_onnx
    from tf_distilbert.exports.openvino_file import convert_to_openvino

    served, specs = service.model, input_specs(service.model)
    path = folder / "model.onnx"
    convert_to_onnx(concrete_function(model, served, specs), path)
    convert_to_openvino(path, folder / "model.xml")
    path.unlink()
    _describe(folder, service, "openvino", precision, "model.xml", specs)
    return open_raw(folder, served)


def as_keras_nlp(model: EncoderModel, service: Service, folder: Path, precision: str) -> RawRun:
    """Write a keras-nlp preset; see `export_keras_nlp`."""
    from tf_distilbert.exports.keras_nlp import write_keras_nlp
    from tf_distilbert.model_files.keras_nlp_presets import load_preset

    if not isinstance(model, MaskedLanguageModel):
        raise UserError(
            f"--format keras_nlp takes masked language models; this is for {model.task}"
        )
    write_keras_nlp(model, folder)
    preset = load_preset(folder)
    return lambda inputs: np.asarray(preset(inputs))


def open_raw(folder: Path, served: ServedModel) -> RawRun:
    """Open what was written, whichever format it is: raw inputs to raw output.

    Raises:
        UserError: no format of ours, or the package that runs it is not installed.
    """
    if (folder / "saved_model.pb").exists():
        session = SavedModelSession(folder)
        return lambda inputs: session(inputs, TOKEN_IDS)[served.output_name]
    if (folder / "model.tflite").exists():
        from tf_distilbert.exports.litert_file import LiteRTRunner

        slots = LITERT_SLOTS if served.task == "masked_lm" else 0
        return FixedShapeRun(LiteRTRunner(folder / "model.tflite"), served.max_length, slots)
    if (folder / "model.onnx").exists():
        from tf_distilbert.exports.onnx_file import OnnxRunner

        return OnnxRunner(folder / "model.onnx")
    if (folder / "model.xml").exists():
        from tf_distilbert.exports.openvino_file import OpenVINORunner

        return OpenVINORunner(folder / "model.xml")
    raise UserError(
        f"{folder}: holds no saved_model.pb, model.tflite, model.onnx or model.xml; "
        "give the folder of an export"
    )


def _describe(
    folder: Path,
    service: Service,
    format_name: str,
    precision: str,
    file: str,
    specs: dict[str, tf.TensorSpec],
) -> None:
    shapes = {name: spec.shape.as_list() for name, spec in specs.items()}
    facts: dict[str, Any] = {"format": format_name, "precision": precision, "file": file}
    facts["long_texts"] = service.long_texts
    write_description(folder, service.model, **facts, input_shapes=shapes)


def _calibration_rows(served: ServedModel, texts: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
    """Give rows as the model takes them, one a text."""
    for text in texts:
        tokens = served.tokenizer.tokenize([text])
        windows = cut_into_windows(served, tokens, length=served.max_length)
        row = {name: tensor.numpy() for name, tensor in windows.inputs.items()}
        if served.task == "masked_lm":
            row["mask_positions"] = np.arange(1, LITERT_SLOTS + 1, dtype=np.int32)[None]
        yield row
