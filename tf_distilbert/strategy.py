"""Which devices train together: `tf.distribute` strategies by name, and how workers wait."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import tensorflow as tf

from tf_distilbert.errors import UserError
from tf_distilbert.replicas import sum_over_replicas

Result = TypeVar("Result")


def make_strategy(name: str = "auto") -> tf.distribute.Strategy:
    """Make the strategy that models are to be made under (`with strategy.scope(): ...`).

    Several workers have to be connected before TensorFlow computes anything: call it first.

    Args:
        name: ``one`` device, TensorFlow's default; ``mirrored``, all GPUs of this machine (or all
            logical CPU devices, where there is none); ``multi_worker``, as the environment variable
            TF_CONFIG says; ``tpu``; or ``auto``: the workers of TF_CONFIG, if there are several,
            else a TPU, else several GPUs, else one device.

    Raises:
        UserError: there is no TPU, or TF_CONFIG is missing or broken.
    """
    if name == "auto":
        name = _best_name()
    if name == "one":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        return _mirrored(*(device.name for device in tf.config.list_logical_devices(kind)))
    if name == "multi_worker":
        if not worker_addresses():
            raise UserError(
                "train.strategy is multi_worker, but TF_CONFIG is not set; start the workers with "
                "`tf-distilbert launch --workers N -- ...`, or set it on each"
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    return _tpu_strategy()


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """Count the processes that run the same program."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    return len(worker_addresses())


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes."""
    if num_workers(strategy) == 1:
        return True
    resolver = strategy.cluster_resolver
    first = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return resolver.task_type == first and resolver.task_id == 0


def sum_over_workers(strategy: tf.distribute.Strategy, value: float) -> float:
    """Wait for all workers, and add up what they have."""
    if num_workers(strategy) == 1:
        return value

    @tf.function
    def add(value: tf.Tensor) -> Any:
        number = tf.cast(len(strategy.extended.worker_devices), tf.float32)
        return strategy.run(sum_over_replicas, args=(value / number,))

    return float(strategy.experimental_local_results(add(tf.constant(float(value))))[0])


def chief_first(strategy: tf.distribute.Strategy, job: Callable[[], Result]) -> Result:
    """Let the chief do something that the others then find done, and do it again.

    Raises:
        UserError: the chief failed.
    """
    if not is_chief(strategy):
        if sum_over_workers(strategy, 0.0):
            raise UserError("the chief of the workers failed; see its message")
        return job()
    try:
        result = job()
    except BaseException:
        sum_over_workers(strategy, 1.0)
        raise
    sum_over_workers(strategy, 0.0)
    return result


@contextmanager
def explain_lost_workers(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Say in one line that another worker has ended, which TensorFlow finds within seconds.

    Raises:
        UserError: it has.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if num_workers(strategy) == 1 or "Collective ops is aborted" not in str(error):
            raise
        raise UserError(
            "another worker has ended, or cannot be reached, and the job cannot go on without it; "
            "see its own message, then start all workers again with --resume"
        ) from None


def worker_addresses() -> list[str]:
    """Give the addresses of the workers in TF_CONFIG, chief first; none if it is not set.

    Raises:
        UserError: it is no JSON of the form that TensorFlow documents.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        return []
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        addresses = [*cluster.get("chief", []), *cluster["worker"]]
        known = cluster[task["type"]][task["index"]] in addresses
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        known = False
    if not known:
        raise UserError(
            'TF_CONFIG is broken; it must be {"cluster": {"worker": ["HOST:PORT", ...]}, '
            '"task": {"type": "worker", "index": 0}}'
        )
    return addresses


def _best_name() -> str:
    if len(worker_addresses()) > 1:
        return "multi_worker"
    if os.environ.get("TPU_NAME") or tf.config.list_physical_devices("TPU"):
        return "tpu"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "one"


@cache
def _mirrored(*devices: str) -> tf.distribute.Strategy:
    """Give the process's one strategy of these devices.

    The numbers of its collective operations begin again in each new one, and TensorFlow remembers
    for each number the shape that it had first.
    """
    return tf.distribute.MirroredStrategy(devices)


def _tpu_strategy() -> tf.distribute.Strategy:
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
