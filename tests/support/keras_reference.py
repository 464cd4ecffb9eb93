"""The distiller's objective in Keras's own `train_step`: what optimizers and callbacks are to do.

The loss is put together from the terms by token, without chunks, micro-batches or global counts of
ours: a batch on one device.
"""

import keras
from keras import ops

from tf_distilbert.losses import per_token


class PlainDistiller(keras.Model):
    """Teacher and student as `Distiller` has them with weights 5, 2, 1 and temperature 2."""

    def __init__(self, teacher, student):
        super().__init__()
        self.student = student
        self._teacher = lambda: teacher
        self.built = True

    def compile(self, optimizer, **options):
        super().compile(optimizer, **options)
        # As it is built by the first step, ScheduleFreeAdamW begins at 0 instead of at the weights.
        self.optimizer.build(self.trainable_variables)

    def call(self, inputs, training=False):
        return self.student.hidden_states(inputs, training=training)[-1]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        states, theirs = y_pred, ops.stop_gradient(self._teacher().hidden_states(x)[-1])
        size = states.shape[-1]
        student = self.student.logits(ops.reshape(states, (-1, size)))
        teacher = ops.stop_gradient(self._teacher().logits(ops.reshape(theirs, (-1, size))))
        real = ops.ravel(x["padding_mask"])
        places = ops.arange(y.shape[0], dtype="int32")[:, None] * states.shape[1]
        places = ops.ravel(places + x["mask_positions"])
        predicted = per_token.masked_lm_loss(ops.take(student, places, axis=0), ops.ravel(y))
        cosine = ops.ravel(per_token.cosine_loss(states, theirs))
        distillation = per_token.distillation_loss(student, teacher, 2.0)
        return (
            5.0 * per_token.masked_mean(distillation, real)
            + 2.0 * per_token.masked_mean(predicted, ops.ravel(sample_weight))
            + per_token.masked_mean(cosine, real)
        )
