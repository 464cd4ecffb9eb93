"""Devices of TensorFlow: what they can do, and which train together, as `tf.distribute` has it."""

import contextlib
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import tensorflow as tf

from tf_distilbert.backend.tensorflow.step import sum_over_replicas
from tf_distilbert.errors import UserError

Strategy: TypeAlias = tf.distribute.Strategy


def make(name: str, workers: Sequence[str], number: int) -> Strategy:
    """Make the strategy of a name; see `make_strategy`.

    Args:
        name: what is wanted.
        workers: the addresses of all workers, chief first; none where there is one process.
        number: which of them this process is; TensorFlow reads that itself.
    """
    if name == "auto":
        name = "multi_worker" if len(workers) > 1 else _best_name()
    if name == "one":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        return _mirrored(*(device.name for device in tf.config.list_logical_devices(kind)))
    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    return _tpu_strategy()


def num_replicas(strategy: Strategy) -> int:
    """Count the devices of all workers."""
    return strategy.num_replicas_in_sync


def num_workers(strategy: Strategy) -> int:
    """Count the processes that run the same program."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    jobs = strategy.cluster_resolver.cluster_spec().as_dict()
    return len([*jobs.get("chief", ()), *jobs.get("worker", ())])


def is_chief(strategy: Strategy) -> bool:
    """Whether this process is the one that writes."""
    if num_workers(strategy) == 1:
        return True
    resolver = strategy.cluster_resolver
    first = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return resolver.task_type == first and resolver.task_id == 0


def sum_over_workers(strategy: Strategy, value: float) -> float:
    """Wait for all workers, and add up what they have."""
    if num_workers(strategy) == 1:
        return value

    @tf.function
    def add(value: tf.Tensor) -> Any:
        number = tf.cast(len(strategy.extended.worker_devices), tf.float32)
        return strategy.run(sum_over_replicas, args=(value / number,))

    return float(strategy.experimental_local_results(add(tf.constant(float(value))))[0])


def distribute(
    strategy: Strategy, make: Callable[[int, range], tf.data.Dataset]
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Let each worker make the parts of its own replicas; see `distributed_dataset`."""
    if num_replicas(strategy) == 1:
        return make(1, range(1))

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        number = num_replicas(strategy) // context.num_input_pipelines
        first = context.input_pipeline_id * number
        return make(num_replicas(strategy), range(first, first + number))

    return strategy.distribute_datasets_from_function(of_worker)


def is_lost_worker(strategy: Strategy, error: Exception) -> bool:
    """Whether an error says that another worker has ended; TensorFlow finds that in seconds."""
    return (
        isinstance(error, tf.errors.OpError)
        and num_workers(strategy) > 1
        and "Collective ops is aborted" in str(error)
    )


def _best_name() -> str:
    if os.environ.get("TPU_NAME") or tf.config.list_physical_devices("TPU"):
        return "tpu"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "one"


@cache
def _mirrored(*devices: str) -> Strategy:
    """Give the process's one strategy of these devices.

    The numbers of its collective operations begin again in each new one, and TensorFlow remembers
    for each number the shape that it had first.
    """
    return tf.distribute.MirroredStrategy(devices)


def _tpu_strategy() -> Strategy:
    """Connect to the TPU that TPU_NAME names, or to the one of this machine."""
    local = bool(tf.config.list_physical_devices("TPU"))
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver("local" if local else "")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        raise UserError(
            f"train.strategy is tpu, but none can be reached ({str(error).splitlines()[0]}); check "
            "TPU_NAME, or use auto"
        ) from None
    return tf.distribute.TPUStrategy(resolver)


def has_bfloat16() -> bool:
    """Whether the device multiplies bfloat16 matrices itself.

    NVIDIA's GPUs do from compute capability 8.0 on, TPUs all, and of processors those whose flags
    (on Linux) say so.
    """
    if tf.config.list_physical_devices("TPU"):
        return True
    if tf.config.list_physical_devices("GPU"):
        return _compute_capability() >= (8, 0)
    with contextlib.suppress(OSError):
        words = Path("/proc/cpuinfo").read_text().split()
        return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(words)
    return False


def shares_weights_in(dtype: str) -> bool:
    """Whether the strategy in force can make weights of this dtype, which workers send each other.

    TensorFlow's broadcast between workers knows no bfloat16.
    """
    is_multi_worker = isinstance(
        tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy
    )
    return dtype != "bfloat16" or not is_multi_worker


def prefers_float16() -> bool:
    """Whether the device multiplies float16 matrices fast, and has no bfloat16.

    NVIDIA's GPUs of compute capability 7.0 to 7.5 do (V100, T4).
    """
    return (7, 0) <= _compute_capability() < (8, 0)


def _compute_capability() -> tuple[int, int]:
    """Give that of the first NVIDIA GPU; (0, 0) if there is none."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return 0, 0
    details = tf.config.experimental.get_device_details(gpus[0])
    return details.get("compute_capability", (0, 0))


def is_processor() -> bool:
    """Whether the device is a processor, which computes best on what fits into its cache."""
    return not tf.config.list_physical_devices("GPU")


def start_profile(folder: Path) -> None:
    """Begin to trace what this process and its devices do, for TensorBoard."""
    tf.profiler.experimental.start(str(folder))


def stop_profile() -> None:
    """Write the trace."""
    tf.profiler.experimental.stop()
