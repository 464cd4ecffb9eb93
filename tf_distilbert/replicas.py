"""One step on every replica: what is summed, who is who, and the function that `fit` calls.

A strategy runs the same step on several replicas, each with its rows of the global batch. All that
they exchange goes through `sum_over_replicas`.

Keras's own functions for `fit` fail under `MultiWorkerMirroredStrategy` (they take means of scalars
along their first axis), and its loop over several steps fails under every strategy with more than
one replica; `replicated` takes their place.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras import tree


def sum_over_replicas(values: Any) -> Any:
    """Add up tensors over all replicas of all workers: one all-reduce.

    Args:
        values: a structure of tensors, the same on every replica.

    Returns:
        The same structure with the sums; every replica has the same bits.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return values
    # The sum is made where the values are; those that no device has computed yet get one here.
    values = tree.map_structure(tf.identity, values)
    return context.all_reduce(tf.distribute.ReduceOp.SUM, values)


def num_replicas() -> int:
    """Count the replicas of all workers that this step runs on."""
    return tf.distribute.get_replica_context().num_replicas_in_sync


def replica_number() -> tf.Tensor | int:
    """Tell which of all replicas this one is, from 0."""
    return tf.distribute.get_replica_context().replica_id_in_sync_group


def replicated(
    step: Callable[[Any], dict[str, tf.Tensor]],
    strategy: tf.distribute.Strategy,
    *,
    steps_per_execution: int,
    run_eagerly: bool,
    jit_compile: bool,
) -> Callable[[Any], dict[str, tf.Tensor]]:
    """Make the function that takes batches from an iterator and runs a step on every replica.

    Args:
        step: from a replica's part of a batch to figures that all replicas have alike.
        strategy: which replicas there are.
        steps_per_execution: batches taken at each call; the figures are those of the last one.
        run_eagerly: do not compile anything.
        jit_compile: compile with XLA. Of several replicas each compiles its own parts, in `step`.

    Returns:
        The function. It raises StopIteration or tf.errors.OutOfRangeError at the end of the data.
    """
    alone = strategy.num_replicas_in_sync == 1

    def on_every_replica(batch: Any) -> dict[str, tf.Tensor]:
        figures = strategy.run(step, args=(batch,))
        return tree.map_structure(lambda v: strategy.experimental_local_results(v)[0], figures)

    if not run_eagerly:
        on_every_replica = tf.function(
            on_every_replica,
            reduce_retracing=True,
            autograph=False,
            jit_compile=jit_compile if alone else None,
        )

    def of_iterator(iterator: Any) -> dict[str, tf.Tensor]:
        def once_more(i: tf.Tensor) -> tuple[tf.Tensor]:
            on_every_replica(next(iterator))
            return (i + 1,)

        if steps_per_execution > 1:
            tf.while_loop(lambda i: i < steps_per_execution - 1, once_more, (0,))
        return on_every_replica(next(iterator))

    if run_eagerly:
        return of_iterator
    compiled = tf.function(of_iterator, reduce_retracing=True, autograph=False)
    iterators = (tf.data.Iterator, tf.distribute.DistributedIterator)

    def function(iterator: Any) -> dict[str, tf.Tensor]:
        # `train_on_batch` comes with a Python generator.
        return (compiled if isinstance(iterator, iterators) else of_iterator)(iterator)

    return function
