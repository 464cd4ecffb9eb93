"""A Keras model as what a service runs."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.service import Run


def model_function(model: keras.Model, served: ServedModel) -> Run:
    """Give the model as a function from token ids to its raw output.

    Rows that are longer than the model takes are cut. On another backend than TensorFlow's the
    function can be called, but not be a part of a graph.

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
        if keras.backend.backend() != "tensorflow":
            rows = {name: tensor.numpy() for name, tensor in rows.items()}
            return tf.constant(np.asarray(model(rows), "float32"))
        return tf.cast(model(rows), tf.float32)

    return run
