"""How a step runs on TensorFlow: a tape for gradients, `tf.distribute` for replicas, loops.

A strategy runs the same step on several replicas, each with its rows of the global batch. All that
they exchange goes through `sum_over_replicas`.

Keras's own functions for `fit` fail under `MultiWorkerMirroredStrategy` (they take means of scalars
along their first axis), and its loop over several steps fails under every strategy with more than
one replica; `_on_every_replica` takes their place.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf
from keras import KerasTensor as Tensor
from keras import tree

from tf_distilbert.backend.tensorflow import kernels
from tf_distilbert.errors import UserError

_ITERATORS = (tf.data.Iterator, tf.distribute.DistributedIterator)


class StepModel(keras.Model):
    """A `keras.Model` whose `train_step` and `test_step` run on every replica.

    A subclass defines both: from a replica's part of a batch to metrics that all replicas have
    alike. It is made, compiled and used within the scope of its strategy.

    Attributes:
        hidden_logs: names of what a step gives for the loop around it, and no log shows.
        signals: what the last step gave under these names.
        take_steps: a subclass's method: how many batches the next execution of `fit` takes, and
            whether it is known that there are so many; if not, the data may end before.
        take_test_steps: the same of an evaluation.
    """

    train_function: Any
    test_function: Any
    hidden_logs: Sequence[str] = ()
    signals: Mapping[str, Tensor]
    take_steps: Callable[[], tuple[int, bool]]
    take_test_steps: Callable[[], tuple[int, bool]]

    @property
    def strategy(self) -> tf.distribute.Strategy:
        """Whose replicas the steps run on."""
        return self.distribute_strategy

    @property
    def frozen_variables(self) -> list[keras.Variable]:
        """What the steps read and never change, beside the model's own variables."""
        return []

    def scope(self) -> AbstractContextManager:
        """What variables of this model are to be made within."""
        return self.strategy.scope()

    def compile(self, optimizer: keras.optimizers.Optimizer, **kwargs: Any) -> None:
        """Set optimizer and compilation, as in Keras."""
        # No variable of Keras's: those belong to the model, and go into its checkpoints.
        aggregation = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self._stop_requests = tf.Variable(0.0, trainable=False, aggregation=aggregation)
        super().compile(optimizer=optimizer, **kwargs)

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Train as Keras does."""
        self._stop_requests.assign(0.0)
        return super().fit(*args, **kwargs)

    def settle(self) -> None:
        """See that the variables hold what the last step made; here they always do."""

    def request_stop(self) -> None:
        """Ask all workers to stop: from the next step on, `stop_request` adds up to above 0."""
        self._stop_requests.assign_add(1.0)

    def stop_request(self) -> Tensor:
        """Tell, within a step, whether this replica's worker was asked to stop: float32 scalar."""
        return tf.convert_to_tensor(self._stop_requests)

    def make_train_function(self, force: bool = False) -> None:
        """Make what `fit` calls with an iterator over batches."""
        if self.train_function is None or force:
            self.train_function = self._of_iterator(self.train_step, self.take_steps)

    def make_test_function(self, force: bool = False) -> None:
        """Make what `evaluate` calls with an iterator over batches."""
        if self.test_function is None or force:
            self.test_function = self._of_iterator(self.test_step, self.take_test_steps)

    def gradients(
        self, function: Callable[..., tuple[Tensor, Any]]
    ) -> Callable[..., tuple[Any, list[Tensor]]]:
        """Make a function of a loss and more into one of more and the loss's gradients.

        Args:
            function: computes a scalar from the trainable variables, and anything else.

        Returns:
            The function, which gives anything else, and the gradient of each variable.
        """
        variables = [variable.value for variable in self.trainable_variables]

        def with_gradients(*arguments: Any) -> tuple[Any, list[Tensor]]:
            # Only the student's variables are watched: the teacher leaves no trace on the tape.
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                loss, results = function(*arguments)
            gradients = tape.gradient(
                loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            return results, [tf.convert_to_tensor(gradient) for gradient in gradients]

        if self.jit_compile and num_replicas() > 1 and not self.run_eagerly:
            # What replicas exchange cannot be compiled; what each computes alone can.
            return tf.function(with_gradients, jit_compile=True, autograph=False)
        return with_gradients

    def _of_iterator(
        self, step: Callable[[Any], dict[str, Tensor]], take_steps: Callable[[], tuple[int, bool]]
    ) -> Callable:
        """Give the function that takes batches from an iterator and runs a step on each.

        It makes as many steps as there are batches, or fewer; it raises StopIteration or
        tf.errors.OutOfRangeError if there is none.
        """
        on_every_replica = self._on_every_replica(step)

        def one_step(iterator: Any) -> dict[str, Tensor]:
            return on_every_replica(next(iterator))

        def several_steps(iterator: Any, times: Tensor) -> dict[str, Tensor]:
            start = tf.constant(1), one_step(iterator)
            return tf.while_loop(
                lambda i, _: i < times, lambda i, _: (i + 1, one_step(iterator)), start
            )[-1]

        compiled_step = tf.function(one_step, reduce_retracing=True, autograph=False)
        compiled_steps = tf.function(several_steps, reduce_retracing=True, autograph=False)

        def function(iterator: Any) -> dict[str, Tensor]:
            times, are_there = take_steps()
            # `train_on_batch` comes with a Python generator.
            is_compiled = isinstance(iterator, _ITERATORS) and not self.run_eagerly
            if is_compiled and are_there and times > 1:
                try:
                    metrics = compiled_steps(iterator, tf.constant(times))
                except tf.errors.OutOfRangeError:
                    message = f"the data ended within {times} steps of one execution"
                    raise UserError(f"{message}; give fewer steps, or data for all") from None
            else:
                call = compiled_step if is_compiled else one_step
                metrics = call(iterator)
                with contextlib.suppress(StopIteration, tf.errors.OutOfRangeError):
                    for _ in range(times - 1):
                        metrics = call(iterator)
            self.signals = {name: metrics.pop(name, None) for name in self.hidden_logs}
            return metrics

        return function

    def _on_every_replica(self, step: Callable[[Any], dict[str, Tensor]]) -> Callable:
        strategy = self.strategy

        def on_every_replica(batch: Any) -> dict[str, Tensor]:
            metrics = strategy.run(step, args=(batch,))
            return tree.map_structure(lambda v: strategy.experimental_local_results(v)[0], metrics)

        if self.run_eagerly:
            return on_every_replica
        # Of several replicas each compiles its own parts, see `gradients`.
        alone = strategy.num_replicas_in_sync == 1
        return tf.function(
            on_every_replica,
            reduce_retracing=True,
            autograph=False,
            jit_compile=self.jit_compile if alone else None,
        )

    def _maybe_symbolic_build(self, *_: object, **__: object) -> None:
        """Keep Keras from tracing a step only to create weights, which are all there.

        Under several workers its way of doing so fails.
        """


def num_replicas() -> int:
    """Count the replicas of all workers that this step runs on."""
    return tf.distribute.get_replica_context().num_replicas_in_sync


def sum_over_replicas(values: Any) -> Any:
    """Add up tensors over all replicas of all workers: one all-reduce.

    Args:
        values: a structure of tensors, the same on every replica.

    Returns:
        The same structure with the sums; every replica has the same bits.
    """
    if num_replicas() == 1:
        return values
    # The sum is made where the values are; those that no device has computed yet get one here.
    values = tree.map_structure(tf.identity, values)
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)


def apply_if(
    condition: Tensor,
    optimizer: keras.optimizers.Optimizer,
    gradients: list[Tensor],
    variables: list[keras.Variable],
) -> None:
    """Let an optimizer of Keras's update variables, or leave them and its own as they are.

    Args:
        condition: bool scalar, alike on all replicas.
        optimizer: built.
        gradients: float [...] each, summed over all replicas already.
        variables: all that the optimizer was built with.

    Raises:
        UserError: the optimizer accumulates gradients, and there is a strategy.
    """
    scale = optimizer.loss_scale_factor or 1.0  # which the optimizer divides by
    if not tf.distribute.has_strategy():
        scaled = [gradient * scale for gradient in gradients] if scale != 1.0 else gradients
        tf.cond(condition, lambda: optimizer.apply(scaled, variables), lambda: None)
        return
    # Optimizers of Keras clip what each replica has, then sum it; and to do that they leave the
    # replica, which no branch of a graph can. So the update is made, and taken back.
    if optimizer.gradient_accumulation_steps:
        raise UserError(
            f"{type(optimizer).__name__} accumulates gradients, which Keras cannot do under a "
            "strategy of several devices; use micro_batches"
        )
    if optimizer.clipnorm or optimizer.global_clipnorm or optimizer.clipvalue:
        gradients = optimizer._clip_gradients(gradients)
    changed = [*variables, *optimizer.variables]
    before = [tf.identity(tf.convert_to_tensor(variable)) for variable in changed]
    share = scale / num_replicas()
    optimizer.apply([gradient * share for gradient in gradients], variables)
    for variable, value in zip(changed, before, strict=True):
        now = tf.convert_to_tensor(variable)
        kernels.assign(variable, tf.where(condition, now, value))


def replica_seed(seed: int, step: Tensor) -> Tensor:
    """Make a seed for a step of this replica: int32 [2]."""
    number = tf.distribute.get_replica_context().replica_id_in_sync_group
    return fold_in(fold_in([seed, 0], tf.convert_to_tensor(step)), number)


def fold_in(seed: Tensor, number: Tensor | int) -> Tensor:
    """Make another seed from a seed and a number."""
    return tf.random.experimental.stateless_fold_in(seed, number)


def sum_of_calls(function: Callable[[Tensor], Any], times: int, zeros: Any) -> Any:
    """Add up what a function gives for 0, 1, ..., `times` - 1, called one after the other.

    Args:
        function: from an int32 scalar to a structure of tensors.
        times: how often.
        zeros: of that structure.
    """

    def add(i: Tensor, sums: Any) -> tuple:
        return i + 1, tree.map_structure(tf.add, sums, function(i))

    # Or it would begin a call before the last one is done, and hold the activations of several.
    return tf.while_loop(lambda i, _: i < times, add, (0, zeros), parallel_iterations=1)[1]


def check(holds: Tensor, message: str, tensor: Tensor) -> Tensor:
    """Give a tensor, once it is seen, as the step runs, that something holds. XLA leaves that out.

    Args:
        holds: bool scalar.
        message: what a `UserError` says if not; see `reveal_user_errors`.
        tensor: any.

    Raises:
        tf.errors.InvalidArgumentError: it does not hold.
    """
    assertion = tf.debugging.Assert(holds, [f"UserError: {message}"])
    with tf.control_dependencies([] if assertion is None else [assertion]):
        return tf.identity(tensor)


def repeat(times: int | Tensor, function: Callable, state: Callable[[bool], tuple]) -> tuple:
    """Apply a function of (i, state) for i from 0, one call after the other.

    Args:
        times: how often; a tensor where that is not known yet.
        function: from a number and a state to the next state.
        state: gives the first state. It is told whether what is only added to must be zeros there,
            or may be None: the loop itself holds two copies more than calls in a row.

    Returns:
        The last state.
    """
    if not isinstance(times, int):
        return tf.while_loop(
            lambda i, _: i < times,
            lambda i, state: (i + 1, function(i, state)),
            (0, state(True)),
            parallel_iterations=1,
        )[1]
    values = state(times == 0)
    for i in range(times):
        with tf.control_dependencies([t for t in tree.flatten(values) if t is not None]):
            values = function(tf.constant(i), values)
    return values


def forward_pass(model: keras.Model) -> Callable[[Mapping[str, Any]], Tensor]:
    """Make a compiled function from a model's inputs to its output, without dropout.

    Keras's `predict` hands each device of a strategy a share of a batch, which is right for
    training; this is for any number of examples. It computes with the weights that the model has
    whenever it is called, in this process alone, on one device.

    Args:
        model: of any strategy, or of none.

    Returns:
        The function. All workers may call it, or any of them.
    """
    return tf.function(
        lambda inputs: model(inputs, training=False), reduce_retracing=True, autograph=False
    )


def call_on_tensors(model: keras.Model, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Call a model from TensorFlow: its tensors in, float32 out; may be a part of a graph."""
    return tf.cast(model(inputs), tf.float32)


def compile_on_tensors(run: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """Make one graph of a function of TensorFlow's tensors that calls a model."""
    return tf.function(run, autograph=False, reduce_retracing=True)
