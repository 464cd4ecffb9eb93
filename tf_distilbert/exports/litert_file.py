"""LiteRT (TensorFlow Lite) files: written from a function of fixed shapes, run on the processor.

Three things are done to the function's graph, for what the converter does not do by itself:

- Lookups in tables become ``EMBEDDING_LOOKUP``. A ``GATHER`` takes a table that has one scale for
  all rows, the output projection one that has a scale for each; a masked-LM's table, which serves
  both, would be in an int8 file twice.
- For integer activations the score of padding is small: with -1e9 among them, all others would
  have the same 8-bit number.
- Variables are held by a module of their own, and frozen; else the file would only name them.
"""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_distilbert.errors import UserError, explain_missing
from tf_distilbert.exports.raw_model import as_int32
from tf_distilbert.models.encoder import MASKED_SCORE
from tf_distilbert.training.runtime import quiet_start, usable_cores

QUANTIZATIONS = ("float32", "float16", "int8", "full_int8")
"""What `convert_to_litert` can do to weights and activations; see there."""

# exp() of it is 5e-5; lower ones take steps of 8 bits away from the scores that matter.
_INTEGER_MASKED_SCORE = -10.0


def convert_to_litert(
    function: tf.types.experimental.ConcreteFunction,
    quantization: str,
    calibration: Iterable[Mapping[str, np.ndarray]] | None = None,
) -> bytes:
    """Make a LiteRT file of a function.

    Args:
        function: takes int32 tensors of fixed shapes, each with a name (``tf.TensorSpec(...,
            name=...)``), and gives a dictionary of one float32 tensor.
        quantization: one of `QUANTIZATIONS`.

            - ``float32``: none.
            - ``float16``: weights are stored in 16 bits and computed with in 32.
            - ``int8``: weights in 8 bits, a scale for each channel; activations stay float32, and
              are rounded for each matrix product, a scale for each row.
            - ``full_int8``: weights and activations in 8 bits, for accelerators that compute with
              integers only; scales of activations come from `calibration`. Much of the quality is
              lost.
        calibration: for ``full_int8``, some hundred typical inputs: int32 arrays by name, in the
            function's shapes.

    Returns:
        The file. Its signature ``serving_default`` has the function's names; inputs are int32 and
        the output is float32 in each quantization.

    Raises:
        UserError: the quantization is unknown, or ``full_int8`` has no calibration.

    Example:
        >>> Path("model.tflite").write_bytes(convert_to_litert(function, "int8"))
    """
    if quantization not in QUANTIZATIONS:
        raise UserError(
            f"the quantization {quantization!r} is unknown; use {', '.join(QUANTIZATIONS)}"
        )
    examples = []
    if quantization == "full_int8":
        examples = [_as_int32(example) for example in calibration or ()]
        if not examples:
            raise UserError(
                "the calibration of full_int8 has no examples; give it some text, a hundred lines "
                "or more"
            )
    with quiet_start(), warnings.catch_warnings():
        # The calibration runs in tf.lite.Interpreter, which announces its end.
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated", UserWarning)
        module = tf.Module()
        module.variables_held = list(function.variables)
        prepared = _prepare(function, quantization == "full_int8")
        converter = tf.lite.TFLiteConverter.from_concrete_functions([prepared], module)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = False
        if quantization != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantization == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantization == "full_int8":
            converter.representative_dataset = lambda: (
                ("serving_default", example) for example in examples
            )
        return converter.convert()


class LiteRTRunner:
    """A LiteRT file, ready to run on the processor.

    Args:
        path: a file of `convert_to_litert`.

    Attributes:
        input_shapes: name to shape of what it takes.

    Raises:
        UserError: ai-edge-litert is not installed; the file is missing or broken.

    Example:
        >>> runner = LiteRTRunner(Path("model.tflite"))
        >>> logits = runner({"token_ids": ids, "padding_mask": mask, "mask_positions": positions})
    """

    def __init__(self, path: Path) -> None:
        with explain_missing("litert"):
            from ai_edge_litert.interpreter import Interpreter
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        try:
            with quiet_start():  # it greets at its first run
                interpreter = Interpreter(str(path), num_threads=usable_cores())
                self._run = interpreter.get_signature_runner("serving_default")
                self.input_shapes = {
                    name: tuple(int(size) for size in detail["shape"])
                    for name, detail in self._run.get_input_details().items()
                }
                shapes = self.input_shapes.items()
                self._run(**{name: np.zeros(shape, np.int32) for name, shape in shapes})
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path}: LiteRT cannot open it ({reason}); export again") from None

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Compute the output, row by row where the file has one row.

        Args:
            inputs: integers or bool; any number of the file's rows. Names that the file does not
                know are ignored.

        Returns:
            float32 [rows, ...].

        Raises:
            UserError: an input is missing, or has another shape than the file's.
        """
        arrays = as_int32(inputs, tuple(self.input_shapes))
        at_once = next(iter(self.input_shapes.values()))[0]
        rows = {len(array) for array in arrays.values()}
        for name, shape in self.input_shapes.items():
            given = arrays[name].shape
            if len(rows) > 1 or given[1:] != shape[1:] or given[0] % at_once or not given[0]:
                raise UserError(
                    f"{name} has the shape {list(given)}, the file takes {list(shape)} or more "
                    "such rows, as many of each input"
                )
        results = []
        for i in range(0, rows.pop(), at_once):
            some = {name: array[i : i + at_once] for name, array in arrays.items()}
            [result] = self._run(**some).values()
            results.append(result)
        return np.concatenate(results)


def _prepare(
    function: tf.types.experimental.ConcreteFunction, integer_activations: bool
) -> tf.types.experimental.ConcreteFunction:
    """Trace a function again, with what the head of this file promises."""
    graph = function.graph
    weights = {inner.name: outer for outer, inner in graph.captures}
    arguments = {t.op.name: t for t in graph.inputs if t.name not in weights}
    [output], [output_name] = function.outputs, function.structured_outputs
    definition = graph.as_graph_def()
    if integer_activations:
        _subtract_means(definition)

    def run(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        known = {arguments[name].name: tensor for name, tensor in inputs.items()}
        own_graph = tf.compat.v1.get_default_graph()
        known |= {name: own_graph.capture(weight) for name, weight in weights.items()}

        def compute(*names: str) -> list[tf.Tensor]:
            return tf.graph_util.import_graph_def(definition, known, list(names))

        if integer_activations:
            known |= {name: tf.constant(_INTEGER_MASKED_SCORE) for name in _masked_scores(graph)}
        else:  # there is no integer EMBEDDING_LOOKUP
            for lookup in _lookups(graph):
                table, ids = compute(*(tensor.name for tensor in lookup.inputs[:2]))
                rows = _embedding_lookup(table, tf.reshape(ids, [-1]))
                known[lookup.outputs[0].name] = tf.reshape(rows, lookup.outputs[0].shape)
        (result,) = compute(output.name)
        return {output_name: result}

    specs = {name: tf.TensorSpec(t.shape, t.dtype, name) for name, t in arguments.items()}
    return tf.function(run, autograph=False).get_concrete_function(**specs)


# The converter replaces a function of this name with the operation EMBEDDING_LOOKUP; one that
# does not know the name keeps its content, which is right too, and larger.
@tf.function(experimental_implements="embedding_matmul", autograph=False)
def _embedding_lookup(table: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    return tf.gather(table, ids)


def _lookups(graph: tf.Graph) -> list[tf.Operation]:
    """Find where rows of a variable are taken."""
    return [
        operation
        for operation in graph.get_operations()
        if operation.type == "GatherV2" and operation.inputs[0].op.type == "ReadVariableOp"
    ]


def _masked_scores(graph: tf.Graph) -> list[str]:
    constants = [operation for operation in graph.get_operations() if operation.type == "Const"]
    return [
        constant.outputs[0].name
        for constant in constants
        if constant.outputs[0].dtype == tf.float32
        and constant.outputs[0].shape.rank == 0
        and tf.make_ndarray(constant.get_attr("value")) == np.float32(MASKED_SCORE)
    ]


def _subtract_means(definition: tf.compat.v1.GraphDef) -> None:
    """Make LayerNorm's negations subtractions: there is no integer ``NEG``."""
    zero = definition.node.add(op="Const", name="litert_zero")
    zero.attr["dtype"].type = tf.float32.as_datatype_enum
    zero.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(0.0))
    means = {node.name for node in definition.node if node.op == "Mean"}
    for node in definition.node:
        if node.op == "Neg" and node.input[0] in means:  # GELU has a negation, too
            node.op = "Sub"
            node.input.insert(0, zero.name)


def _as_int32(example: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.asarray(values, np.int32) for name, values in example.items()}
