"""Patterns of TensorFlow's operations, and what is written for them in an ONNX file.

They make the file valid (tf2onnx knows no erfc), and let onnxruntime and OpenVINO find what they
have fast code for: LayerNorm, GELU, a table that is stored once.

tf2onnx calls them with its graph and TensorFlow's operations. A pattern that is not found, as
Keras may write it otherwise one day, stays as it is: slower, but right. An erfc that is left makes
the file invalid, and `convert_to_onnx` says so.
"""

from typing import Any

import numpy as np


def _any(name: str) -> Any:
    return _pattern("*", name=name)


def _pattern(operation: str, *inputs: Any, **settings: Any) -> Any:
    from tf2onnx.graph_matcher import OpTypePattern

    return OpTypePattern(operation, inputs=list(inputs), **settings)


def _matches(pattern: Any, operations: list) -> list:
    from tf2onnx.graph_matcher import GraphMatcher

    return list(GraphMatcher(pattern, allow_reorder=True).match_ops(operations))


def _replace(graph: Any, node: Any, operation: str, inputs: list[str], **attributes: Any) -> None:
    made = _make(graph, node, operation, inputs, **attributes)
    graph.replace_all_inputs(node.output[0], made)


def _make(graph: Any, like: Any, operation: str, inputs: list[str], **attributes: Any) -> str:
    """Add a node whose output has shape and dtype of that of ``like``."""
    [output] = like.output
    node = graph.make_node(
        operation,
        inputs,
        attr=attributes,
        shapes=[graph.get_shape(output)],
        dtypes=[graph.get_dtype(output)],
    )
    return node.output[0]


def _rewrite_norms(graph: Any, operations: list) -> list:
    """Write Keras's LayerNorm as one operation; its epsilon goes with it."""
    mean = _pattern("Mean", _any("input of mean"), "Const", name="mean")
    deviation = _pattern(
        "SquaredDifference", _any("input of deviation"), _pattern("StopGradient|Identity", mean)
    )
    variance = _pattern("Mean", deviation, _pattern("Const", name="axes"))
    root = _pattern("Rsqrt", _pattern("Add|AddV2", variance, _pattern("Const", name="epsilon")))
    factor = _pattern("Mul", root, _pattern("Reshape", _any("gamma"), "Const"), name="factor")
    scaled = _pattern("Mul", _any("input"), factor)
    mean_again = _pattern("Mean", name="mean again")
    shift = _pattern("Mul", _pattern("Neg", mean_again), _pattern("Mul", name="factor again"))
    shifted = _pattern("Add|AddV2", shift, _pattern("Reshape", _any("beta"), "Const"))
    for match in _matches(pattern := _pattern("Add|AddV2", scaled, shifted), operations):
        axes = match.get_op("axes").get_tensor_value(as_list=False)
        tensors = {match.get_tensor(f"input{of}") for of in ("", " of mean", " of deviation")}
        same = all(match.get_op(n) is match.get_op(f"{n} again") for n in ("mean", "factor"))
        if len(tensors) > 1 or not same or axes.reshape(-1).tolist() != [-1]:
            continue
        inputs = [match.get_tensor(name) for name in ("input", "gamma", "beta")]
        epsilon = float(match.get_op("epsilon").get_tensor_value(as_list=False))
        node = match.get_op(pattern)
        _replace(graph, node, "LayerNormalization", inputs, axis=-1, epsilon=epsilon)
    return graph.get_nodes()


def _rewrite_gelu(graph: Any, operations: list) -> list:
    """Write TensorFlow's ½x·erfc(-x/√2) as x·(1 + erf(x/√2))·½, which runtimes look for."""
    half, root = _pattern("Const", name="half"), _pattern("Const", name="1/root")
    argument = _pattern("Mul", _pattern("Neg", _any("input of erfc")), root)
    pattern = _pattern("Mul", _pattern("Mul", half, _any("input")), _pattern("Erfc", argument))
    for match in _matches(pattern, operations):
        values = match.get_tensor("input")
        factors = [float(match.get_op(n).get_tensor_value()) for n in ("half", "1/root")]
        if match.get_tensor("input of erfc") != values or not np.allclose(factors, [0.5, 0.5**0.5]):
            continue
        node = match.get_op(pattern)

        def constant(name: str, value: float, node: Any = node) -> str:
            return graph.make_const(f"{node.name}/{name}", np.float32(value)).output[0]

        error = _make(graph, node, "Div", [values, constant("root_of_2", 2**0.5)])
        error = _make(graph, node, "Erf", [error])
        error = _make(graph, node, "Add", [error, constant("one", 1.0)])
        product = _make(graph, node, "Mul", [values, error])
        _replace(graph, node, "Mul", [product, constant("half", 0.5)])
    return graph.get_nodes()


def _rewrite_indices(graph: Any, operations: list) -> list:
    """Leave out what makes negative indices count from the end: ONNX's Gather does so itself."""
    negative, counted = _pattern("Less", _any("sign of"), "Const"), _pattern("Add|AddV2", "*", "*")
    for match in _matches(pattern := _pattern("SelectV2", negative, counted, "*"), operations):
        node = match.get_op(pattern)
        indices = node.input[2]
        if match.get_tensor("sign of") == indices and indices in node.inputs[1].input:
            for gather in graph.find_output_consumers(node.output[0]):
                if gather.type == "GatherV2":
                    graph.replace_input(gather, node.output[0], indices, 1)
    return graph.get_nodes()


def _rewrite_mask(graph: Any, operations: list) -> list:
    """Choose the score of padding or 0 by Where, which tf2onnx makes six operations of."""
    for match in _matches(pattern := _pattern("SelectV2", "*", "Const", "Const"), operations):
        node = match.get_op(pattern)
        _replace(graph, node, "Where", node.input)
    return graph.get_nodes()


def _rewrite_projection(graph: Any, operations: list) -> list:
    """Multiply with the embedding table as it is stored, not with a transposed copy."""
    order = _pattern("Const", name="order")
    transposed = _pattern("Transpose", _any("table"), order, allow_reorder=False)
    product = _pattern("MatMul", _any("hidden"), transposed, allow_reorder=False)
    for match in _matches(pattern := _pattern("Add|AddV2", product, _any("bias")), operations):
        if match.get_op("order").get_tensor_value() != [1, 0]:
            continue
        inputs = [match.get_tensor(name) for name in ("hidden", "table", "bias")]
        _replace(graph, match.get_op(pattern), "Gemm", inputs, transB=1)
    return graph.get_nodes()


REWRITERS = [_rewrite_norms, _rewrite_gelu, _rewrite_indices, _rewrite_mask, _rewrite_projection]
"""All of them, in the order in which they are applied."""
