"""The training step that all objectives here share: one update as a function of the global batch.

An objective is a weighted sum of terms, each a mean over some of the batch's tokens. The counts of
those tokens are known before the first forward pass, so a micro-batch contributes its *sum*
divided by the *global* count, and contributions simply add up: gradients, losses and metrics come
out the same however the batch is split. Clipping and the optimizer come once, after the sum.

This file is where Keras ends and TensorFlow begins: what it calls is written in `keras.ops`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from tf_distilbert.errors import UserError
from tf_distilbert.losses import masked_mean
from tf_distilbert.throughput import Throughput

Batch = tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]
Scalars = dict[str, tf.Tensor]


class MaskedMeanTrainer(keras.Model):
    """A `keras.Model` whose step sums gradients over micro-batches and updates once.

    A subclass weighs its terms (`term_weights`), says over which tokens each figure is averaged
    (`averaged_over`: all real ``tokens`` or the masked ``predictions``) and computes the loss and
    the figures (`loss_and_figures`).

    Args:
        micro_batches: into how many equal parts `train_step` splits a batch. Memory is that of one
            part; the update is that of the whole batch.
    """

    term_weights: Mapping[str, float]
    averaged_over: Mapping[str, str]

    def __init__(self, micro_batches: int = 1, **kwargs) -> None:
        super().__init__(**kwargs)
        if not isinstance(micro_batches, int) or micro_batches < 1:
            raise UserError(
                f"micro_batches is {micro_batches!r}; it must be a whole number above 0"
            )
        self.micro_batches = micro_batches
        self._means: dict[str, keras.metrics.Metric] = {}
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
            optimizer: `tf_distilbert.AdamW` (which clips) or any of Keras's.
            **kwargs: `jit_compile`, `run_eagerly`, `steps_per_execution`, as in Keras.
        """
        self._means = {name: keras.metrics.Mean(name) for name in self.averaged_over}
        self._gradient_norm = keras.metrics.Mean("gradient_norm")
        self._tokens = keras.metrics.Sum("tokens")
        super().compile(optimizer=optimizer, **kwargs)
        self.optimizer.build(self.trainable_variables)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Everything that `fit` resets between epochs."""
        return [
            *self._means.values(),
            *((self._gradient_norm, self._tokens) if self._means else ()),
        ]

    def fit(
        self,
        x: Any = None,
        *args,
        callbacks: list | keras.callbacks.Callback | None = None,
        **kwargs,
    ) -> keras.callbacks.History:
        """Train as `keras.Model.fit` does; the logs hold `tokens_per_second` too."""
        if isinstance(x, tf.data.Dataset):
            kwargs.setdefault("shuffle", False)  # Keras cannot, and warns of its own default
        if isinstance(callbacks, keras.callbacks.Callback):
            callbacks = [callbacks]
        return super().fit(x, *args, callbacks=[self._throughput, *(callbacks or [])], **kwargs)

    def start_new_means(self) -> None:
        """Begin a new window of what the training logs show, throughput included."""
        self.reset_metrics()
        self._throughput.restart()

    def train_step(self, batch: Batch) -> dict[str, Any]:
        """Make one update and give the running means of all figures."""
        counts = count_tokens(batch)
        variables = [variable.value for variable in self.trainable_variables]
        shares, gradients = self._sum_over_micro_batches(batch, counts, variables)
        gradient_norm = tf.linalg.global_norm(gradients)
        clip_norm = getattr(self.optimizer, "clip_norm", None)
        if clip_norm:
            gradients = tf.cond(
                gradient_norm > clip_norm,
                lambda: [gradient * (clip_norm / gradient_norm) for gradient in gradients],
                lambda: gradients,  # most are short enough, and a walk through all takes time
            )
        self.optimizer.apply(gradients, self.trainable_variables)
        self._gradient_norm.update_state(gradient_norm)
        self._tokens.update_state(counts["tokens"])
        own = {m.name: m.result() for m in (self._gradient_norm, self._tokens)}
        return self._update_means(shares, counts) | own

    def test_step(self, batch: Batch) -> dict[str, Any]:
        """Compute all figures without dropout, and give their running means."""
        counts = count_tokens(batch)
        _, shares = self._shares(batch, counts, training=False)
        return self._update_means(shares, counts)

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
        self, batch: Batch, counts: Scalars, variables: list[tf.Tensor]
    ) -> tuple[Scalars, list[tf.Tensor]]:
        def share_and_gradients(part: Batch) -> tuple[Scalars, list[tf.Tensor]]:
            # Only the student's variables are watched: the teacher leaves no trace on the tape.
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                loss, shares = self._shares(part, counts, training=True)
            gradients = tape.gradient(
                loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            return shares, [tf.convert_to_tensor(gradient) for gradient in gradients]

        if self.micro_batches == 1:
            return share_and_gradients(batch)
        return _sum_of_parts(share_and_gradients, batch, self.micro_batches, variables, self._means)

    def _weighted_sum(self, shares: Scalars) -> tf.Tensor:
        return sum(weight * shares[name] for name, weight in self.term_weights.items())

    def _update_means(self, shares: Scalars, counts: Scalars) -> dict[str, Any]:
        for name, mean in self._means.items():
            mean.update_state(shares[name], sample_weight=counts[self.averaged_over[name]])
        results = {name: mean.result() for name, mean in self._means.items()}
        return {"loss": self._weighted_sum(results), **results}


def count_tokens(batch: Batch) -> Scalars:
    """Count what the means are taken over: real tokens, and tokens to predict. float32 scalars."""
    inputs, _, mask_weights = batch
    return {
        "tokens": tf.reduce_sum(tf.cast(inputs["padding_mask"], tf.float32)),
        "predictions": tf.reduce_sum(tf.cast(tf.cast(mask_weights, tf.bool), tf.float32)),
    }


def _sum_of_parts(
    function: Callable[[Batch], tuple[Scalars, list[tf.Tensor]]],
    batch: Batch,
    num_parts: int,
    variables: list[tf.Tensor],
    names: Mapping[str, Any],
) -> tuple[Scalars, list[tf.Tensor]]:
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
        results = function(tree.map_structure(lambda tensor: tensor[i], parts))
        return i + 1, tree.map_structure(tf.add, sums, results)

    zeros = ({name: tf.zeros(()) for name in names}, [tf.zeros_like(v) for v in variables])
    _, sums = tf.while_loop(lambda i, _: i < num_parts, add_part, (0, zeros))
    return sums
