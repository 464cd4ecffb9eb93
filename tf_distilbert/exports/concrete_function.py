"""A model as a graph of named tensors: what every format is made from."""

from collections.abc import Mapping

import tensorflow as tf
from keras import Model

from tf_distilbert.serving.model_function import model_function
from tf_distilbert.serving.served_model import ServedModel


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
