"""ONNX files: written with tf2onnx, run with onnxruntime.

tf2onnx translates operation by operation. Here it gets the weights as inputs, which are made
constants again once it is done: it would copy and compare them at every turn (DistilBERT took
19 GB), and TensorFlow would fold constants that say more as they are. `onnx_patterns` sees to it
that the file is valid, and that runtimes find in it what they have fast code for.

The file has operations of the ONNX standard alone, opset 17.

Dimensions: batch, sequence and masks, as they are called in the file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.errors import UserError, explain_missing
from tf_distilbert.exports.onnx_patterns import REWRITERS
from tf_distilbert.exports.raw_model import as_int32, with_a_slot
from tf_distilbert.training.runtime import silenced, usable_cores

if TYPE_CHECKING:
    import onnx
    import tensorflow as tf

# The first with LayerNormalization; tf2onnx writes up to 18.
_OPSET = 17
# What one protobuf message, so one ONNX file, can hold.
_LARGEST_FILE = 2**31
_DYNAMIC_SIZES = {
    "token_ids": ("batch", "sequence"),
    "padding_mask": ("batch", "sequence"),
    "segment_ids": ("batch", "sequence"),
    "mask_positions": ("batch", "masks"),
}


def convert_to_onnx(function: "tf.types.experimental.ConcreteFunction", path: Path) -> None:
    """Write a model's computation as an ONNX file.

    Args:
        function: see `concrete_function`: takes int32 tensors ``token_ids`` and ``padding_mask``
            [batch, sequence], optionally ``segment_ids`` [batch, sequence] and ``mask_positions``
            [batch, masks], and gives one float32 tensor by its name. Its weights must be float32
            variables that it reads itself, not through a `tf.function` in it.
        path: the file. Inputs and output have those names; batch, sequence and masks are of any
            size, the batch may be empty, the masks not.

    Raises:
        UserError: tf2onnx or onnx is not installed; the weights have 2 GB or more; an operation
            cannot be translated; the file cannot be written.
    """
    with explain_missing("onnx"):
        import onnx
        import tf2onnx  # noqa: F401  # needed by what is called below
    size = sum(v.shape.num_elements() * v.dtype.size for v in function.variables)
    if size >= _LARGEST_FILE:
        raise UserError(
            f"{path}: the weights have {size / 1e9:.1f} GB, and an ONNX file holds less than 2.1; "
            "export a smaller model, or in another format"
        )
    model = _translate(function)
    _name_sizes(model.graph)
    content = model.SerializeToString()
    try:
        onnx.checker.check_model(content, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise UserError(
            f"{path}: not written, it would be no valid ONNX ({_first_line(error)}); "
            "install a newer tf2onnx"
        ) from error
    write_atomically(path, content)


class OnnxRunner:
    """An ONNX file, ready to run with onnxruntime on the processor.

    Args:
        path: a file of `convert_to_onnx` or `quantize_onnx`.

    Attributes:
        input_names: what it takes.

    Raises:
        UserError: onnxruntime is not installed; the file is missing or broken.

    Example:
        >>> runner = OnnxRunner(Path("model.onnx"))
        >>> logits = runner({"token_ids": ids, "padding_mask": mask, "mask_positions": positions})
    """

    def __init__(self, path: Path) -> None:
        with explain_missing("onnx"):
            import onnxruntime
        options = onnxruntime.SessionOptions()
        # It would count the machine's cores, not those that a container or taskset left over.
        options.intra_op_num_threads = usable_cores()
        options.log_severity_level = 4  # it raises errors, and would print them as well
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors have no class of their own in common
            raise UserError(f"{path}: cannot be opened ({_first_line(error)})") from None
        self.input_names = tuple(i.name for i in self._session.get_inputs())

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
            lambda arrays: self._session.run(None, arrays)[0], as_int32(inputs, self.input_names)
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _translate(function: "tf.types.experimental.ConcreteFunction") -> "onnx.ModelProto":
    import onnx
    import tensorflow as tf
    from tf2onnx import optimizer, tfonnx

    captured = {id(inside) for _, inside in function.graph.captures}
    inputs = [tensor for tensor in function.inputs if id(tensor) not in captured]
    names = {tensor.name: tensor.op.name for tensor in inputs}
    [output], [output_name] = function.outputs, function.structured_outputs
    definition, weights = _with_weights_as_inputs(function)
    # What tf2onnx reports as errors, onnx.checker finds in the file.
    with tf.Graph().as_default() as graph, silenced("tf2onnx"), tf.device("/cpu:0"):
        tf.import_graph_def(definition, name="")
        translated = tfonnx.process_tf_graph(
            graph,
            continue_on_error=False,
            opset=_OPSET,
            custom_rewriter=REWRITERS,
            input_names=[*names, *weights],
            output_names=[output.name],
            tensors_to_rename={**names, output.name: output_name},
        )
        model = optimizer.optimize_graph(translated).make_model("tf_distilbert")
    kept = [value for value in model.graph.input if value.name not in weights]
    used = {name for node in model.graph.node for name in node.input}
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for name, variable in weights.items():
        if name in used:
            model.graph.initializer.append(onnx.numpy_helper.from_array(variable.numpy(), name))
    return model


def _with_weights_as_inputs(
    function: "tf.types.experimental.ConcreteFunction",
) -> tuple["tf.compat.v1.GraphDef", dict[str, "tf.Variable"]]:
    """Give the graph with a placeholder in place of each variable, and the placeholders' values."""
    handles = {
        inside.op.name: variable
        for outside, inside in function.graph.captures
        for variable in function.variables
        if variable.handle is outside
    }
    definition = function.graph.as_graph_def()
    first_reads: dict[str, str] = {}
    weights = {}
    for node in definition.node:
        if node.op != "ReadVariableOp" or node.input[0] not in handles:
            continue
        handle = node.input[0]
        del node.input[:]
        if handle in first_reads:  # a table is read twice, and to be stored once
            node.op = "Identity"
            node.attr["T"].CopyFrom(node.attr.pop("dtype"))
            node.input.append(first_reads[handle])
            continue
        variable = handles[handle]
        node.op = "Placeholder"
        node.attr["shape"].shape.CopyFrom(variable.shape.as_proto())
        first_reads[handle] = node.name
        weights[f"{node.name}:0"] = variable
    return definition, weights


def _name_sizes(graph: "onnx.GraphProto") -> None:
    """Call the dynamic sizes by their names, in place of tf2onnx's numbers."""
    names = {value.name: _DYNAMIC_SIZES[value.name] for value in graph.input}
    for output in graph.output:
        names[output.name] = names.get("mask_positions", names["token_ids"])
    for value in (*graph.input, *graph.output):
        dimensions = value.type.tensor_type.shape.dim
        for dimension, name in zip(dimensions, names[value.name], strict=False):
            if not dimension.HasField("dim_value"):
                dimension.dim_param = name
    # Of the tensors between, whose numbers would stand for other sizes now.
    del graph.value_info[:]
