"""AdamW as the reference runs it, and its learning-rate schedule."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import KerasTensor as Tensor
from keras import ops

from tf_distilbert.backend import kernels
from tf_distilbert.errors import UserError

_INSTEAD = {
    "clipnorm": "use clip_norm, which clips the gradient of the global batch as a whole",
    "global_clipnorm": "use clip_norm, which clips the gradient of the global batch",
    "clipvalue": "use clip_norm, or keras.optimizers.AdamW",
    "amsgrad": "use keras.optimizers.AdamW",
    "ema_overwrite_frequency": "the average takes the weights' place when `fit` ends; or use "
    "keras.optimizers.AdamW",
    "loss_scale_factor": "wrap it in keras.optimizers.LossScaleOptimizer, as `compile` does where "
    "the model computes in float16",
    "gradient_accumulation_steps": "use micro_batches of Distiller, MaskedLMPretrainer or "
    "TaskTrainer: one update of a batch that is computed in parts",
}


@keras.saving.register_keras_serializable("tf_distilbert")
class AdamW(keras.optimizers.AdamW):
    """AdamW with PyTorch's arithmetic, decay groups and clipping of the global batch's gradient.

    Keras adds epsilon before the second moment's bias is corrected, which is a larger epsilon in
    the first updates; this is the published order (Kingma & Ba 2015, algorithm 1). Biases and
    LayerNorm weights do not decay.

    Args:
        learning_rate: peak rate or a schedule.
        beta_1, beta_2, epsilon: the reference's values are the defaults.
        weight_decay: decoupled (Loshchilov & Hutter 2019).
        clip_norm: largest L2 norm of all gradients together; None for none. Applied once to the
            sum over micro-batches and replicas; Keras's own `global_clipnorm` clips too early. (In
            a model with Keras's own `train_step` it is like `global_clipnorm`.)
        use_ema: keep an exponential moving average of the weights, which takes their place when
            `fit` ends (Polyak & Juditsky 1992). `keras.callbacks.SwapEMAWeights` evaluates it
            meanwhile.
        ema_momentum: share of the old average in the new one, 0 <= momentum < 1.
        name: of the optimizer.
        **others: other options of `keras.optimizers.AdamW` are refused; they would be ignored.

    Raises:
        UserError: an option is not one of these; or a number is out of range.

    Example:
        >>> schedule = WarmupThenDecay(5e-4, warmup_steps=100, total_steps=2000)
        >>> distiller.compile(AdamW(schedule, clip_norm=5.0))
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 5e-4,
        beta_1: float = 0.9,
        beta_2: float = 0.98,
        epsilon: float = 1e-6,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        name: str = "adamw",
        **others: Any,
    ) -> None:
        for option in (name for name, value in others.items() if value not in (None, False)):
            instead = _INSTEAD.get(option, "it has no such option")
            raise UserError(f"tf_distilbert.AdamW does not take {option}; {instead}")
        if clip_norm is not None and not clip_norm > 0:
            raise UserError(f"clip_norm is {clip_norm}; it must be above 0, or None")
        if not 0 <= ema_momentum < 1:
            raise UserError(f"ema_momentum is {ema_momentum}; it must be in [0, 1)")
        super().__init__(
            learning_rate,
            weight_decay=weight_decay,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            name=name,
        )
        self.clip_norm = clip_norm
        # Keras would take 0 times the weights off the weights: a pass over all of them.
        self.weight_decay = weight_decay or None
        self.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])

    def build(self, variables: list[keras.Variable]) -> None:
        """Create the moments, and the averages of the weights, if there are any."""
        if self.built:
            return
        super().build(variables)
        # Of `iterations` some may have been skipped: the moments know nothing of those.
        self._updates = self.add_variable(
            (), dtype="int32", aggregation="only_first_replica", name="updates"
        )
        if self.use_ema:
            for average, variable in zip(self._averages, variables, strict=True):
                average.assign(ops.convert_to_numpy(variable))

    @property
    def _averages(self) -> list[keras.Variable]:
        return self._model_variables_moving_average if self.use_ema else []

    def apply_summed(
        self,
        gradients: list[Tensor],
        variables: list[keras.Variable],
        norm: Tensor,
        is_finite: Tensor,
    ) -> None:
        """Make one update with the gradient of the global batch, which all replicas have alike.

        Every replica updates its own copy of the weights; nothing is exchanged. (Keras's `apply`
        takes each replica's own gradient, and sums them itself.)

        Args:
            gradients: float [...] each, one for each variable.
            variables: what the optimizer was built with.
            norm: L2 norm of all gradients together, float scalar.
            is_finite: bool scalar. If it is false, nothing changes but `iterations`: the schedule
                follows the steps, whether their updates are made or not.
        """

        def update() -> None:
            clipped = (
                kernels.shorten(gradients, norm, self.clip_norm) if self.clip_norm else gradients
            )
            for gradient, variable in zip(clipped, variables, strict=True):
                if self.weight_decay and self._use_weight_decay(variable):
                    decay = ops.cast(self.learning_rate * self.weight_decay, variable.dtype)
                    kernels.subtract(variable, decay * variable.value)
                self.update_step(gradient, variable, self.learning_rate)
            self._update_averages(variables)

        moments = [*self._momentums, *self._velocities]
        kernels.update_if(is_finite, update, [*variables, *moments, *self._averages])
        made = ops.cast(is_finite, "int32")
        # Always 1, but of the data: at their end, TensorFlow would count a step that is not made.
        tried = ops.where(is_finite, made, 1)
        self.iterations.assign_add(ops.cast(tried, self.iterations.dtype))
        self._updates.assign_add(made)

    def apply(self, grads: list[Tensor], trainable_variables: Any = None) -> None:
        """Make an update as Keras's own training steps do, of one replica's gradients."""
        super().apply(grads, trainable_variables)
        self._updates.assign_add(1)

    def _clip_gradients(self, grads: list[Tensor]) -> list[Tensor]:
        if not self.clip_norm:
            return grads
        gradients = [ops.convert_to_tensor(gradient) for gradient in grads]
        return kernels.shorten(gradients, kernels.global_norm(gradients), self.clip_norm)

    def _update_averages(self, variables: list[keras.Variable]) -> None:
        """Follow the weights; the first update made begins the average, as in Keras."""
        if not self.use_ema:
            return
        is_first = ops.equal(ops.convert_to_tensor(self._updates), 0)
        share = ops.where(is_first, 1.0, 1.0 - self.ema_momentum)
        for average, variable in zip(self._averages, variables, strict=True):
            difference = average.value - variable.value
            kernels.subtract(average, ops.cast(share, average.dtype) * difference)

    @contextmanager
    def averages_in_place(self) -> Iterator[None]:
        """Let the weights be their averages meanwhile; without averages, do nothing.

        Between steps alone, on all workers alike.
        """
        if not self.use_ema:
            yield
            return
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for variable, average in zip(self._trainable_variables, self._averages, strict=True):
            value = ops.convert_to_numpy(variable)
            variable.assign(ops.convert_to_numpy(average))
            average.assign(value)

    def update_step(
        self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor
    ) -> None:
        """Update one variable and its two moments."""
        step = ops.cast(ops.convert_to_tensor(self._updates) + 1, variable.dtype)
        betas, index = (self.beta_1, self.beta_2), self._get_variable_index(variable)
        kernels.adam(
            variable,
            (self._momentums[index], self._velocities[index]),
            ops.cast(gradient, variable.dtype),
            ops.cast(learning_rate, variable.dtype),
            betas,
            tuple(ops.power(ops.cast(beta, variable.dtype), step) for beta in betas),
            self.epsilon,
        )

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        config = super().get_config()
        names = ("beta_1", "beta_2", "epsilon", "use_ema", "ema_momentum", "name")
        return {
            "learning_rate": config["learning_rate"],
            "weight_decay": self.weight_decay or 0.0,
            "clip_norm": self.clip_norm,
            **{name: config[name] for name in names},
        }


@keras.saving.register_keras_serializable("tf_distilbert")
class WarmupThenDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Linear from 0 to the peak over `warmup_steps`, then linear to 0 at `total_steps`.

    The first update has rate 0, as in the reference.

    Args:
        peak: the highest rate.
        warmup_steps: updates until the peak.
        total_steps: updates in all.

    Source: Devlin et al. 2019, appendix A.2.

    Example:
        >>> float(WarmupThenDecay(5e-4, warmup_steps=100, total_steps=2000)(50))
        0.00025
    """

    def __init__(self, peak: float, warmup_steps: int, total_steps: int) -> None:
        self.peak, self.warmup_steps, self.total_steps = peak, warmup_steps, total_steps

    def __call__(self, step: Tensor) -> Tensor:
        """Give the rate of the update that follows `step` updates."""
        step = ops.cast(step, "float32")
        rising = step / self.warmup_steps if self.warmup_steps else 1.0
        falling = (self.total_steps - step) / max(self.total_steps - self.warmup_steps, 1)
        return self.peak * ops.maximum(ops.minimum(rising, falling), 0.0)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
        }
