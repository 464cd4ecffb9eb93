"""Devices of JAX: what they can do, and which train together, as Keras's `DataParallel` has it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils

from tf_distilbert.errors import UserError

Strategy: TypeAlias = keras.distribution.DataParallel


def make(name: str, workers: Sequence[str], number: int) -> Strategy:
    """Make the strategy of a name; see `make_strategy`.

    Args:
        name: what is wanted.
        workers: the addresses of all workers, chief first; none where there is one process.
        number: which of them this process is.
    """
    if name == "mirrored":
        raise UserError(
            "train.strategy is mirrored, which is TensorFlow's; on JAX use auto for all devices"
        )
    of_all = name in ("auto", "multi_worker") and len(workers) > 1
    if of_all and not jax.distributed.is_initialized():
        keras.distribution.initialize(",".join(workers), len(workers), number)
    devices = keras.distribution.list_devices()
    if name == "tpu" and not devices[0].startswith("tpu"):
        raise UserError(
            f"train.strategy is tpu, but JAX has none (it has {devices[0]}); install jax[tpu], or "
            "use auto"
        )
    # Each process makes its own rows of a batch: there is nothing for Keras to share out.
    return Strategy(devices=devices[:1] if name == "one" else devices, auto_shard_dataset=False)


def num_replicas(strategy: Strategy) -> int:
    """Count the devices of all workers."""
    return strategy.device_mesh.backend_mesh.size


def num_workers(strategy: Strategy) -> int:
    """Count the processes that run the same program."""
    return len({device.process_index for device in strategy.device_mesh.backend_mesh.devices.flat})


def is_chief(strategy: Strategy) -> bool:
    """Whether this process is the one that writes."""
    return num_workers(strategy) == 1 or jax.process_index() == 0


def sum_over_workers(strategy: Strategy, value: float) -> float:
    """Wait for all workers, and add up what they have."""
    if num_workers(strategy) == 1:
        return value
    return float(multihost_utils.process_allgather(np.float32(value)).sum())


def distribute(strategy: Strategy, make: Callable[[int, range], Any]) -> Any:
    """Let each worker make its rows, which JAX shares among its devices; see `distributed_dataset`.

    One part a worker, whatever its number of devices.
    """
    number = 0 if num_workers(strategy) == 1 else jax.process_index()
    return make(num_workers(strategy), range(number, number + 1))


def is_lost_worker(strategy: Strategy, error: Exception) -> bool:
    """Whether an error may say that another worker has ended."""
    return isinstance(error, jax.errors.JaxRuntimeError) and num_workers(strategy) > 1


def has_bfloat16() -> bool:
    """Whether the device multiplies bfloat16 matrices itself, and gains by it.

    NVIDIA's GPUs do from compute capability 8.0 on, TPUs all, processors not under JAX.
    """
    device = jax.local_devices()[0]
    if device.platform == "gpu":
        return float(getattr(device, "compute_capability", "0")) >= 8.0
    return device.platform == "tpu"


def shares_weights_in(dtype: str) -> bool:
    """Whether weights of this dtype can be made; JAX makes any."""
    return True


def prefers_float16() -> bool:
    """Whether the device multiplies float16 matrices fast, and has no bfloat16.

    NVIDIA's GPUs of compute capability 7.0 to 7.5 do (V100, T4).
    """
    device = jax.local_devices()[0]
    capability = float(getattr(device, "compute_capability", "0"))
    return device.platform == "gpu" and 7.0 <= capability < 8.0


def is_processor() -> bool:
    """Whether the device is a processor, which computes best on what fits into its cache."""
    return jax.default_backend() == "cpu"


def start_profile(folder: Path) -> None:
    """Begin to trace what this process and its devices do, for TensorBoard."""
    jax.profiler.start_trace(str(folder))


def stop_profile() -> None:
    """Write the trace."""
    jax.profiler.stop_trace()
