"""ONNX files with weights as bytes, by onnxruntime's dynamic quantizer."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.errors import UserError, explain_missing, explain_write_errors

if TYPE_CHECKING:
    import onnx

LARGEST = 63
"""The largest weight as an integer: of 7 bits.

Processors without VNNI instructions add pairs of products in 16 bits. Two products of activations
of 8 bits with weights of 8 bits can be more than these hold, and onnxruntime's sums are wrong there
without a word; with weights of 7 bits they are right on every processor.
"""


def quantize_onnx(source: Path, target: Path) -> None:
    """Write a smaller ONNX file with weights as bytes: about a quarter of the size.

    Each column of a weight matrix, each row of the embedding table has its own scale. What is
    multiplied with them is rounded to 8 bits while the model runs (dynamic quantization). The
    tied embedding table, looked up and multiplied with, is stored once.

    Args:
        source: a file of `convert_to_onnx`.
        target: the smaller one, with the same inputs and output.

    Raises:
        UserError: onnx or onnxruntime is not installed; a file cannot be read or written.
    """
    with explain_missing("onnx"):
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.quantization.quant_utils import add_pre_process_metadata
    model = _read(source)
    _quantize_table(model.graph)
    # It asks, by a message, for a pass that infers shapes and merges nodes: here is no need.
    add_pre_process_metadata(model)
    with explain_write_errors(target), tempfile.TemporaryDirectory() as folder:
        quantized = Path(folder) / "quantized.onnx"
        quantize_dynamic(
            model,
            quantized,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            reduce_range=True,
        )
        content = quantized.read_bytes()
    onnx.checker.check_model(content)
    write_atomically(target, content)


def _read(path: Path) -> "onnx.ModelProto":
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except DecodeError as error:
        raise UserError(f"{path}: is no ONNX file, or cut short ({error})") from None
    if not model.graph.node:
        raise UserError(f"{path}: holds no model; export it again")
    return model


def _quantize_table(graph: "onnx.GraphProto") -> None:
    """Store the table of the tokens as int8, with a scale for each row.

    onnxruntime's quantizer would leave it as it is, and store what a tied head multiplies with a
    second time.
    """
    from onnx import numpy_helper

    looked_up = {node.input[0] for node in graph.node if node.op_type == "Gather"}
    tables = [tensor for tensor in graph.initializer if tensor.name in looked_up]
    # The other one is that of the two segments.
    tensor = max(tables, key=lambda table: table.dims[0])
    name = tensor.name
    table = numpy_helper.to_array(tensor)
    scales = np.maximum(np.abs(table).max(axis=1), np.finfo(np.float32).tiny) / np.float32(LARGEST)
    rows = np.rint(table / scales[:, None]).astype(np.int8)
    graph.initializer.remove(tensor)
    for part, values in (("rows", rows), ("scales", scales)):
        graph.initializer.append(numpy_helper.from_array(values, f"{name}/{part}"))
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        graph.node.extend(
            _INTEGER_FORMS[node.op_type](node, name) if name in node.input else [node]
        )


def _integer_gather(gather: "onnx.NodeProto", table: str) -> list["onnx.NodeProto"]:
    from onnx import TensorProto, helper

    made, [output] = helper.make_node, gather.output
    ids = gather.input[1]
    return [
        made("Gather", [f"{table}/rows", ids], [f"{output}/rows"]),
        made("Cast", [f"{output}/rows"], [f"{output}/float"], to=TensorProto.FLOAT),
        made("Gather", [f"{table}/scales", ids], [f"{output}/scales"]),
        made("Constant", [], [f"{output}/axis"], value_ints=[-1]),
        made("Unsqueeze", [f"{output}/scales", f"{output}/axis"], [f"{output}/scale"]),
        made("Mul", [f"{output}/float", f"{output}/scale"], [output]),
    ]


def _integer_projection(gemm: "onnx.NodeProto", table: str) -> list["onnx.NodeProto"]:
    from onnx import TensorProto, helper

    made, [output] = helper.make_node, gemm.output
    hidden, _, bias = gemm.input
    rounded = [f"{output}/{part}" for part in ("rounded", "scale", "zero")]
    return [
        made("DynamicQuantizeLinear", [hidden], rounded),
        # onnxruntime transposes it once, when it opens the file.
        made("Transpose", [f"{table}/rows"], [f"{output}/columns"], perm=[1, 0]),
        made("MatMulInteger", [rounded[0], f"{output}/columns", rounded[2]], [f"{output}/sum"]),
        made("Cast", [f"{output}/sum"], [f"{output}/float"], to=TensorProto.FLOAT),
        made("Mul", [rounded[1], f"{table}/scales"], [f"{output}/scales"]),
        made("Mul", [f"{output}/float", f"{output}/scales"], [f"{output}/product"]),
        made("Add", [f"{output}/product", bias], [output]),
    ]


_INTEGER_FORMS = {"Gather": _integer_gather, "Gemm": _integer_projection}
