"""The process: precision, random seeds, and a TensorFlow that starts without noise."""

import contextlib
import os
import sys
from collections.abc import Iterator

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

        tensorflow.zeros(())  # the first operation has its own messages
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"KERAS_BACKEND is {keras.backend.backend()}; unset it, this version needs tensorflow"
        )


def set_precision_and_seed(precision: str, seed: int) -> None:
    """Set the precision of all models made from now on, and the seed of all random numbers.

    Args:
        precision: ``float32`` or ``mixed_bfloat16``.
        seed: of weights and dropout; masks and data order have seeds of their own.
    """
    import keras

    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(seed)
