"""Which devices train together: `tf.distribute` strategies by name, and how workers wait."""

import json
import os
from typing import Any

import tensorflow as tf

from tf_distilbert.errors import UserError
from tf_distilbert.replicas import sum_over_replicas

NAMES = ("auto", "one", "mirrored", "multi_worker", "tpu")


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
        return tf.distribute.MirroredStrategy(
            [device.name for device in tf.config.list_logical_devices(kind)]
        )
    if name == "multi_worker":
        if not worker_addresses():
            raise UserError(
                "train.strategy is multi_worker, but TF_CONFIG is not set; start the workers with "
                "`tf-distilbert launch --workers N -- ...`, or set it on each"
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    return _tpu_strategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes."""
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or not resolver:
        return True
    kinds = resolver.cluster_spec().jobs
    first = "chief" if "chief" in kinds else "worker"
    return resolver.task_type == first and resolver.task_id == 0


def all_succeeded(strategy: tf.distribute.Strategy, ok: bool) -> bool:
    """Wait for all workers; tell whether all of them say that they succeeded."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return ok

    @tf.function
    def count(failed: tf.Tensor) -> Any:
        return strategy.run(sum_over_replicas, args=(failed,))

    total = strategy.experimental_local_results(count(tf.constant(float(not ok))))[0]
    return not float(total)


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
