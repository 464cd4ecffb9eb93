"""The training step that all objectives here share: one update as a function of the global batch.

An objective is a weighted sum of terms, each a mean over some of the batch's tokens. The counts of
those tokens are known before the first forward pass, and summed over all replicas first. So a
micro-batch on a replica contributes its *sum* divided by the *global* count, and contributions
simply add up: gradients, losses and metrics come out the same however the batch is split. They are
summed over the replicas once an update; clipping and the optimizer come after that.

It is written in `keras.ops` and the few names of `backend`.
"""

import random
from collections.abc import Mapping
from typing import Any

import keras
from keras import KerasTensor as Tensor
from keras import ops, tree

from tf_distilbert.backend import kernels, step
from tf_distilbert.errors import UserError
from tf_distilbert.losses.per_token import masked_mean
from tf_distilbert.models.dropout import seeded_dropout
from tf_distilbert.training.metrics import RunningMean, RunningSum, Streak, Throughput
from tf_distilbert.training.optimizer import AdamW

Batch = tuple[dict[str, Tensor], Tensor, Tensor]
Scalars = dict[str, Tensor]

TRAINING_METRICS = (
    "gradient_norm",
    "padding_share",
    "tokens",
    "skipped_updates",
    "skipped_in_a_row",
)
"""Metrics that an evaluation does not have."""


class MaskedMeanTrainer(step.StepModel):
    """A `keras.Model` whose step sums gradients over micro-batches and updates once.

    A subclass weighs its terms (`loss_weights`), says which tokens each metric is a mean over
    (`token_counts`: all real ``tokens`` or the masked ``predictions``) and computes the loss and
    the metrics (`loss_and_metrics`).

    Made within the `scope()` of a strategy, it trains on all replicas. On TensorFlow, `fit` works
    under `MirroredStrategy`, `MultiWorkerMirroredStrategy` and `TPUStrategy`; on JAX, under
    `keras.distribution.DataParallel`, of several processes, too.

    Args:
        micro_batches: into how many equal parts `train_step` splits a replica's batch. Memory is
            that of one part; the update is that of the whole batch.
        seed: of dropout, 0 <= seed < 2^31; the same on all workers. By default a random one, which
            follows from `keras.utils.set_random_seed`.
    """

    loss_weights: Mapping[str, float]
    token_counts: Mapping[str, str]

    def __init__(self, micro_batches: int = 1, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(micro_batches, int) or micro_batches < 1:
            raise UserError(
                f"micro_batches is {micro_batches!r}; it must be a whole number above 0"
            )
        self.micro_batches = micro_batches
        self.seed = random.randrange(2**31) if seed is None else seed
        self._means: dict[str, RunningMean] = {}
        self._throughput = Throughput()

    def loss_and_metrics(
        self, batch: Batch, token_weights: Scalars, training: bool
    ) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
        """Compute what a batch, or a part of it, adds to the loss, and every metric by token.

        Args:
            batch: inputs, mask_ids, mask_weights; see `masked_lm_dataset`.
            token_weights: of each term what a token counts in the loss: the loss weight over the
                count of all tokens of the global batch that the term is a mean over.
            training: whether dropout is active and the loss has a gradient.

        Returns:
            The sum of the terms' values at the tokens that count, each times its weight, float32
            scalar; and for each name of `token_counts` the values and which of them count, [n]
            each. What does not count may be anything.
        """
        raise AssertionError("a subclass computes its metrics")

    def compile(self, optimizer: keras.optimizers.Optimizer, **kwargs: Any) -> None:
        """Set the optimizer; the losses are the model's own.

        Args:
            optimizer: `tf_distilbert.AdamW` (which clips) or any of Keras's; made in the scope of
                the strategy, if there is one.
            **kwargs: `jit_compile`, `run_eagerly`, `steps_per_execution`, as in Keras.
        """
        with self.scope():
            self._means = {name: RunningMean(name) for name in self.token_counts}
            self._gradient_norm = RunningMean("gradient_norm")
            self._padding_share = RunningMean("padding_share")
            self._sums = {name: RunningSum(name) for name in ("tokens", "skipped_updates")}
            self._skipped_in_a_row = Streak("skipped_in_a_row")
            super().compile(optimizer=optimizer, **kwargs)
            self.optimizer.build(self.trainable_variables)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Everything that `fit` resets between epochs."""
        if not self._means:  # not compiled yet
            return []
        means = [*self._means.values(), self._gradient_norm, self._padding_share]
        return [*means, *self._sums.values(), self._skipped_in_a_row]

    @property
    def saved_metrics(self) -> list[keras.metrics.Metric]:
        """What of the metrics a resumed run needs; the tokens belong to the clock of this one."""
        return [metric for metric in self.metrics if metric is not self._sums["tokens"]]

    def fit(
        self,
        x: Any = None,
        *args: Any,
        callbacks: list | keras.callbacks.Callback | None = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Train as `keras.Model.fit` does; the logs hold `tokens_per_second` too.

        Raises:
            UserError: an epoch's batches are no multiple of `steps_per_execution`.
        """
        _check_executions(x, kwargs.get("steps_per_epoch"), self.steps_per_execution)
        if hasattr(x, "element_spec"):  # a dataset
            kwargs.setdefault("shuffle", False)  # Keras cannot, and warns of its own default
        if isinstance(callbacks, keras.callbacks.Callback):
            callbacks = [callbacks]
        return super().fit(x, *args, callbacks=[self._throughput, *(callbacks or [])], **kwargs)

    @property
    def skipped_updates(self) -> int:
        """How many updates were skipped since the means were last begun anew."""
        self.settle()
        return round(float(self._sums["skipped_updates"].total.numpy()))

    def start_new_means(self) -> None:
        """Begin a new window of what the training logs show, throughput included."""
        self.reset_metrics()
        self._throughput.restart()

    def train_step(self, batch: Batch) -> dict[str, Any]:
        """Make one update and give the running means of all metrics; runs on every replica.

        An update whose loss or gradient is not finite is skipped: the weights stay as they are, the
        means leave it out, `skipped_updates` counts it.
        """
        counts, stop_requested = step.sum_over_replicas((count_tokens(batch), self.stop_request()))
        partial_means, gradients = step.sum_over_replicas(
            self._sum_over_micro_batches(batch, counts)
        )
        gradient_norm = kernels.global_norm(gradients)
        is_finite = ops.isfinite(gradient_norm + self._weighted_sum(partial_means))
        self._update(gradients, gradient_norm, is_finite)

        counts = {name: ops.where(is_finite, count, 0.0) for name, count in counts.items()}
        skipped = ops.cast(ops.logical_not(is_finite), "float32")
        self._gradient_norm.update_state(gradient_norm, 1.0 - skipped)
        padding_share = 1.0 - counts["tokens"] / ops.maximum(counts["places"], 1.0)
        self._padding_share.update_state(padding_share, counts["places"])
        self._sums["tokens"].update_state(counts["tokens"])
        self._sums["skipped_updates"].update_state(skipped)
        self._skipped_in_a_row.update_state(skipped)
        means = self._update_means(partial_means, counts)
        others = {m.name: m.result() for m in self.metrics if m.name in TRAINING_METRICS}
        return {**means, **others, "stop_requested": stop_requested}

    def test_step(self, batch: Batch) -> dict[str, Any]:
        """Compute all metrics without dropout, and give their running means."""
        counts = step.sum_over_replicas(count_tokens(batch))
        _, partial_means = self._partial_means(batch, counts, training=False)
        return self._update_means(step.sum_over_replicas(partial_means), counts)

    def _update(self, gradients: list[Tensor], norm: Tensor, is_finite: Tensor) -> None:
        """Update the weights once with the gradient of the global batch, if it is finite."""
        if isinstance(self.optimizer, AdamW):
            self.optimizer.apply_summed(gradients, self.trainable_variables, norm, is_finite)
            return
        # Those of Keras cannot skip an update: they may exchange something.
        gradients = [ops.where(is_finite, gradient, 0.0) for gradient in gradients]
        self.optimizer.apply(step.as_replicas_own(gradients), self.trainable_variables)

    def _partial_means(
        self, batch: Batch, counts: Scalars, training: bool
    ) -> tuple[Tensor, Scalars]:
        """Give what a batch, or a part of it, adds to the loss and to the mean of every metric."""
        counts = {name: counts[over] for name, over in self.token_counts.items()}
        token_weights = {
            name: weight / ops.maximum(counts[name], 1.0)
            for name, weight in self.loss_weights.items()
        }
        loss, metrics = self.loss_and_metrics(batch, token_weights, training)
        return loss, {name: masked_mean(*metrics[name], counts[name]) for name in counts}

    def _sum_over_micro_batches(
        self, batch: Batch, counts: Scalars
    ) -> tuple[Scalars, list[Tensor]]:
        """Give this replica's share of every metric, and of the gradients."""

        def loss_and_means(part: Batch, seed: Tensor) -> tuple[Tensor, Scalars]:
            with seeded_dropout(seed):
                return self._partial_means(part, counts, training=True)

        means_and_gradients = self.gradients(loss_and_means)
        seed = step.replica_seed(self.seed, self.optimizer.iterations)
        if self.micro_batches == 1:
            return means_and_gradients(batch, step.fold_in(seed, 0))
        parts = _split(batch, self.micro_batches)

        def of_part(i: Tensor) -> tuple[Scalars, list[Tensor]]:
            part = tree.map_structure(lambda tensor: tensor[i], parts)
            return means_and_gradients(part, step.fold_in(seed, i))

        zeros = (
            {name: ops.zeros(()) for name in self._means},
            [ops.zeros(v.shape, v.dtype) for v in self.trainable_variables],
        )
        return step.sum_of_calls(of_part, self.micro_batches, zeros)

    def _weighted_sum(self, partial_means: Scalars) -> Tensor:
        return sum(weight * partial_means[name] for name, weight in self.loss_weights.items())

    def _update_means(self, partial_means: Scalars, counts: Scalars) -> dict[str, Any]:
        for name, mean in self._means.items():
            mean.update_state(partial_means[name], counts[self.token_counts[name]])
        results = {name: mean.result() for name, mean in self._means.items()}
        return {"loss": self._weighted_sum(results), **results}


def count_tokens(batch: Batch) -> Scalars:
    """Count what the means are taken over: real tokens, and tokens to predict. float32 scalars.

    And ``places``, those of padding among them.
    """
    inputs, _, mask_weights = batch
    return {
        "places": ops.cast(ops.size(inputs["padding_mask"]), "float32"),
        "tokens": ops.sum(ops.cast(inputs["padding_mask"], "float32")),
        "predictions": ops.sum(ops.cast(ops.cast(mask_weights, "bool"), "float32")),
    }


def _check_executions(x: Any, steps_per_epoch: int | None, at_once: int) -> None:
    """See that no execution runs out of batches halfway, which would lose its metrics."""
    steps = steps_per_epoch
    if steps is None and hasattr(x, "cardinality"):
        steps = int(x.cardinality())  # negative if it is infinite or unknown
    if steps and steps > 0 and steps % at_once:
        raise UserError(
            f"steps_per_execution is {at_once}, but an epoch has {steps} batches; give a multiple"
        )


def _split(batch: Batch, num_parts: int) -> Batch:
    """Cut every tensor of a batch into equal slices: [B, ...] to [num_parts, B / num_parts, ...].

    Raises:
        UserError: that cannot be done evenly.
    """
    rows = ops.shape(batch[1])[0]
    message = (
        f"cannot be split into {num_parts} micro-batches; use a multiple, and drop_remainder=True "
        "where the dataset is batched"
    )
    if not isinstance(rows, int):
        step.check_divisible(rows, num_parts, f"a batch {message}")
    elif rows % num_parts:
        raise UserError(f"a batch of {rows} sequences {message}")
    return tree.map_structure(
        lambda tensor: ops.reshape(tensor, (num_parts, -1, *tensor.shape[1:])), batch
    )
