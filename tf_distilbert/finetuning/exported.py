"""Models as ONNX files, each a row of its own in a comparison: written, run, forgotten.

ONNX and not LiteRT, though both have int8 and either needs an extra to run: an ONNX file takes rows
of any length. So a short text costs little; through a LiteRT file, whose rows have one length, it
costs what the longest one does.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console

from tf_distilbert.errors import UserError, explain_missing
from tf_distilbert.exports.formats import PRECISIONS, as_onnx
from tf_distilbert.exports.verification import RawRun
from tf_distilbert.finetuning.encoding import EncodedSplit
from tf_distilbert.finetuning.predictions import predict_split
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.serving.served_model import ServedModel, model_function
from tf_distilbert.serving.services import SERVICES
from tf_distilbert.training.runtime import start_keras

EXPORT_PRECISIONS = PRECISIONS["onnx"]
"""What an export can be in."""


@dataclass(frozen=True)
class ExportedModel:
    """An export, opened; nothing of it is left on the disk.

    Attributes:
        run: int32 or bool inputs by name to raw outputs, float32; see `Service`.
        size: bytes that the file had.
    """

    run: RawRun
    size: int


def check_exports(precisions: Sequence[str]) -> None:
    """See that exports can be written and run, before anything takes time.

    Args:
        precisions: some of `EXPORT_PRECISIONS`, or none.

    Raises:
        UserError: a precision is none of them or there twice, a package is missing, or Keras's
            backend is not TensorFlow.
    """
    for precision in precisions:
        if precision not in EXPORT_PRECISIONS:
            known = " or ".join(EXPORT_PRECISIONS)
            raise UserError(f"exports: {precision!r} is no precision of an export; give {known}")
        if list(precisions).count(precision) > 1:
            raise UserError(f"exports: {precision} is given twice; leave one out")
    if precisions:
        start_keras(only="tensorflow")
        with explain_missing("onnx"):
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
            import tf2onnx  # noqa: F401


def export_row(model: str, precision: str) -> str:
    """Give the name of an export's row.

    Example:
        >>> export_row("half depth", "int8")
        'half depth, int8'
    """
    return f"{model}, {precision}"


def table_rows(models: Iterable[str], exports: Sequence[str]) -> dict[str, str]:
    """Give the rows of a table: each model's own, and below it those of its exports.

    Args:
        models: names; the first is the teacher, which is not exported.
        exports: precisions.

    Returns:
        Row to the name of its model.
    """
    teacher, *students = models
    rows = {teacher: teacher}
    for model in students:
        own = [model, *(export_row(model, precision) for precision in exports)]
        rows |= dict.fromkeys(own, model)
    return rows


def export_model(model: EncoderModel, precision: str) -> ExportedModel:
    """Write a model as an ONNX file, open it, and remove it.

    How well it answers is for scores to say: it is kept though few of its answers may be the
    model's, where `export` would refuse it.

    Args:
        model: with its tokenizer, in float32.
        precision: one of `EXPORT_PRECISIONS`.

    Raises:
        UserError: as `convert_to_onnx`, `quantize_onnx`.
    """
    served = ServedModel.of(model)
    service = SERVICES[served.task](served, model_function(model, served))
    with TemporaryDirectory() as name:
        run = as_onnx(model, service, Path(name), precision)
        return ExportedModel(run, (Path(name) / "model.onnx").stat().st_size)


def score_export(
    model: EncoderModel,
    precision: str,
    splits: Mapping[str, EncodedSplit],
    console: Console | None = None,
) -> dict[str, dict[str, float]]:
    """Export a fine-tuned model, and score the export by the metrics of its task.

    Its rows go through it one by one and without padding, as a text does whose latency counts: the
    activations of an int8 file are scaled by the largest one in a batch, be it of padding.

    Args:
        model: with its tokenizer, in float32.
        precision: one of `EXPORT_PRECISIONS`.
        splits: by name, encoded for the model.
        console: where progress is shown; None: nowhere.

    Returns:
        Of each split the metrics of its task and ``score``, as `finetune` gives them.

    Raises:
        UserError: as `export_model`.
        NotFiniteError: an output of the export is infinite or no number.
    """
    run, found = export_model(model, precision).run, {}

    def run_row(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        size = int(inputs["padding_mask"].sum())
        return run({name: values[:, :size] for name, values in inputs.items()})

    for name, split in splits.items():
        scores = predict_split(run_row, split, batch_size=1, console=console).scores()
        found[name] = {"score": split.task.main_score(scores), **scores}
    return found
