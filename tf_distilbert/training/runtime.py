"""The process: backend, precision, random seeds, and libraries that start without noise."""

import contextlib
import importlib
import logging
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
    if sys.stderr is None:  # it was closed from the start: nothing is seen anyway
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def start_keras(backend: str | None = None, *, only: str | None = None) -> None:
    """Import Keras on its backend, TensorFlow and tensorflow-text, silently.

    On JAX, TensorFlow reads the data, and leaves every accelerator alone.

    Args:
        backend: ``tensorflow`` or ``jax``; by default what KERAS_BACKEND or Keras's own file says.
        only: the backend that what comes next needs.

    Raises:
        UserError: Keras was imported with another backend before, the backend is not installed, or
            it is none of the two.
    """
    if backend and "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend
    with quiet_start():
        try:
            import keras
        except ModuleNotFoundError as error:
            if error.name not in ("jax", "jaxlib"):
                raise
            raise UserError(
                "the backend is jax, which is not installed; pip install 'tf-distilbert[jax]' (for "
                "a GPU jax[cuda12], for a TPU jax[tpu]), or use tensorflow"
            ) from None
        import tensorflow
        import tensorflow_text  # noqa: F401

        tensorflow.get_logger().addFilter(_is_no_retracing)
        found = keras.backend.backend()
        if found in ("tensorflow", "jax"):
            # Of JAX, it keeps TensorFlow off the accelerators.
            importlib.import_module("tf_distilbert.backend")
        # The first operation has its own messages. Several workers have to be connected before it.
        if not os.environ.get("TF_CONFIG"):
            tensorflow.zeros(())
    if backend and found != backend:
        raise UserError(
            f"train.backend is {backend}, but Keras was imported with {found} before; set "
            f"KERAS_BACKEND={backend} before the first import of keras"
        )
    wanted = (only,) if only else ("tensorflow", "jax")
    if found not in wanted:
        raise UserError(
            f"Keras's backend is {found}, this needs {' or '.join(wanted)}; set KERAS_BACKEND to "
            "that, or unset it"
        )


def _is_no_retracing(record: logging.LogRecord) -> bool:
    # Of many models in a process each has functions of its own; TensorFlow takes that for one
    # function that is traced again and again, and warns.
    return "triggered tf.function retracing" not in record.getMessage()


def set_precision_and_seed(precision: str, seed: int) -> str:
    """Set the precision of all models made from now on, and the seed of all random numbers.

    Args:
        precision: ``float32``, ``mixed_bfloat16``, ``mixed_float16``, or ``auto``: bfloat16 where
            the device has instructions for it, else float16 where that is what makes it fast (GPUs
            of compute capability 7.0 and 7.5), else float32.
        seed: of weights and dropout; masks and data order have seeds of their own.

    Returns:
        The precision that was set.

    Raises:
        UserError: bfloat16 was asked for and the device would only emulate it.
    """
    import keras

    from tf_distilbert.backend import devices

    if precision == "auto":
        short = "mixed_float16" if devices.prefers_float16() else "float32"
        precision = "mixed_bfloat16" if devices.has_bfloat16() else short
    if precision == "mixed_bfloat16" and not devices.has_bfloat16():
        that = " that JAX uses" if keras.backend.backend() == "jax" else ""
        raise UserError(
            f"train.precision is mixed_bfloat16, but this device has no bfloat16 instructions{that}"
            "; use auto or float32"
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


def usable_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def silenced(library: str) -> Iterator[None]:
    """Let a library log nothing meanwhile; what fails raises an exception all the same.

    Args:
        library: the name of its logger.
    """
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
