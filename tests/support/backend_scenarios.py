"""What two backends are to compute alike. All follows from NumPy's seeds."""

import keras
import numpy as np
import tensorflow as tf

from support import tiny
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.pretrainer import MaskedLMPretrainer
from tf_distilbert.distillation.student import build_student
from tf_distilbert.training.optimizer import AdamW, WarmupThenDecay

UPDATES = 20
ROWS = 8
TERMS = ("distillation", "mlm", "cosine", "mse")


def packed_batch(seed):
    """Two sequences a row, each with its own positions."""
    inputs, mask_ids, mask_weights = tiny.batch(seed, rows=ROWS)
    halves = np.repeat([[0, 1]], 8, 1).reshape(1, 16)
    halves = np.tile(np.sort(halves, axis=1), (ROWS, 1)).astype("int32")
    positions = np.tile(np.arange(8), (ROWS, 2)).astype("int32")
    packed = {"sequence_ids": halves, "position_ids": positions}
    return {**inputs, **packed}, mask_ids, mask_weights


def stream(make_batch, number):
    parts = [tf.data.Dataset.from_tensors(make_batch(seed)) for seed in range(number)]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.concatenate(part)
    return whole


def rows_of(seed):
    return tiny.batch(seed, rows=ROWS)


def distiller(**options):
    teacher = tiny.model(seed=1, num_layers=2)
    student = build_student(tiny.model(seed=2, num_layers=2), num_layers=1)
    return Distiller(teacher, student, seed=5, **options)


def one_gradient(trainer, make_batch=rows_of):
    """The gradient of one batch, by a step of SGD at rate 1, and the logs."""
    trainer.compile(keras.optimizers.SGD(1.0))
    before = tiny.weights(trainer)
    logs = trainer.fit(stream(make_batch, 1), verbose=0).history
    del logs["tokens_per_second"]
    logs = {name: np.array(values) for name, values in logs.items()}
    return logs | {"gradient": before - tiny.weights(trainer)}


def hidden_states():
    found = {}
    for name, make in (("bert", tiny.model), ("roberta", tiny.roberta)):
        model = make(seed=3, num_layers=2)
        for kind, inputs in (("plain", rows_of(1)[0]), ("packed", packed_batch(1)[0])):
            for i, state in enumerate(model.hidden_states(inputs)):
                found[f"{name}_{kind}_{i}"] = np.array(state)
            found[f"{name}_{kind}_logits"] = np.array(model(inputs))
    return found


def one_term(term, positions):
    weights = {f"{name}_weight": float(name == term) for name in TERMS}
    return one_gradient(distiller(distillation_positions=positions, **weights))


def small_chunks():
    """128 tokens in four chunks, the last of which is filled up."""
    return one_gradient(distiller(chunk_size=40, mse_weight=1e-3))


def packed():
    return one_gradient(distiller(mse_weight=1e-3), packed_batch)


def inner_terms(make_batch=rows_of, **options):
    """Relations and hidden states of a student that is half as wide, through projections."""
    teacher = tiny.model(seed=1, num_layers=2)
    student = tiny.model(seed=2, num_layers=2, hidden_size=8, num_segments=0, family="distilbert")
    weights = {"distillation_weight": 0.0, "mlm_weight": 0.0, "cosine_weight": 0.0}
    weights |= {"relation_weight": 3.0, "hidden_weight": 1.0}
    trainer = Distiller(teacher, student, seed=5, **weights, **options)
    generator = np.random.default_rng(7)
    for projection in trainer.hidden_states.projections:
        projection.kernel.assign(generator.standard_normal((8, 16)))
    return one_gradient(trainer, make_batch)


def pretraining():
    return one_gradient(MaskedLMPretrainer(tiny.model(seed=3, num_layers=2), seed=5))


def in_precision(precision, compute=lambda: one_gradient(distiller(mse_weight=1e-3))):
    keras.config.set_dtype_policy(precision)
    try:
        return compute()
    finally:
        keras.config.set_dtype_policy("float32")


def by_optimizer(optimizer):
    """Three updates, one that is skipped, two more."""
    trainer = distiller()
    trainer.compile(optimizer)

    def make_batch(seed):
        inputs, mask_ids, mask_weights = rows_of(seed)
        return inputs, mask_ids, mask_weights * np.float32("nan" if seed == 3 else 1)

    logs = trainer.fit(stream(make_batch, 6), verbose=0).history
    del logs["tokens_per_second"]
    logs["iterations"] = [int(trainer.optimizer.iterations.numpy())]
    logs["weights"] = tiny.weights(trainer.student)
    return {name: np.array(values) for name, values in logs.items()}


def loss_scale():
    inner = AdamW(1e-2, epsilon=1e-4, clip_norm=0.5)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, dynamic_growth_steps=2)
    found = by_optimizer(optimizer)
    return found | {"scale": np.array([float(optimizer.dynamic_scale.numpy())])}


def executions():
    found = {}
    for at_once in (1, 2, 3):
        trainer = distiller()
        trainer.compile(AdamW(1e-2, epsilon=1e-4), steps_per_execution=at_once)
        data = stream(rows_of, 7)
        logs = trainer.fit(data, verbose=0, validation_data=data.take(2)).history
        logs["limited"] = trainer.evaluate(data.repeat(), steps=5, verbose=0)
        logs["weights"] = tiny.weights(trainer.student)
        names = ("loss", "val_loss", "limited", "weights")
        found |= {f"{at_once} {name}": np.array(logs[name]) for name in names}
    return found


def fractional():

    def make_batch(seed):
        inputs, mask_ids, mask_weights = rows_of(seed)
        return inputs, mask_ids, mask_weights * np.linspace(0.1, 2, ROWS, dtype="float32")[:, None]

    return one_gradient(distiller(mse_weight=1e-3), make_batch)


def updates(micro_batches=1, make_batch=rows_of, **compiling):
    """The figures of each of 20 updates, of a validation, and the weights."""
    weights = {"mse_weight": 1e-3, "relation_weight": 3.0, "hidden_weight": 0.5}
    trainer = distiller(micro_batches=micro_batches, **weights)
    # A larger epsilon, as in test_trainer: the keys' biases have no gradient but rounding.
    schedule = WarmupThenDecay(1e-2, 3, UPDATES + 1)
    with trainer.scope():
        optimizer = AdamW(schedule, epsilon=1e-4, weight_decay=0.1, clip_norm=0.5)
        trainer.compile(optimizer, **compiling)
    found = trainer.fit(stream(make_batch, UPDATES), steps_per_epoch=1, epochs=UPDATES, verbose=0)
    logs = {name: np.array(v) for name, v in found.history.items() if name != "tokens_per_second"}
    figures = trainer.evaluate(stream(lambda _: rows_of(100), 1), verbose=0, return_dict=True)
    logs |= {f"val_{name}": np.array([value]) for name, value in figures.items()}
    return logs | {"weights": tiny.weights(trainer)}


COMMON = {
    "hidden_states": hidden_states,
    "distillation_all": lambda: one_term("distillation", "all"),
    "distillation_masked": lambda: one_term("distillation", "masked"),
    "mlm": lambda: one_term("mlm", "all"),
    "cosine": lambda: one_term("cosine", "all"),
    "mse_all": lambda: one_term("mse", "all"),
    "mse_masked": lambda: one_term("mse", "masked"),
    "inner_terms": inner_terms,
    "inner_terms_packed": lambda: inner_terms(packed_batch),
    "inner_terms_in_parts": lambda: inner_terms(micro_batches=4),
    "small_chunks": small_chunks,
    "packed": packed,
    "pretraining": pretraining,
    "bfloat16": lambda: in_precision("mixed_bfloat16"),
    "float16": lambda: in_precision("mixed_float16"),
    "updates": updates,
    "fractional": fractional,
    "executions": executions,
    "momentum": lambda: by_optimizer(keras.optimizers.SGD(0.01, momentum=0.9)),
    "adam": lambda: by_optimizer(
        keras.optimizers.Adam(0.01, epsilon=1e-3, global_clipnorm=0.5, use_ema=True)
    ),
    "average": lambda: by_optimizer(AdamW(1e-2, epsilon=1e-4, use_ema=True, ema_momentum=0.6)),
    "loss_scale": loss_scale,
}
"""Computed on both backends under the same name."""
