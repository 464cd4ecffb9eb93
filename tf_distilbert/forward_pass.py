"""A model's output as this process computes it alone, on whatever devices the model is trained.

Keras's `predict` hands a batch to each device of a strategy, or a share of it: right for training,
but there is one set of examples to predict, of any number.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import KerasTensor as Tensor

Inputs = Mapping[str, Any]


def forward_pass(model: keras.Model) -> Callable[[Inputs], Tensor]:
    """Make a compiled function from a model's inputs to its output, without dropout.

    It computes with the weights that the model has whenever it is called, on one device.

    Args:
        model: of any strategy, or of none.

    Returns:
        The function. All workers may call it, or any of them.
    """
    return _compiled(model)


if keras.backend.backend() == "jax":
    import jax

    def _compiled(model: keras.Model) -> Callable[[Inputs], Tensor]:
        variables = model.variables

        @jax.jit
        def of_values(values: list[Tensor], inputs: Inputs) -> Tensor:
            mapping = list(zip(variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return model(inputs, training=False)

        # Every device of a strategy has all weights; this process uses its first one's.
        return lambda inputs: of_values([v.value.addressable_data(0) for v in variables], inputs)

else:
    import tensorflow as tf

    def _compiled(model: keras.Model) -> Callable[[Inputs], Tensor]:
        return tf.function(
            lambda inputs: model(inputs, training=False), reduce_retracing=True, autograph=False
        )
