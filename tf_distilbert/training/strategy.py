"""Which devices train together, which workers there are, and how these wait for each other."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

from tf_distilbert.backend import devices
from tf_distilbert.errors import UserError

Strategy: TypeAlias = devices.Strategy
num_replicas, num_workers = devices.num_replicas, devices.num_workers
is_chief, sum_over_workers = devices.is_chief, devices.sum_over_workers
distribute = devices.distribute
Result = TypeVar("Result")


def make_strategy(name: str = "auto") -> Strategy:
    """Make the strategy that models are to be made under (`with strategy.scope(): ...`).

    Several workers have to be connected before the backend computes anything: call it first.

    Args:
        name: ``one`` device, the backend's default; ``mirrored``, all GPUs of this machine (or all
            logical CPU devices, where there is none; on TensorFlow alone); ``multi_worker``, as the
            environment variable TF_CONFIG says; ``tpu``; or ``auto``: the workers of TF_CONFIG, if
            there are several, else a TPU, else several GPUs, else one device. On JAX, ``auto`` is
            all devices, whatever they are.

    Returns:
        A `tf.distribute.Strategy`; on JAX a `keras.distribution.DataParallel`.

    Raises:
        UserError: there is no TPU, TF_CONFIG is missing or broken, or JAX has no such strategy.
    """
    workers, number = read_workers()
    if name == "multi_worker" and not workers:
        raise UserError(
            "train.strategy is multi_worker, but TF_CONFIG is not set; start the workers with "
            "`tf-distilbert launch --workers N -- ...`, or set it on each"
        )
    return devices.make(name, workers, number)


def chief_first(strategy: Strategy, job: Callable[[], Result]) -> Result:
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
def explain_lost_workers(strategy: Strategy) -> Iterator[None]:
    """Say in one line that another worker has ended.

    Raises:
        UserError: it has.
    """
    try:
        yield
    except Exception as error:
        if not devices.is_lost_worker(strategy, error):
            raise
        raise UserError(
            "another worker has ended, or cannot be reached, and the job cannot go on without it; "
            "see its own message, then start all workers again with --resume"
        ) from None


def read_workers() -> tuple[list[str], int]:
    """Read the environment variable TF_CONFIG, which names the workers of a job on every backend.

    Returns:
        The addresses of all workers, chief first, and which of them this process is; no address
        and 0 if the variable is not set.

    Raises:
        UserError: it is no JSON of the form that TensorFlow documents.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        return [], 0
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        addresses = [*cluster.get("chief", []), *cluster["worker"]]
        return addresses, addresses.index(cluster[task["type"]][task["index"]])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise UserError(
            'TF_CONFIG is broken; it must be {"cluster": {"worker": ["HOST:PORT", ...]}, '
            '"task": {"type": "worker", "index": 0}}'
        ) from None
