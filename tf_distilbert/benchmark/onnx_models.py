"""The workload of onnxruntime: the student's encoder, exported from PyTorch."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from tf_distilbert.benchmark.torch_models import encoder, encoder_inputs
from tf_distilbert.runtime import usable_cores


def inference(
    architecture: Mapping[str, Any], shapes: Mapping[str, tuple[int, int]], precision: str
) -> dict[str, Callable[[], None]]:
    """Give a case for each shape; arguments as in `our_models.inference`, float32 alone."""
    if precision != "float32":
        raise ValueError(f"precision {precision!r}; the exported model is float32")
    inputs = {name: encoder_inputs(architecture, shape) for name, shape in shapes.items()}
    session = _session(encoder(architecture), next(iter(inputs.values())))

    def case(tensors: dict[str, torch.Tensor]) -> Callable[[], None]:
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        return lambda: session.run(None, arrays) and None

    return {name: case(tensors) for name, tensors in inputs.items()}


def _session(
    model: torch.nn.Module, example: dict[str, torch.Tensor]
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    axes = {0: "batch", 1: "sequence"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            model,
            tuple(example.values()),
            str(path),
            input_names=list(example),
            output_names=["last_hidden_state"],
            dynamic_axes=dict.fromkeys((*example, "last_hidden_state"), axes),
            dynamo=False,  # the newer exporter needs one more package
        )
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
