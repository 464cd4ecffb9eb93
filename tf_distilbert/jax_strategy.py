"""Which devices train together on JAX: Keras's `DataParallel` over them.

`tensorflow_strategy` has the same names for TensorFlow.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils

from tf_distilbert.cluster import worker_addresses, worker_number
from tf_distilbert.errors import UserError

Strategy: TypeAlias = keras.distribution.DataParallel


def make(name: str) -> Strategy:
    """Make the strategy of a name; see `make_strategy`."""
    if name == "mirrored":
        raise UserError(
            "train.strategy is mirrored, which is TensorFlow's; on JAX use auto for all devices"
        )
    addresses = worker_addresses()
    if name in ("auto", "multi_worker") and len(addresses) > 1 and not _is_connected():
        keras.distribution.initialize(",".join(addresses), len(addresses), worker_number())
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


def _is_connected() -> bool:
    return jax.distributed.is_initialized()
