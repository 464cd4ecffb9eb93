"""The process: precision, random seeds, and a TensorFlow that starts without noise."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tf_distilbert.errors import UserError


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Keep what TensorFlow's libraries print while they are imported off the terminal.

    No environment variable silences all of it: it is written to the file descriptor by C++ code
    before logging is set up. Errors come as exceptions and are not affected.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def import_tensorflow() -> None:
    """Import TensorFlow, Keras and tensorflow-text, silently.

    Raises:
        UserError: Keras runs on another backend than TensorFlow.
    """
    with quiet_start():
        import keras
        import tensorflow
        import tensorflow_text  # noqa: F401

        # The first operation has its own messages. Several workers have to be connected before it.
        if not os.environ.get("TF_CONFIG"):
            tensorflow.zeros(())
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"KERAS_BACKEND is {keras.backend.backend()}; unset it, this version needs tensorflow"
        )


def set_precision_and_seed(precision: str, seed: int) -> str:
    """Set the precision of all models made from now on, and the seed of all random numbers.

    Args:
        precision: ``float32``, ``mixed_bfloat16``, or ``auto``: the latter where the device has
            instructions for it.
        seed: of weights and dropout; masks and data order have seeds of their own.

    Returns:
        The precision that was set.

    Raises:
        UserError: bfloat16 was asked for and the device would only emulate it.
    """
    import keras

    if precision == "auto":
        precision = "mixed_bfloat16" if has_bfloat16() else "float32"
    if precision == "mixed_bfloat16" and not has_bfloat16():
        raise UserError(
            "train.precision is mixed_bfloat16, but this device has no bfloat16 instructions; "
            "use auto or float32"
        )
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(seed)
    return precision


@contextlib.contextmanager
def kept_precision() -> Iterator[None]:
    """Give Keras back its precision policy afterwards; also a decorator."""
    import keras

    policy = keras.config.dtype_policy()
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def has_bfloat16() -> bool:
    """Whether the device that TensorFlow computes on multiplies bfloat16 matrices itself.

    NVIDIA's GPUs do from compute capability 8.0 on, TPUs all; of processors those whose flags (on
    Linux) say so.
    """
    import tensorflow as tf

    if tf.config.list_physical_devices("TPU"):
        return True
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return details.get("compute_capability", (0, 0)) >= (8, 0)
    with contextlib.suppress(OSError):
        words = Path("/proc/cpuinfo").read_text().split()
        return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(words)
    return False


def usable_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
