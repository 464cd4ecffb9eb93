"""What is computed on JAX, on eight virtual devices: `python jax_scenarios.py FILE` writes it down.

Run as a program under KERAS_BACKEND=jax: what TensorFlow computes too, and what JAX has alone.
"""

import os
import sys
from itertools import pairwise
from pathlib import Path

if __name__ == "__main__":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
    sys.path[:0] = [str(Path(__file__).parents[number]) for number in (1, 2)]

import keras
import numpy as np

from support import tiny
from support.backend_scenarios import (
    COMMON,
    ROWS,
    distiller,
    in_precision,
    inner_terms,
    packed_batch,
    rows_of,
    small_chunks,
    stream,
    updates,
)
from tf_distilbert.distillation.pretrainer import MaskedLMPretrainer
from tf_distilbert.errors import UserError
from tf_distilbert.training.optimizer import AdamW


def on_devices(number, **options):
    from keras.distribution import DataParallel, list_devices

    with DataParallel(devices=list_devices()[:number], auto_shard_dataset=False).scope():
        return updates(**options)


def skipped_on_devices():
    """One bad row, on the last of eight devices."""

    def make_batch(seed):
        inputs, mask_ids, mask_weights = rows_of(seed)
        positions = np.tile(np.arange(16, dtype="int32"), (ROWS, 1))
        positions[-1, 0] = 20 if seed == 3 else 0
        return {**inputs, "position_ids": positions}, mask_ids, mask_weights

    from keras.distribution import DataParallel

    with DataParallel(auto_shard_dataset=False).scope():
        model = tiny.model(num_layers=1)
        table = np.array(model.encoder.position_table.value)
        table[20] = np.nan
        model.encoder.position_table.assign(table)
        trainer = MaskedLMPretrainer(model, seed=1)
        trainer.compile(AdamW(1e-2, clip_norm=0.5))
        weights, logs = [], []
        for seed in range(6):
            history = trainer.fit(stream(lambda _, s=seed: make_batch(s), 1), verbose=0).history
            in_a_row = float(trainer.signals["skipped_in_a_row"])
            logs.append([history["skipped_updates"][0], in_a_row])
            weights.append(tiny.weights(trainer))
    weights = np.nan_to_num(weights)
    moved = [np.abs(b - a).max() for a, b in pairwise(weights)]
    return {"skipped": np.array(logs), "moved": np.array(moved)}


def dropped(seed, devices):
    """What a model with dropout learns in three steps on some devices."""
    from keras.distribution import DataParallel, list_devices

    with DataParallel(devices=list_devices()[:devices], auto_shard_dataset=False).scope():
        model = tiny.model(seed=3, num_layers=1, dropout=0.3, attention_dropout=0.2)
        trainer = MaskedLMPretrainer(model, seed=seed)
        trainer.compile(keras.optimizers.SGD(0.1))
        # Twice the same row: only dropout can tell replicas apart.
        trainer.fit(stream(lambda _: rows_of(0), 3), verbose=0)
    return {"weights": tiny.weights(trainer)}


def compilations():
    """How often a step is compiled for two shapes that come again, and what becomes of buffers."""
    import jax

    trainer = distiller()
    trainer.compile(AdamW(1e-3))
    compiled = []
    jit = jax.jit

    def noting(function, **options):
        result = jit(function, **options)
        compiled.append(result)
        return result

    jax.jit = noting
    try:
        trainer.make_train_function()
    finally:
        jax.jit = jit
    [step] = compiled
    for rows in (8, 8, 4, 8, 4):
        trainer.fit(stream(lambda _, r=rows: tiny.batch(0, rows=r), 2), verbose=0)
    number = step._cache_size()
    state = trainer._get_jax_state(
        trainable_variables=True,
        non_trainable_variables=True,
        optimizer_variables=True,
        metrics_variables=True,
    )
    trainer.train_function(state, iter([rows_of(0)]))
    weights_and_moments = [*state[0], *state[2]]
    return {
        "compilations": np.array([number]),
        "donated": np.array([array.is_deleted() for array in weights_and_moments]),
    }


def fused():
    """The path that a GPU takes, computed by plain XLA here."""
    from tf_distilbert.backend import kernels

    inputs = packed_batch(1)[0]
    model = tiny.model(seed=3, num_layers=2)
    plain = [np.asarray(state) for state in model.hidden_states(inputs)]
    original, kernels.has_fused_attention = kernels.has_fused_attention, lambda dtype: True
    try:
        found = [np.asarray(state) for state in model.hidden_states(inputs)]
    finally:
        kernels.has_fused_attention = original
    real = inputs["padding_mask"]
    return {"plain": np.stack(plain)[:, real], "fused": np.stack(found)[:, real]}


def whole_chunks():
    """Terms as a GPU computes them: not a few tokens, or relations, at a time."""
    from tf_distilbert.backend import devices

    original, devices.is_processor = devices.is_processor, lambda: False
    try:
        inner = {f"inner_{name}": value for name, value in inner_terms().items()}
        return small_chunks() | inner
    finally:
        devices.is_processor = original


def uneven():
    """A last batch that two devices cannot share: what is said."""
    from keras.distribution import DataParallel, list_devices

    said = []
    with DataParallel(devices=list_devices()[:2], auto_shard_dataset=False).scope():
        trainer = MaskedLMPretrainer(tiny.model(num_layers=1))
        trainer.compile(AdamW(1e-3))
        for method in (trainer.fit, trainer.evaluate):
            try:
                method(stream(lambda _: tiny.batch(rows=7), 1), verbose=0)
            except UserError as error:
                said.append(str(error))
    return {"said": np.array(said)}


JAX_ALONE = {
    "micro_batches_4": lambda: updates(4),
    "devices_1": lambda: on_devices(1),
    "devices_8": lambda: on_devices(8),
    "devices_4_by_2": lambda: on_devices(4, micro_batches=2),
    "skipped": skipped_on_devices,
    "uneven": uneven,
    "dropped": lambda: dropped(1, 2),
    "dropped_again": lambda: dropped(1, 2),
    "dropped_otherwise": lambda: dropped(2, 2),
    "compilations": compilations,
    "fused": fused,
    "whole_chunks": whole_chunks,
    "updates_float16": lambda: in_precision("mixed_float16", updates),
}
"""Compared with what is above, or with each other."""


def main(path):
    results = {}
    for name, scenario in (COMMON | JAX_ALONE).items():
        keras.utils.set_random_seed(1)
        found = scenario()
        results |= {f"{name}/{key}": value for key, value in found.items()}
    np.savez(path, **results)


if __name__ == "__main__":
    main(sys.argv[1])
