"""The training step's parts that differ by backend: those of the one that Keras runs on."""

import keras

if keras.backend.backend() == "jax":
    from tf_distilbert.jax_step import (
        StepModel,
        as_replicas_own,
        check_divisible,
        fold_in,
        global_norm,
        num_replicas,
        replica_seed,
        sum_of_calls,
        sum_over_replicas,
    )
else:
    from tf_distilbert.tensorflow_step import (
        StepModel,
        as_replicas_own,
        check_divisible,
        fold_in,
        global_norm,
        num_replicas,
        replica_seed,
        sum_of_calls,
        sum_over_replicas,
    )

__all__ = [
    "StepModel",
    "as_replicas_own",
    "check_divisible",
    "fold_in",
    "global_norm",
    "num_replicas",
    "replica_seed",
    "sum_of_calls",
    "sum_over_replicas",
]
