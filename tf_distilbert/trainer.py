"""The training step that all objectives here share: one update as a function of the global batch.

An objective is a weighted sum of terms, each a mean over some of the batch's tokens. The counts of
those tokens are known before the first forward pass, and summed over all replicas first. So a
micro-batch on a replica contributes its *sum* divided by the *global* count, and contributions
simply add up: gradients, losses and metrics come out the same however the batch is split. They are
summed over the replicas once an update; clipping and the optimizer come after that.

This file is where Keras ends and TensorFlow begins: what it calls is written in `keras.ops`.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from tf_distilbert.dropout import seeded_dropout
from tf_distilbert.errors import UserError
from tf_distilbert.losses import masked_mean
from tf_distilbert.optimization import AdamW
from tf_distilbert.replicas import num_replicas, replica_number, replicated, sum_over_replicas
from tf_distilbert.running_figures import RunningMean, RunningSum
from tf_distilbert.throughput import Throughput

Batch = tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]
Scalars = dict[str, tf.Tensor]

OF_TRAINING = ("gradient_norm", "tokens", "skipped_updates")
"""Figures that an evaluation does not have."""


class MaskedMeanTrainer(keras.Model):
    """A `keras.Model` whose step sums gradients over micro-batches and updates once.

    A subclass weighs its terms (`term_weights`), says over which tokens each figure is averaged
    (`averaged_over`: all real ``tokens`` or the masked ``predictions``) and computes the loss and
    the figures (`loss_and_figures`).

    Made within the `scope()` of a `tf.distribute` strategy, it trains on all replicas; `fit` works
    under `MirroredStrategy`, `MultiWorkerMirroredStrategy` and `TPUStrategy`.

    Args:
        micro_batches: into how many equal parts `train_step` splits a replica's batch. Memory is
            that of one part; the update is that of the whole batch.
        seed: of dropout, 0 <= seed < 2^31; the same on all workers. By default a random one, which
            follows from `keras.utils.set_random_seed`.
    """

    term_weights: Mapping[str, float]
    averaged_over: Mapping[str, str]

    def __init__(self, micro_batches: int = 1, seed: int | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        if not isinstance(micro_batches, int) or micro_batches < 1:
            raise UserError(
                f"micro_batches is {micro_batches!r}; it must be a whole number above 0"
            )
        self.micro_batches = micro_batches
        self.seed = random.randrange(2**31) if seed is None else seed
        self._means: dict[str, RunningMean] = {}
        self._throughput = Throughput()

    def loss_and_figures(
        self, batch: Batch, scales: Scalars, training: bool
    ) -> tuple[tf.Tensor, dict[str, tuple[tf.Tensor, tf.Tensor]]]:
        """Compute what a batch, or a part of it, adds to the loss, and every figure by token.

        Args:
            batch: inputs, mask_ids, mask_weights; see `masked_lm_dataset`.
            scales: of each term, its weight over the count of all tokens that it is a mean over.
            training: whether dropout is active and the loss has a gradient.

        Returns:
            The sum of the terms' values at the tokens that count, each times its scale, float32
            scalar; and for each name of `averaged_over` the values and which of them count, [n]
            each. What does not count may be anything.
        """
        raise AssertionError("a subclass computes its figures")

    def compile(self, optimizer: keras.optimizers.Optimizer, **kwargs) -> None:
        """Set the optimizer; the losses are the model's own.

        Args:
            optimizer: `tf_distilbert.AdamW` (which clips) or any of Keras's; made in the scope of
                the strategy, if there is one.
            **kwargs: `jit_compile`, `run_eagerly`, `steps_per_execution`, as in Keras.
        """
        with self.distribute_strategy.scope():
            self._means = {name: RunningMean(name) for name in self.averaged_over}
            self._gradient_norm = RunningMean("gradient_norm")
            self._sums = {name: RunningSum(name) for name in ("tokens", "skipped_updates")}
            # Not of an epoch alone, so `metrics` has neither.
            self._skipped_in_a_row = RunningSum("skipped_in_a_row")
            self._stop_requested = RunningSum("stop_requested")
            super().compile(optimizer=optimizer, **kwargs)
            self.optimizer.build(self.trainable_variables)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Everything that `fit` resets between epochs."""
        own = (self._gradient_norm, *self._sums.values()) if self._means else ()
        return [*self._means.values(), *own]

    @property
    def saved_figures(self) -> list[keras.metrics.Metric]:
        """What of the figures a resumed run needs; the tokens belong to the clock of this one."""
        tokens = self._sums["tokens"]
        return [*(m for m in self.metrics if m is not tokens), self._skipped_in_a_row]

    @property
    def model_variables(self) -> list[keras.Variable]:
        """What is trained, and the states of its generators; neither figures nor optimizer."""
        figures = (*self.metrics, self._skipped_in_a_row, self._stop_requested)
        others = {id(variable) for figure in figures for variable in figure.variables}
        return [variable for variable in self.variables if id(variable) not in others]

    def make_train_function(self, force: bool = False) -> None:
        """Make what `fit` calls; see `replicated`."""
        if self.train_function is None or force:
            self.train_function = self._replicated(self.train_step)

    def make_test_function(self, force: bool = False) -> None:
        """Make what `evaluate` calls; see `replicated`."""
        if self.test_function is None or force:
            self.test_function = self._replicated(self.test_step)

    def _replicated(self, step: Callable[[Batch], Scalars]) -> Callable[[Any], Scalars]:
        return replicated(
            step,
            self.distribute_strategy,
            steps_per_execution=self.steps_per_execution,
            run_eagerly=self.run_eagerly,
            jit_compile=self.jit_compile,
        )

    def _maybe_symbolic_build(self, *_: object, **__: object) -> None:
        """Keep Keras from tracing a step only to create weights, which are all there.

        Under several workers its way of doing so fails.
        """

    def fit(
        self,
        x: Any = None,
        *args,
        callbacks: list | keras.callbacks.Callback | None = None,
        **kwargs,
    ) -> keras.callbacks.History:
        """Train as `keras.Model.fit` does; the logs hold `tokens_per_second` too.

        Raises:
            UserError: an epoch's batches are no multiple of `steps_per_execution`.
        """
        _check_executions(x, kwargs.get("steps_per_epoch"), self.steps_per_execution)
        if isinstance(x, (tf.data.Dataset, tf.distribute.DistributedDataset)):
            kwargs.setdefault("shuffle", False)  # Keras cannot, and warns of its own default
        if isinstance(callbacks, keras.callbacks.Callback):
            callbacks = [callbacks]
        return super().fit(x, *args, callbacks=[self._throughput, *(callbacks or [])], **kwargs)

    @property
    def skipped_updates(self) -> int:
        """How many updates were skipped since the means were last begun anew."""
        return round(float(self._sums["skipped_updates"].total.numpy()))

    def start_new_means(self) -> None:
        """Begin a new window of what the training logs show, throughput included."""
        self.reset_metrics()
        self._throughput.restart()

    def request_stop(self) -> None:
        """Ask all workers to stop: from the next step on, `stop_requested` in the logs is above 0.

        The steps' own all-reduce carries it, so all workers see it after the same step.
        """
        self._stop_requested.update_state(1.0)

    def train_step(self, batch: Batch) -> dict[str, Any]:
        """Make one update and give the running means of all figures; runs on every replica.

        An update whose loss or gradient is not finite is skipped: the weights stay as they are, the
        means leave it out, `skipped_updates` counts it.
        """
        counts, stop_requested = sum_over_replicas(
            (count_tokens(batch), self._stop_requested.result())
        )
        shares, gradients = sum_over_replicas(self._sum_over_micro_batches(batch, counts))
        gradient_norm = tf.linalg.global_norm(gradients)
        is_finite = tf.math.is_finite(gradient_norm + self._weighted_sum(shares))
        self._update(gradients, gradient_norm, is_finite)

        counts = {name: tf.where(is_finite, count, 0.0) for name, count in counts.items()}
        skipped = tf.cast(~is_finite, tf.float32)
        self._gradient_norm.update_state(gradient_norm, 1.0 - skipped)
        self._sums["tokens"].update_state(counts["tokens"])
        self._sums["skipped_updates"].update_state(skipped)
        in_a_row = (self._skipped_in_a_row.result() + 1.0) * skipped
        self._skipped_in_a_row.total.assign(in_a_row)
        return {
            **self._update_means(shares, counts),
            **{
                metric.name: metric.result()
                for metric in self.metrics
                if metric.name in OF_TRAINING
            },
            "skipped_in_a_row": in_a_row,
            "stop_requested": stop_requested,
        }

    def test_step(self, batch: Batch) -> dict[str, Any]:
        """Compute all figures without dropout, and give their running means."""
        counts = sum_over_replicas(count_tokens(batch))
        _, shares = self._shares(batch, counts, training=False)
        return self._update_means(sum_over_replicas(shares), counts)

    def _update(self, gradients: list[tf.Tensor], norm: tf.Tensor, is_finite: tf.Tensor) -> None:
        """Update the weights once with the gradient of the global batch, if it is finite."""
        if isinstance(self.optimizer, AdamW):
            self.optimizer.apply_summed(gradients, self.trainable_variables, norm, is_finite)
            return
        # Keras's own optimizers sum over the replicas once more, and cannot do that in a branch.
        gradients = [tf.where(is_finite, gradient, 0.0) for gradient in gradients]
        if num_replicas() > 1:
            gradients = [gradient / num_replicas() for gradient in gradients]
        self.optimizer.apply(gradients, self.trainable_variables)

    def _shares(self, batch: Batch, counts: Scalars, training: bool) -> tuple[tf.Tensor, Scalars]:
        """Give what a batch, or a part of it, adds to the loss and to the mean of every figure."""
        counts = {name: counts[over] for name, over in self.averaged_over.items()}
        scales = {
            name: weight / tf.maximum(counts[name], 1.0)
            for name, weight in self.term_weights.items()
        }
        loss, figures = self.loss_and_figures(batch, scales, training)
        return loss, {name: masked_mean(*figures[name], counts[name]) for name in counts}

    def _sum_over_micro_batches(
        self, batch: Batch, counts: Scalars
    ) -> tuple[Scalars, list[tf.Tensor]]:
        """Give this replica's share of every figure, and of the gradients."""
        variables = [variable.value for variable in self.trainable_variables]

        def share_and_gradients(part: Batch, seed: tf.Tensor) -> tuple[Scalars, list[tf.Tensor]]:
            # Only the student's variables are watched: the teacher leaves no trace on the tape.
            with tf.GradientTape(watch_accessed_variables=False) as tape, seeded_dropout(seed):
                tape.watch(variables)
                loss, shares = self._shares(part, counts, training=True)
            gradients = tape.gradient(
                loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            return shares, [tf.convert_to_tensor(gradient) for gradient in gradients]

        if self.jit_compile and num_replicas() > 1 and not self.run_eagerly:
            # What replicas exchange cannot be compiled; what each computes alone can.
            share_and_gradients = tf.function(
                share_and_gradients, jit_compile=True, autograph=False
            )
        fold_in = tf.random.experimental.stateless_fold_in
        step = tf.convert_to_tensor(self.optimizer.iterations)
        seed = fold_in(fold_in([self.seed, 0], step), replica_number())
        if self.micro_batches == 1:
            return share_and_gradients(batch, fold_in(seed, 0))
        return _sum_of_parts(
            lambda part, i: share_and_gradients(part, fold_in(seed, i)),
            batch,
            self.micro_batches,
            ({name: tf.zeros(()) for name in self._means}, [tf.zeros_like(v) for v in variables]),
        )

    def _weighted_sum(self, shares: Scalars) -> tf.Tensor:
        return sum(weight * shares[name] for name, weight in self.term_weights.items())

    def _update_means(self, shares: Scalars, counts: Scalars) -> dict[str, Any]:
        for name, mean in self._means.items():
            mean.update_state(shares[name], counts[self.averaged_over[name]])
        results = {name: mean.result() for name, mean in self._means.items()}
        return {"loss": self._weighted_sum(results), **results}


def count_tokens(batch: Batch) -> Scalars:
    """Count what the means are taken over: real tokens, and tokens to predict. float32 scalars."""
    inputs, _, mask_weights = batch
    return {
        "tokens": tf.reduce_sum(tf.cast(inputs["padding_mask"], tf.float32)),
        "predictions": tf.reduce_sum(tf.cast(tf.cast(mask_weights, tf.bool), tf.float32)),
    }


def _check_executions(x: Any, steps_per_epoch: int | None, at_once: int) -> None:
    """See that no execution runs out of batches halfway, which would lose its figures."""
    steps = steps_per_epoch
    if steps is None and isinstance(x, tf.data.Dataset):
        steps = int(x.cardinality())  # negative if it is infinite or unknown
    if steps and steps > 0 and steps % at_once:
        raise UserError(
            f"steps_per_execution is {at_once}, but an epoch has {steps} batches; give a multiple"
        )


def _sum_of_parts(
    function: Callable[[Batch, tf.Tensor], Any], batch: Batch, num_parts: int, zeros: Any
) -> Any:
    """Apply the function to each of `num_parts` slices of the batch, one at a time, and add up."""
    remedy = "use a multiple, and drop_remainder=True where the dataset is batched"
    rows = batch[1].shape[0]
    if rows is None:
        message = f"a batch cannot be split into {num_parts} micro-batches; {remedy}"
        tf.debugging.assert_equal(tf.shape(batch[1])[0] % num_parts, 0, message)
    elif rows % num_parts:
        raise UserError(
            f"a batch of {rows} sequences cannot be split into {num_parts} micro-batches; {remedy}"
        )
    parts = tree.map_structure(
        lambda tensor: tf.reshape(tensor, (num_parts, -1, *tensor.shape[1:])), batch
    )

    def add_part(i: tf.Tensor, sums: tuple) -> tuple:
        results = function(tree.map_structure(lambda tensor: tensor[i], parts), i)
        return i + 1, tree.map_structure(tf.add, sums, results)

    # Or it would begin a part before the last one is done, and hold the activations of several.
    _, sums = tf.while_loop(lambda i, _: i < num_parts, add_part, (0, zeros), parallel_iterations=1)
    return sums
