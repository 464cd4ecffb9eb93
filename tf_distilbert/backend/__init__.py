"""What TensorFlow and JAX do differently, in three modules that have the same names for both.

`kernels` has arithmetic, `step` how a training step runs on one or many replicas, `devices` which
devices there are and work together. All that lies above is written in `keras.ops` and these names,
and asks nowhere which backend it is. What does not belong here: anything that knows of models,
losses or runs. It imports `errors` alone.
"""

from typing import TYPE_CHECKING

import keras

if TYPE_CHECKING or keras.backend.backend() != "jax":
    from tf_distilbert.backend.tensorflow import devices, kernels, step
else:
    from tf_distilbert.backend.jax import devices, kernels, step

__all__ = ["devices", "kernels", "step"]
