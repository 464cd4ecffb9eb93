"""Which devices train together, and how workers wait for each other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import keras

from tf_distilbert.cluster import worker_addresses
from tf_distilbert.errors import UserError

if TYPE_CHECKING or keras.backend.backend() != "jax":
    from tf_distilbert import tensorflow_strategy as backend
else:
    from tf_distilbert import jax_strategy as backend

Strategy: TypeAlias = backend.Strategy
num_replicas, num_workers = backend.num_replicas, backend.num_workers
is_chief, sum_over_workers = backend.is_chief, backend.sum_over_workers
distribute = backend.distribute
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
    if name == "multi_worker" and not worker_addresses():
        raise UserError(
            "train.strategy is multi_worker, but TF_CONFIG is not set; start the workers with "
            "`tf-distilbert launch --workers N -- ...`, or set it on each"
        )
    return backend.make(name)


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
        if not backend.is_lost_worker(strategy, error):
            raise
        raise UserError(
            "another worker has ended, or cannot be reached, and the job cannot go on without it; "
            "see its own message, then start all workers again with --resume"
        ) from None
