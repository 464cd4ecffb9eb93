"""The model without its texts: named int32 tensors in, one float32 tensor out."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from keras import Model

from tf_distilbert.errors import UserError
from tf_distilbert.exports.verification import RawRun
from tf_distilbert.serving.served_model import ServedModel, model_function


def input_specs(
    served: ServedModel,
    rows: int | None = None,
    length: int | None = None,
    slots: int | None = None,
) -> dict[str, tf.TensorSpec]:
    """Describe the inputs of `model_function`; a dimension that is None is free."""
    return {
        name: tf.TensorSpec([rows, slots if name == "mask_positions" else length], tf.int32, name)
        for name in served.input_names
    }


def concrete_function(
    model: Model, served: ServedModel, specs: Mapping[str, tf.TensorSpec]
) -> tf.types.experimental.ConcreteFunction:
    """Trace `model_function`: tensors by name in, the one output by its name out."""
    run = model_function(model, served)
    function = tf.function(lambda **inputs: {served.output_name: run(inputs)}, autograph=False)
    return function.get_concrete_function(**specs)


def as_int32(inputs: Mapping[str, np.ndarray], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Pick what an exported file takes, in its dtype.

    Raises:
        UserError: an input is missing.
    """
    missing = [name for name in names if name not in inputs]
    if missing:
        raise UserError(f"the inputs lack {', '.join(missing)}; the file takes {', '.join(names)}")
    return {name: np.asarray(inputs[name], np.int32) for name in names}


def with_a_slot(
    run: Callable[[dict[str, np.ndarray]], np.ndarray], inputs: dict[str, np.ndarray]
) -> np.ndarray:
    """Run a file that cannot predict at no position at all: at one, whose output is dropped."""
    positions = inputs.get("mask_positions")
    if positions is None or positions.shape[1]:
        return run(inputs)
    return run(inputs | {"mask_positions": np.zeros((len(positions), 1), np.int32)})[:, :0]


class FixedShapeRun:
    """Runs rows one by one, padded to the length that the file has.

    Args:
        run: takes int32 [1, length] by name, ``mask_positions`` [1, slots].
        length: tokens of a row.
        slots: positions to predict at once; 0 where none are asked for.
    """

    def __init__(self, run: RawRun, length: int, slots: int) -> None:
        self._run, self._length, self._slots = run, length, slots

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Run rows of at most ``length`` tokens: int32 [W, S] by name; ``mask_positions`` [W, P].

        Padding is what is beyond S: ``padding_mask`` is 0 there.
        """
        rows = dict(inputs)
        positions = rows.pop("mask_positions", None)
        real = rows["token_ids"].shape[1]
        rows = {
            name: np.pad(values, ((0, 0), (0, self._length - real)))
            for name, values in rows.items()
        }
        outputs = []
        for i in range(max(1, len(rows["token_ids"]))):  # of no row, one tells the shape
            row = {name: _one(values, i) for name, values in rows.items()}
            if positions is None:
                outputs.append(self._run(row)[0])
            else:
                outputs.append(self._predict(row, _one(positions, i)[0]))
        result = np.stack(outputs)[: len(inputs["token_ids"])]
        whole_row = positions is None and result.ndim == 3
        return result[:, :real] if whole_row else result

    def _predict(self, row: dict[str, np.ndarray], positions: np.ndarray) -> np.ndarray:
        """Predict at any number of positions, some at a time."""
        groups = []
        for begin in range(0, max(1, len(positions)), self._slots):
            group = np.zeros((1, self._slots), np.int32)
            some = positions[begin : begin + self._slots]
            group[0, : len(some)] = some
            groups.append(self._run(row | {"mask_positions": group})[0][: len(some)])
        return np.concatenate(groups)


def _one(values: np.ndarray, i: int) -> np.ndarray:
    return values[i : i + 1] if len(values) else np.zeros((1, *values.shape[1:]), np.int32)
