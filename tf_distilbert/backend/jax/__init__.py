"""JAX's side of `backend`. TensorFlow only reads the data: the accelerators are JAX's alone."""

import warnings


def _keep_tensorflow_off() -> None:
    """Hide GPUs and TPUs from TensorFlow, which would take all of their memory at first use."""
    try:
        import tensorflow as tf
    except ModuleNotFoundError:  # a training on JAX with data of its own does without
        return
    try:
        for kind in ("GPU", "TPU"):
            tf.config.set_visible_devices([], kind)
    except RuntimeError:
        warnings.warn(
            "TensorFlow has taken the GPU's memory already, which JAX needs; import tf_distilbert "
            "before anything computes with TensorFlow",
            stacklevel=2,
        )


_keep_tensorflow_off()
