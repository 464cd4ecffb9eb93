"""Our updates in a row on JAX, driven as Keras's `fit` drives them; needs no TensorFlow."""

import gc
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import keras

from tf_distilbert.architecture import Architecture
from tf_distilbert.benchmark.batch import random_batch
from tf_distilbert.distiller import Distiller
from tf_distilbert.masked_language_model import MaskedLanguageModel
from tf_distilbert.optimization import AdamW

# What `Monitor` reads after each step of a run.
WATCHED = ("skipped_in_a_row", "stop_requested", "skipped_updates")


class JaxRun:
    """Updates by `Distiller`; each call makes some and waits for the last.

    Args:
        teacher, student: fields of `Architecture`.
        batch_size, sequence_length: of the batch, which is the same in every step.
        precision: a Keras policy.
        steps: how many updates a call makes.
        watched: whether each step is waited for, because the figures are read that a run's monitor
            reads. Otherwise the host prepares the next steps while the device computes.
        options: of `Distiller`, the models aside.
    """

    def __init__(
        self,
        teacher: Mapping[str, Any],
        student: Mapping[str, Any],
        batch_size: int,
        sequence_length: int,
        precision: str = "mixed_bfloat16",
        steps: int = 1,
        watched: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.steps, self._watched = steps, watched
        keras.config.set_dtype_policy(precision)
        keras.utils.set_random_seed(0)
        self.distiller = Distiller(
            MaskedLanguageModel(Architecture(**teacher)),
            MaskedLanguageModel(Architecture(**student)),
            **options or {},
        )
        self.distiller.compile(AdamW(5e-4, clip_norm=5.0))
        gc.collect()  # the teacher in float32, of which the distiller has made its copy
        self.distiller.make_train_function()
        # Taken out of the variables: a step gives the memory of one state to the next.
        self._state = self.distiller._get_jax_state(
            trainable_variables=True,
            non_trainable_variables=True,
            optimizer_variables=True,
            metrics_variables=True,
            purge_model_variables=True,
        )
        batch = random_batch(teacher["vocabulary_size"], batch_size, sequence_length)
        self._batches = itertools.repeat(jax.device_put(batch))
        # The loss that a step gives is the mean over all steps so far.
        self._steps_made, self._sum_of_losses = 0, 0.0

    def __call__(self) -> dict[str, Any]:
        """Make updates and wait for the last.

        Returns:
            ``first_loss`` and ``last_loss`` of these updates, and ``device_peak_bytes``: the most
            memory of the device that this process has held; None for a processor.
        """
        means = []
        for _ in range(self.steps):
            logs, self._state = self.distiller.train_function(self._state, self._batches)
            if self._watched:
                for name in WATCHED:
                    float(logs[name])
            means.append(logs["loss"])
        jax.block_until_ready(self._state)
        losses = [self._loss_of_step(float(mean)) for mean in means]
        memory = jax.local_devices()[0].memory_stats() or {}
        return {
            "first_loss": losses[0],
            "last_loss": losses[-1],
            "device_peak_bytes": memory.get("peak_bytes_in_use"),
        }

    def _loss_of_step(self, mean: float) -> float:
        """Give the loss of the next step, after which the mean of all is this."""
        self._steps_made += 1
        before, self._sum_of_losses = self._sum_of_losses, mean * self._steps_made
        return self._sum_of_losses - before


def run(**arguments: Any) -> dict[str, Callable[[], dict[str, Any]]]:
    """Give the case ``steps``; arguments as in `JaxRun`."""
    return {"steps": JaxRun(**arguments)}
