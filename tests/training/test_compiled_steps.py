"""Every step compiles under XLA to a module of static shapes that asks nothing of the host."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from support import tiny
from support.static_step import compiled, graph_faults, hlo_faults, module, opcodes, operations
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.pretrainer import MaskedLMPretrainer
from tf_distilbert.distillation.student import build_student
from tf_distilbert.training.optimizer import AdamW, WarmupThenDecay


def batch(packed=False):
    inputs, mask_ids, mask_weights = tiny.batch(0, rows=4)
    if packed:
        real, second = inputs["padding_mask"], np.arange(16) >= 7
        inputs["sequence_ids"] = np.where(real, 1 + second, 0).astype("int32")
        inputs["position_ids"] = np.tile(np.arange(16) - 7 * second, (4, 1)).astype("int32")
    return tf.nest.map_structure(tf.constant, (inputs, mask_ids, mask_weights))


def compile_trainer(trainer):
    schedule = WarmupThenDecay(1e-2, 0, 10)
    # A larger epsilon, as in test_trainer; and a norm that all gradients exceed.
    trainer.compile(AdamW(schedule, epsilon=1e-4, weight_decay=0.1, clip_norm=0.1))
    return trainer


def distiller(dropout=0.0, **options):
    teacher = tiny.model(seed=1, num_layers=1)
    rates = {"dropout": dropout, "attention_dropout": dropout}
    student = build_student(tiny.model(seed=1, num_layers=1, **rates), num_layers=1)
    return compile_trainer(Distiller(teacher, student, seed=5, **options))


def pretrainer(dropout=0.0, **options):
    model = tiny.model(num_layers=1, dropout=dropout, attention_dropout=dropout)
    return compile_trainer(MaskedLMPretrainer(model, seed=5, **options))


KINDS = {
    "all positions": (distiller, {"mse_weight": 1e-3}),
    "masked positions": (distiller, {"distillation_positions": "masked"}),
    "without the logits' mse": (distiller, {}),
    "pretraining": (pretrainer, {}),
}
slow, long = pytest.mark.slow, pytest.mark.long


def everyday_and_long(everyday, others):
    return [*everyday, *(pytest.param(*values, marks=long) for values in others)]


def assert_static(step, batch):
    function = compiled(step)
    assert graph_faults(function.get_concrete_function(batch)) == []
    assert hlo_faults(module(function, batch)) == []


@pytest.mark.parametrize(
    ("kind", "micro_batches", "packed"),
    everyday_and_long(
        [
            ("all positions", 2, True),
            ("masked positions", 1, False),
            ("pretraining", 1, False),
        ],
        [
            ("all positions", 1, False),
            ("all positions", 2, False),
            ("masked positions", 2, True),
            ("without the logits' mse", 1, True),
            ("without the logits' mse", 2, False),
            ("pretraining", 2, False),
            ("pretraining", 2, True),
        ],
    ),
)
def test_a_training_step_is_static(kind, micro_batches, packed):
    make, options = KINDS[kind]
    trainer = make(dropout=0.1, micro_batches=micro_batches, **options)
    assert_static(trainer.train_step, batch(packed))


@pytest.mark.parametrize(
    ("kind", "packed"),
    everyday_and_long(
        [("all positions", True), ("pretraining", False)],
        [("all positions", False), ("masked positions", False), ("pretraining", True)],
    ),
)
def test_a_validation_step_is_static(kind, packed):
    make, options = KINDS[kind]
    assert_static(make(dropout=0.1, **options).test_step, batch(packed))


@slow
def test_steps_in_bfloat16_are_static():
    keras.config.set_dtype_policy("mixed_bfloat16")
    trainer = distiller(dropout=0.1, micro_batches=2)
    assert_static(trainer.train_step, batch())
    assert_static(trainer.test_step, batch())


def test_the_modules_hold_what_the_steps_are_made_of():
    """Nothing would be found in a module that is empty, or that is read wrongly."""
    function = compiled(pretrainer(dropout=0.1, micro_batches=2).train_step)
    of_training = opcodes(module(function, batch()))
    assert {"dot", "while", "conditional", "rng-bit-generator", "gather"} <= of_training
    # The first is within a branch, the second within a loop.
    in_functions = {"ResourceApplyAdam", "BatchMatMulV2"}
    assert in_functions <= operations(function.get_concrete_function(batch()))


@long  # the everyday one is in test_trainer
@pytest.mark.parametrize(
    ("kind", "micro_batches", "packed"),
    [
        ("all positions", 2, True),
        ("masked positions", 1, False),
        ("without the logits' mse", 2, False),
        ("pretraining", 1, True),
    ],
)
def test_compiled_steps_give_the_same_figures(kind, micro_batches, packed):
    """Without dropout: of the same seed, XLA draws other random numbers than TensorFlow."""
    make, options = KINDS[kind]
    figures, weights = [], []
    for wrap in (tf.function(autograph=False), compiled):
        trainer = make(micro_batches=micro_batches, **options)
        train, test = wrap(trainer.train_step), wrap(trainer.test_step)
        found = [train(batch(packed)), train(batch(packed))]  # the second with new weights
        trainer.reset_metrics()
        found.append(test(batch(packed)))
        figures.append([{n: float(v) for n, v in step.items()} for step in found])
        weights.append(tiny.weights(trainer))
    for uncompiled, with_xla in zip(*figures, strict=True):
        assert uncompiled.keys() == with_xla.keys()
        for name, value in uncompiled.items():
            assert with_xla[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name
    np.testing.assert_allclose(*weights, rtol=0, atol=1e-5)


@long
def test_a_compiled_run_with_dropout_is_the_same_again():
    weights = []
    for dropout in (0.1, 0.1, 0.0):
        trainer = distiller(dropout=dropout, micro_batches=2)
        step = compiled(trainer.train_step)
        for _ in range(3):
            step(batch())
        weights.append(tiny.weights(trainer))
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).mean() > 0.9


@slow
@pytest.mark.parametrize("kind", ["all positions", "pretraining"])
def test_what_the_compiler_makes_of_a_step_asks_nothing_of_the_host(kind):
    make, options = KINDS[kind]
    trainer = make(dropout=0.1, micro_batches=2, **options)
    for step in (trainer.train_step, trainer.test_step):
        optimised = module(compiled(step), batch(), stage="optimized_hlo")
        # On a processor: its libraries for products of matrices and for the largest of many.
        assert hlo_faults(optimised, own_calls=("__onednn$", "TopK")) == []


def unknown_size(values):
    return tf.reduce_sum(tf.boolean_mask(values, values > 0) * 2.0)


def unknown_size_in_a_loop(values):
    def body(i, total):
        return i + 1, total + tf.cast(tf.size(tf.unique(values)[0]), "float32")

    return tf.while_loop(lambda i, _: i < 3, body, (0, 0.0))[1]


def asks_python(values):
    return values + tf.py_function(lambda x: x * 2.0, [values], tf.float32)


def asks_numpy_in_a_branch(values):
    def ask():
        return tf.numpy_function(np.sin, [values], tf.float32)

    return tf.cond(tf.reduce_sum(values) > 0, ask, lambda: values)


def prints(values):
    tf.print(values)
    return values


@pytest.mark.parametrize(
    ("function", "op"),
    [
        (unknown_size, "Where"),
        (unknown_size_in_a_loop, "Unique"),
        (asks_python, "EagerPyFunc"),
        (asks_numpy_in_a_branch, "PyFunc"),
        (prints, "PrintV2"),
    ],
)
def test_a_fault_in_the_graph_is_found(function, op):
    concrete = compiled(function).get_concrete_function(tf.constant([1.0, -2.0, 3.0]))
    assert op in graph_faults(concrete)


@pytest.mark.parametrize("function", [unknown_size, unknown_size_in_a_loop])
def test_a_dynamic_shape_in_the_module_is_found(function):
    assert hlo_faults(module(compiled(function), tf.constant([1.0, -2.0, 3.0])))


def test_a_function_with_python_in_it_does_not_compile():
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match="EagerPyFunc"):
        module(compiled(asks_python), tf.constant([1.0, -2.0, 3.0]))


CALLS = {
    "xla_python_cpu_callback": "%c.1 = (f32[3]{0}) custom-call(f32[3]{0} %a.1), "
    'custom_call_target="xla_python_cpu_callback", api_version=API_VERSION_STATUS_RETURNING',
    "outfeed": "%o.1 = token[] outfeed(f32[3]{0} %a.1, token[] %t.1), outfeed_shape=f32[3]{0}",
    "send": "%s.1 = (f32[3]{0}, u32[], token[]) send(f32[3]{0} %a.1, token[] %t.1), channel_id=1",
    "f32[<=3,4]": "%d.1 = f32[<=3,4]{1,0} add(f32[<=3,4]{1,0} %a.1, f32[<=3,4]{1,0} %a.1)",
    "get-dimension-size": "%g.1 = s32[] get-dimension-size(f32[3]{0} %a.1), dimensions={0}",
}


@pytest.mark.parametrize("fault", CALLS)
def test_a_fault_in_a_module_is_found(fault):
    harmless = "%h.1 = f32[1,3]{1,0} dynamic-slice(f32[9,3]{1,0} %a.1, s32[] %i.1, s32[] %i.2)"
    assert hlo_faults(harmless) == []
    assert fault in hlo_faults(f"{harmless}\n  ROOT {CALLS[fault]}")


def test_a_library_of_the_device_is_told_from_the_host():
    own = '%m = f32[3]{0} custom-call(f32[3]{0} %a), custom_call_target="__onednn$matmul"'
    assert hlo_faults(own) == ["__onednn$matmul", "custom-call"]
    assert hlo_faults(own, own_calls=["__onednn$"]) == []
    assert hlo_faults(f"{own}\n{CALLS['xla_python_cpu_callback']}", own_calls=["__onednn$"])
