"""The training step that all objectives here share: one update as a function of the global batch.

An objective is a weighted sum of terms, each a mean over some of the batch's tokens. The counts of
those tokens are known before the first forward pass, and summed over all replicas first. So a
micro-batch on a replica contributes its *sum* divided by the *global* count, and contributions
simply add up: gradients, losses and metrics come out the same however the batch is split. They are
summed over the replicas once an update; clipping and the optimizer come after that.

It is written in `keras.ops` and the few names of `backend`.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import KerasTensor as Tensor
from keras import ops, tree

from tf_distilbert.backend import kernels, step
from tf_distilbert.errors import UserError
from tf_distilbert.losses.per_token import masked_mean
from tf_distilbert.models.dropout import seeded_dropout
from tf_distilbert.training.batch import (
    Batch,
    Scalars,
    checked_batch,
    count_tokens,
    split_batch,
    token_weight,
)
from tf_distilbert.training.fitting import FittingModel
from tf_distilbert.training.metrics import RunningMean, RunningSum, Streak, WeightedSum
from tf_distilbert.training.update import (
    check_trainable,
    loss_scale,
    prepare_optimizer,
    update,
    updating,
)


class MaskedMeanTrainer(FittingModel):
    """A `keras.Model` whose step sums gradients over micro-batches and updates once.

    A subclass names its models (`readers`), weighs its terms (`loss_weights`), says which tokens
    each metric is a mean over (`token_counts`: all real ``tokens``, the ``predictions`` or the
    ``texts``) and computes the loss and the metrics (`loss_and_metrics`).

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
    input_names: Sequence[str] = ("token_ids", "padding_mask", "mask_positions")
    """What the inputs of a batch must have."""
    hidden_logs = ("stop_requested", "skipped_in_a_row", "losses_not_finite")

    def __init__(self, micro_batches: int = 1, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(micro_batches, int) or micro_batches < 1:
            raise UserError(
                f"micro_batches is {micro_batches!r}; it must be a whole number above 0"
            )
        self.micro_batches = micro_batches
        self.seed = random.randrange(2**31) if seed is None else seed
        self._means: dict[str, RunningMean] = {}

    def loss_and_metrics(
        self, batch: Batch, token_weights: Scalars, training: bool
    ) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
        """Compute what a batch, or a part of it, adds to the loss, and every metric by token.

        Args:
            batch: inputs, targets, weights; see `checked_batch`.
            token_weights: of each term what a token counts in the loss: the loss weight over the
                count of all tokens of the global batch that the term is a mean over, times the
                loss scale.
            training: whether dropout is active and the loss has a gradient.

        Returns:
            The sum of the terms' values at the tokens that count, each times its weight, float32
            scalar; and for each name of `token_counts` the values and what each counts (0 or 1, or
            a fraction), [n] each. What does not count may be anything.
        """
        raise AssertionError("a subclass computes its metrics")

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer,
        *,
        auto_scale_loss: bool = True,
        jit_compile: bool | str = "auto",
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        **others: Any,
    ) -> None:
        """Set the optimizer; the losses and metrics are the model's own.

        Args:
            optimizer: `tf_distilbert.AdamW` (which clips) or any of Keras's; made in the scope of
                the strategy, if there is one.
            auto_scale_loss: scale the loss, dynamically, where the model computes in float16.
            jit_compile, run_eagerly, steps_per_execution: as in Keras.
            **others: Keras's other arguments, losses and metrics, are refused if they are given.

        Raises:
            UserError: an argument, or an optimizer, that cannot be obeyed.
        """
        for name, value in others.items():
            if value is not None:
                raise UserError(
                    f"{type(self).__name__}.compile does not take {name}: losses and metrics are "
                    "its own; its constructor's arguments weigh them"
                )
        with self.scope():
            optimizer = prepare_optimizer(optimizer, self.readers()[0], auto_scale_loss)
            self._means = {
                name: RunningMean(name, "min" if name.endswith("_loss") else "max")
                for name in self.token_counts
            }
            self._loss = WeightedSum("loss", self._means, self.loss_weights)
            self._gradient_norm = RunningMean("gradient_norm")
            self._padding_share = RunningMean("padding_share")
            sums = ("tokens", "skipped_updates", "losses_not_finite")
            self._sums = {name: RunningSum(name) for name in sums}
            self._skipped_in_a_row = Streak("skipped_in_a_row")
            super().compile(
                optimizer=optimizer,
                auto_scale_loss=False,
                jit_compile=jit_compile,
                run_eagerly=run_eagerly,
                steps_per_execution=steps_per_execution,
            )
            self.optimizer.build(self.trainable_variables)
        self._check_compiled_variables()

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Everything that `fit` resets between epochs, in the order of `evaluate`'s list."""
        if not self._means:  # not compiled yet
            return []
        means = [self._loss, *self._means.values(), self._gradient_norm, self._padding_share]
        return [*means, *self._sums.values(), self._skipped_in_a_row]

    @property
    def saved_metrics(self) -> list[keras.metrics.Metric]:
        """What of the metrics a resumed run needs; the tokens belong to the clock of this one."""
        return [metric for metric in self.metrics if metric is not self._sums["tokens"]]

    @property
    def frozen_variables(self) -> list[keras.Variable]:
        """The teacher's."""
        return [variable for model in self.readers()[1:] for variable in model.variables]

    @property
    def skipped_updates(self) -> int:
        """How many updates were skipped since the means were last begun anew."""
        self.settle()
        return round(float(self._sums["skipped_updates"].total.numpy())) if self._means else 0

    def start_new_means(self) -> None:
        """Begin a new window of what the training logs show, throughput included."""
        self.reset_metrics()
        self._throughput.restart()

    def train_step(self, data: Batch) -> dict[str, Any]:
        """Make one update and give the running means of all metrics; runs on every replica.

        An update whose loss or gradient is not finite is skipped: the weights stay as they are, the
        means leave it out, `skipped_updates` counts it.
        """
        check_trainable(*self.readers())
        batch = self._checked(data)
        counts, stop_requested = step.sum_over_replicas((count_tokens(batch), self.stop_request()))
        scale = loss_scale(self.optimizer)
        partial_means, gradients = step.sum_over_replicas(
            self._sum_over_micro_batches(batch, counts, scale)
        )
        if not isinstance(scale, float) or scale != 1.0:
            gradients = [gradient / scale for gradient in gradients]
        gradient_norm = kernels.global_norm(gradients)
        loss = self._weighted_sum(partial_means)
        is_finite = ops.isfinite(gradient_norm + loss)
        update(self.optimizer, gradients, self.trainable_variables, gradient_norm, is_finite)

        counts = {name: ops.where(is_finite, count, 0.0) for name, count in counts.items()}
        skipped = ops.cast(ops.logical_not(is_finite), "float32")
        self._gradient_norm.update_state(gradient_norm, 1.0 - skipped)
        padding_share = 1.0 - counts["tokens"] / ops.maximum(counts["places"], 1.0)
        self._padding_share.update_state(padding_share, counts["places"])
        self._sums["tokens"].update_state(counts["tokens"])
        self._sums["skipped_updates"].update_state(skipped)
        self._sums["losses_not_finite"].update_state(1.0 - ops.cast(ops.isfinite(loss), "float32"))
        self._skipped_in_a_row.update_state(skipped)
        self._update_means(partial_means, counts)
        logs = {metric.name: metric.result() for metric in self.metrics}
        return logs | {"stop_requested": stop_requested}

    def test_step(self, data: Batch) -> dict[str, Any]:
        """Compute all metrics without dropout, and give their running means."""
        batch = self._checked(data)
        counts = step.sum_over_replicas(count_tokens(batch))
        _, partial_means = self._partial_means(batch, counts, training=False)
        self._update_means(step.sum_over_replicas(partial_means), counts)
        means: list[keras.metrics.Metric] = [self._loss, *self._means.values()]
        return {mean.name: mean.result() for mean in means}

    def _checked(self, data: Any) -> Batch:
        positions = min(model.architecture.max_positions for model in self.readers())
        return checked_batch(data, self.input_names, positions)

    def _partial_means(
        self, batch: Batch, counts: Scalars, training: bool, scale: Tensor | float = 1.0
    ) -> tuple[Tensor, Scalars]:
        """Give what a batch, or a part of it, adds to the loss and to the mean of every metric."""
        counts = {name: counts[over] for name, over in self.token_counts.items()}
        token_weights = {
            name: token_weight(weight * scale, counts[name])
            for name, weight in self.loss_weights.items()
        }
        loss, metrics = self.loss_and_metrics(batch, token_weights, training)
        return loss, {name: masked_mean(*metrics[name], counts[name]) for name in counts}

    def _sum_over_micro_batches(
        self, batch: Batch, counts: Scalars, scale: Tensor | float = 1.0
    ) -> tuple[Scalars, list[Tensor]]:
        """Give this replica's share of every metric, and of the gradients times the loss scale."""

        def loss_and_means(part: Batch, seed: Tensor) -> tuple[Tensor, Scalars]:
            with seeded_dropout(seed):
                return self._partial_means(part, counts, training=True, scale=scale)

        means_and_gradients = self.gradients(loss_and_means)
        # Not `iterations`: where Keras accumulates gradients, that counts updates, not steps.
        seed = step.replica_seed(self.seed, updating(self.optimizer)._iterations)
        if self.micro_batches == 1:
            return means_and_gradients(batch, step.fold_in(seed, 0))
        parts = split_batch(batch, self.micro_batches)

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

    def _update_means(self, partial_means: Scalars, counts: Scalars) -> None:
        for name, mean in self._means.items():
            mean.update_state(partial_means[name], counts[self.token_counts[name]])
