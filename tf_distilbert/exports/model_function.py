"""A model as a function of named tensors: what every format is made from."""

from collections.abc import Mapping

import tensorflow as tf
from keras import Model

from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.service import Run


def model_function(model: Model, served: ServedModel) -> Run:
    """Give the model as a function from token ids to its raw output.

    Rows that are longer than the model takes are cut.

    Args:
        model: takes a dictionary of tensors.
        served: says which.

    Returns:
        A function of int32 [B, S] (``mask_positions``: [B, P]) by the names of
        `ServedModel.input_names`; see `Service`.
    """
    most = served.max_length

    def run(inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        rows = {name: t[:, :most] for name, t in inputs.items() if name != "mask_positions"}
        if "mask_positions" in inputs:
            rows["mask_positions"] = tf.minimum(inputs["mask_positions"], most - 1)
        return tf.cast(model(rows), tf.float32)

    return run


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
