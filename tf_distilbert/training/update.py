"""One update with the gradient of the global batch, by any optimizer; none if it is not finite.

Under float16 the loss is multiplied by a scale, so that small gradients do not become 0, and the
gradient is divided by it before anything looks at its length. Keras's `LossScaleOptimizer` holds
the scale and the optimizer to use; what it does is done here, for both backends and any number of
replicas: an update that is not finite is skipped and halves the scale, `dynamic_growth_steps` good
ones in a row double it.

Source: Micikevicius et al. 2018, "Mixed Precision Training", section 3.2.
"""

import keras
from keras import KerasTensor as Tensor
from keras import ops
from keras.optimizers import LossScaleOptimizer

from tf_distilbert.backend import kernels, step
from tf_distilbert.errors import UserError
from tf_distilbert.training.optimizer import AdamW

INITIAL_SCALE = 2.0**8
"""Where a dynamic loss scale begins.

Keras begins at 2^15, where the first gradients of a distillation, of length 100 and more, overflow:
updates are skipped until the scale is as low as this.
"""

# From 0, which endless halving comes to, no doubling leads away.
_LEAST_SCALE = 2.0**-24


def prepare_optimizer(
    optimizer: str | keras.optimizers.Optimizer, model: keras.Model, scale_loss: bool = True
) -> keras.optimizers.Optimizer:
    """Give the optimizer that trains a model: with a loss scale, if the model computes in float16.

    Args:
        optimizer: of `tf_distilbert` or Keras, or the name of one of Keras's.
        model: what is trained.
        scale_loss: False leaves the scale out, as `auto_scale_loss` does in Keras.

    Raises:
        UserError: the optimizer is one that cannot be used.
    """
    optimizer = keras.optimizers.get(optimizer)
    if isinstance(optimizer, getattr(keras.optimizers, "MultiOptimizer", ())):
        raise UserError(
            "MultiOptimizer is not supported: a skipped update could leave its parts out of step; "
            "use one optimizer"
        )
    is_scaled = isinstance(optimizer, LossScaleOptimizer)
    if scale_loss and model.compute_dtype == "float16" and not is_scaled:
        return LossScaleOptimizer(
            optimizer, initial_scale=INITIAL_SCALE, name="loss_scale_optimizer"
        )
    return optimizer


def check_trainable(model: keras.Model, *teachers: keras.Model) -> None:
    """See that a model can learn.

    Raises:
        UserError: its weights have 16 bits, all of them are frozen, or some are a teacher's.
    """
    if not model.trainable_variables:
        raise UserError(f"{model.name} has no trainable weights; set trainable, and compile again")
    taught_by = {id(variable) for teacher in teachers for variable in teacher.variables}
    if taught_by & {id(variable) for variable in model.trainable_variables}:
        raise UserError(
            f"{model.name} shares weights with its teacher; use build_student, or load it twice"
        )
    if model.variable_dtype in ("float16", "bfloat16"):
        raise UserError(
            f"the weights of {model.name} are {model.variable_dtype}, too coarse for an update; "
            f"make it under the policy mixed_{model.variable_dtype}, which keeps them in float32"
        )


def updating(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Give the optimizer that moves the weights: the one inside a `LossScaleOptimizer`, if any."""
    return optimizer.inner_optimizer if isinstance(optimizer, LossScaleOptimizer) else optimizer


def loss_scale(optimizer: keras.optimizers.Optimizer) -> Tensor | float:
    """Give what the loss is multiplied by; 1.0 if there is no loss scale."""
    if isinstance(optimizer, LossScaleOptimizer):
        return ops.convert_to_tensor(optimizer.dynamic_scale)
    return optimizer.loss_scale_factor or 1.0


def update(
    optimizer: keras.optimizers.Optimizer,
    gradients: list[Tensor],
    variables: list[keras.Variable],
    norm: Tensor,
    is_finite: Tensor,
) -> None:
    """Make one update with the gradient of the global batch, which all replicas have alike.

    Args:
        optimizer: see `prepare_optimizer`.
        gradients: float [...] each, one for each variable, without the loss scale.
        variables: what the optimizer was built with.
        norm: L2 norm of all gradients together, float scalar.
        is_finite: bool scalar. If it is false, weights and moments stay as they are. Of `AdamW`,
            `iterations` is counted all the same, so that its schedule follows the steps; Keras's
            own do not count a skipped update.
    """
    inner = updating(optimizer)
    if isinstance(inner, AdamW):
        inner.apply_summed(gradients, variables, norm, is_finite)
    else:
        step.apply_if(is_finite, inner, gradients, variables)
    if isinstance(optimizer, LossScaleOptimizer):
        _update_scale(optimizer, is_finite)


def _update_scale(optimizer: LossScaleOptimizer, is_finite: Tensor) -> None:
    good = ops.convert_to_tensor(optimizer.step_counter) + 1
    scale = ops.convert_to_tensor(optimizer.dynamic_scale)
    grows = good >= optimizer.dynamic_growth_steps
    good_scale = ops.where(grows, 2.0 * scale, scale)
    starts_again = ops.logical_or(grows, ops.logical_not(is_finite))
    counter = ops.where(starts_again, ops.zeros_like(good), good)
    kernels.assign(optimizer.step_counter, counter)
    bad_scale = ops.maximum(0.5 * scale, _LEAST_SCALE)
    kernels.assign(optimizer.dynamic_scale, ops.where(is_finite, good_scale, bad_scale))
