"""How a step runs on JAX: as one pure function of all variables' values, compiled whole.

Keras's `fit` hands the values in and takes the new ones back. Within the function a
`keras.StatelessScope` makes variables stand for those values, so that what is called reads and
assigns them as it does anywhere.

Of several devices each runs the function on its rows of the batch (`jax.shard_map`), with all
values on each. All that they exchange goes through `sum_over_replicas`.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import jax
import keras
import numpy as np
from jax.sharding import PartitionSpec
from keras import KerasTensor as Tensor
from keras import ops, tree

from tf_distilbert.backend.jax import kernels
from tf_distilbert.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

ON_ALL = PartitionSpec()


class StepModel(keras.Model):
    """A `keras.Model` whose `train_step` and `test_step` run on every device.

    A subclass defines both: from a replica's part of a batch to metrics that all replicas have
    alike. Where a `keras.distribution.DataParallel` is in force as it is made, it is made, compiled
    and used under it.

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

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.strategy = keras.distribution.distribution()
        self._asked_to_stop = False

    def scope(self) -> AbstractContextManager:
        """What variables of this model are to be made within."""
        return nullcontext() if self.strategy is None else self.strategy.scope()

    @property
    def frozen_variables(self) -> list[keras.Variable]:
        """What the steps read and never change, beside the model's own variables."""
        return []

    def settle(self) -> None:
        """See that the variables hold what the last step made; in `fit` they are empty."""
        self.jax_state_sync()

    def request_stop(self) -> None:
        """Ask all workers to stop: from the next step on, `stop_request` adds up to above 0."""
        self._asked_to_stop = True

    def stop_request(self) -> Tensor:
        """Tell, within a step, whether this replica's worker was asked to stop: float32 scalar."""
        return self._stop_request_of_step

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Train as Keras does, on the devices that the model was made for."""
        self._asked_to_stop = False
        with self.scope(), _explain_uneven_batches():
            history = super().fit(*args, **kwargs)
        optimizer: Any = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        if optimizer.use_ema:
            # The averages are in the weights' place: one array for both, which no step takes twice.
            for variable in self.trainable_variables:
                variable.assign(jax.numpy.copy(variable.value))
        return history

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate as Keras does, in the middle of `fit`, too."""
        self.settle()
        with self.scope(), _explain_uneven_batches():
            return super().evaluate(*args, **kwargs)

    def make_train_function(self, force: bool = False) -> None:
        """Make what `fit` calls with a state and an iterator over batches."""
        if self.train_function is None or force:
            groups = [self.trainable_variables, self.non_trainable_variables]
            groups += [self.optimizer.variables, self.metrics_variables]
            self.train_function = self._of_iterator(self.train_step, groups, self.take_steps)

    def make_test_function(self, force: bool = False) -> None:
        """Make what `evaluate` calls with a state and an iterator over batches."""
        if self.test_function is None or force:
            groups = [self.trainable_variables, self.non_trainable_variables]
            self.test_function = self._of_iterator(
                self.test_step, [*groups, self.metrics_variables], self.take_test_steps
            )

    def gradients(
        self, function: Callable[..., tuple[Tensor, Any]]
    ) -> Callable[..., tuple[Any, list[Tensor]]]:
        """Make a function of a loss and more into one of more and the loss's gradients.

        Args:
            function: computes a scalar from the trainable variables, and anything else.

        Returns:
            The function, which gives anything else, and the gradient of each variable.
        """
        trainable = self.trainable_variables
        constants = [*self.non_trainable_variables, *self.frozen_variables]
        constants = [(variable, variable.value) for variable in constants]

        def of_values(values: list[Tensor], *arguments: Any) -> tuple[Tensor, Any]:
            mapping = [*zip(trainable, values, strict=True), *constants]
            with keras.StatelessScope(state_mapping=mapping):
                return function(*arguments)

        def with_gradients(*arguments: Any) -> tuple[Any, list[Tensor]]:
            values = [variable.value for variable in trainable]
            gradients, results = jax.grad(of_values, has_aux=True)(values, *arguments)
            return results, gradients

        return with_gradients

    def _of_iterator(
        self,
        step: Callable[[Any], dict[str, Tensor]],
        groups: list[list[keras.Variable]],
        take_steps: Callable[[], tuple[int, bool]],
    ) -> Callable:
        """Give the function that takes batches from an iterator and runs a step on each.

        From and to a state that has the values of the groups' variables. It makes as many steps as
        there are batches, or fewer; it raises StopIteration if there is none.
        """
        frozen_variables = self.frozen_variables  # once: it is a walk through all layers
        variables = [*(v for group in groups for v in group), *frozen_variables]

        def of_values(
            state: list[list[Tensor]], frozen: list[Tensor], stop_requests: Tensor, batch: Any
        ) -> tuple[dict[str, Tensor], list[list[Tensor]]]:
            values = [*(value for group in state for value in group), *frozen]
            mapping = list(zip(variables, values, strict=True))
            self._stop_request_of_step = stop_requests[0]
            with keras.StatelessScope(state_mapping=mapping) as scope:
                metrics = step(batch)
            del self._stop_request_of_step
            return metrics, [[scope.get_current_value(v) for v in group] for group in groups]

        if self.strategy is not None:
            by_rows = PartitionSpec(self.strategy.batch_dim_name)
            of_values = jax.shard_map(
                of_values,
                mesh=self.strategy.device_mesh.backend_mesh,
                in_specs=(ON_ALL, ON_ALL, by_rows, by_rows),
                out_specs=(ON_ALL, ON_ALL),
                check_vma=False,  # it does not see that what all devices compute alike is alike
            )
        if not self.run_eagerly:
            of_values = jax.jit(of_values, donate_argnums=0)

        def of_iterator(state: Any, iterator: Any) -> tuple[dict[str, Tensor], tuple]:
            frozen = [variable.value for variable in frozen_variables]
            stop_requests = self._stop_requests()
            # All are read before the first step, which takes the old values: reading may fail.
            batches = list(itertools.islice(iterator, take_steps()[0]))
            if not batches:
                raise StopIteration
            for batch in batches:
                metrics, state = of_values(list(state), frozen, stop_requests, batch)
            self.signals = {name: metrics.pop(name, None) for name in self.hidden_logs}
            return metrics, tuple(state)

        return of_iterator

    def _stop_requests(self) -> Tensor:
        """Give each device what its process was asked: float32 [number of devices]."""
        asked = np.asarray(self._asked_to_stop, np.float32)
        if self.strategy is None:
            return asked[None]
        mesh = self.strategy.device_mesh.backend_mesh
        sharding = jax.sharding.NamedSharding(mesh, PartitionSpec(self.strategy.batch_dim_name))
        return jax.make_array_from_callback((mesh.size,), sharding, lambda _: asked[None])

    def _purge_model_variables(self, **_: object) -> None:
        """Keep Keras from emptying the variables before the first step: that may fail.

        A step takes the old values for itself, so no second copy is kept.
        """

    def _symbolic_build(self, *_: object, **__: object) -> None:
        """Keep Keras from tracing a step only to create weights, which are all there."""


@contextmanager
def _explain_uneven_batches() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        found = re.search(r"partitioned (\d+) times, but the dimension size is (\d+)", str(error))
        if not found:
            raise
        raise UserError(
            f"a batch of {found[2]} sequences cannot be shared by {found[1]} devices; use a "
            "multiple, and drop_remainder=True where the dataset is batched"
        ) from None


def num_replicas() -> int:
    """Count the devices of all processes that this step runs on."""
    strategy = keras.distribution.distribution()
    return 1 if strategy is None else strategy.device_mesh.backend_mesh.size


def sum_over_replicas(values: Any) -> Any:
    """Add up tensors over all devices of all processes: one all-reduce.

    Args:
        values: a structure of tensors, the same on every device.

    Returns:
        The same structure with the sums; every device has the same bits.
    """
    strategy = keras.distribution.distribution()
    return values if strategy is None else jax.lax.psum(values, strategy.batch_dim_name)


def apply_if(
    condition: Tensor,
    optimizer: keras.optimizers.Optimizer,
    gradients: list[Tensor],
    variables: list[keras.Variable],
) -> None:
    """Let an optimizer of Keras's update variables, or leave them and its own as they are.

    Args:
        condition: bool scalar.
        optimizer: built.
        gradients: float [...] each, summed over all devices already.
        variables: all that the optimizer was built with.
    """
    scale = optimizer.loss_scale_factor or 1.0  # the optimizer divides by it
    scaled = [gradient * scale for gradient in gradients]
    kernels.update_if(
        condition, lambda: optimizer.apply(scaled, variables), [*variables, *optimizer.variables]
    )


def replica_seed(seed: int, step: Tensor) -> Tensor:
    """Make a seed for a step of this device: uint32 [2]."""
    strategy = keras.distribution.distribution()
    number = 0 if strategy is None else jax.lax.axis_index(strategy.batch_dim_name)
    return fold_in(fold_in(jax.random.key_data(jax.random.key(seed)), step), number)


def fold_in(seed: Tensor, number: Tensor | int) -> Tensor:
    """Make another seed from a seed and a number."""
    key = jax.random.fold_in(jax.random.wrap_key_data(seed), ops.convert_to_tensor(number))
    return jax.random.key_data(key)


def sum_of_calls(function: Callable[[Tensor], Any], times: int, zeros: Any) -> Any:
    """Add up what a function gives for 0, 1, ..., `times` - 1, called one after the other.

    Args:
        function: from an int32 scalar to a structure of tensors.
        times: how often.
        zeros: of that structure.
    """

    def add(i: Tensor, sums: Any) -> Any:
        return tree.map_structure(ops.add, sums, function(i))

    return jax.lax.fori_loop(0, times, add, zeros)


def check(holds: Tensor, message: str, tensor: Tensor) -> Tensor:
    """Give the tensor: shapes are known before, and compiled code cannot raise an error."""
    return tensor


def repeat(times: int | Tensor, function: Callable, state: Callable[[bool], tuple]) -> tuple:
    """Apply a function of (i, state) for i from 0, one call after the other.

    Args:
        times: how often.
        function: from a number and a state to the next state.
        state: gives the first state, with zeros for what is only added to.

    Returns:
        The last state.
    """
    return ops.fori_loop(0, times, function, state(True))


def forward_pass(model: keras.Model) -> Callable[[Mapping[str, Any]], Tensor]:
    """Make a compiled function from a model's inputs to its output, without dropout.

    It computes with the weights that the model has whenever it is called, on one device.

    Args:
        model: of any strategy, or of none.

    Returns:
        The function. All workers may call it, or any of them.
    """
    variables = model.variables

    @jax.jit
    def of_values(values: list[Tensor], inputs: Mapping[str, Any]) -> Tensor:
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return model(inputs, training=False)

    # Every device of a strategy has all weights; this process uses its first one's.
    return lambda inputs: of_values([v.value.addressable_data(0) for v in variables], inputs)


def call_on_tensors(model: keras.Model, inputs: Mapping[str, "tf.Tensor"]) -> "tf.Tensor":
    """Call a model from TensorFlow: its tensors in, float32 out; it cannot be a part of a graph."""
    import tensorflow as tf  # which trainings on JAX alone do without

    rows = {name: tensor.numpy() for name, tensor in inputs.items()}
    return tf.constant(np.asarray(model(rows), "float32"))


def compile_on_tensors(run: Callable[..., "tf.Tensor"]) -> Callable[..., "tf.Tensor"]:
    """Give the function itself: what calls a model on JAX is no part of a TensorFlow graph."""
    return run
