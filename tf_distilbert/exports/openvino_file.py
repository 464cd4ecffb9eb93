"""OpenVINO files: written from an ONNX file, run on the processor."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tf_distilbert.errors import UserError, explain_missing, explain_write_errors
from tf_distilbert.exports.raw_model import as_int32, with_a_slot


def convert_to_openvino(onnx_path: Path, target: Path) -> None:
    """Write an ONNX file in OpenVINO's form.

    Args:
        onnx_path: a file of `convert_to_onnx`.
        target: the ``.xml`` file; the weights, float32, go into a ``.bin`` file beside it.

    Raises:
        UserError: openvino is not installed; a file cannot be read or written.

    Example:
        >>> convert_to_openvino(Path("model.onnx"), Path("model.xml"))
    """
    with explain_missing("openvino"):
        import openvino
    if not onnx_path.is_file():
        raise UserError(f"{onnx_path}: no such file; export the model as ONNX first")
    try:
        # Not convert_model, which reports its use to Intel where openvino-telemetry is installed.
        model = openvino.Core().read_model(onnx_path)
    except RuntimeError as error:
        raise UserError(f"{onnx_path}: OpenVINO cannot read it ({_last_line(error)})") from error
    with explain_write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Else it would round the weights to float16.
            openvino.save_model(model, target, compress_to_fp16=False)
        except RuntimeError as error:
            raise OSError(_last_line(error)) from None


class OpenVINORunner:
    """An OpenVINO file, ready to run on the processor.

    It computes in float32: by itself OpenVINO would use bfloat16 on processors that have it.

    Args:
        path: the ``.xml`` file of `convert_to_openvino`.

    Attributes:
        input_names: what it takes.

    Raises:
        UserError: openvino is not installed; the file is missing or broken.

    Example:
        >>> runner = OpenVINORunner(Path("model.xml"))
        >>> logits = runner({"token_ids": ids, "padding_mask": mask, "mask_positions": positions})
    """

    def __init__(self, path: Path) -> None:
        with explain_missing("openvino"):
            import openvino
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        try:
            self._model = openvino.Core().compile_model(
                path, "CPU", {openvino.properties.hint.inference_precision: openvino.Type.f32}
            )
        except RuntimeError as error:
            raise UserError(
                f"{path}: OpenVINO cannot open it ({_last_line(error)}); export again"
            ) from error
        self.input_names = tuple(tensor.any_name for tensor in self._model.inputs)

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Compute the output.

        Args:
            inputs: integers or bool, as the file's input names say; further ones are ignored.

        Returns:
            float32, of the shape that the exported function gives.

        Raises:
            UserError: an input is missing.
        """
        return with_a_slot(
            lambda arrays: self._model(arrays)[0].copy(), as_int32(inputs, self.input_names)
        )


def _last_line(error: Exception) -> str:
    # The first ones name lines of OpenVINO's source.
    return (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
