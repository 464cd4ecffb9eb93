"""Contract of the chunked vocabulary loss: the plain computation's value and gradients.

Both are compared with the float64 reference, and with `losses` on
full logits differentiated by a tape. Tolerance: 1e-6 of the total, 1e-5 of a gradient's largest
entry; float32 promises no more for entries that are sums of larger ones.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from support.devices import strategy_of
from support.vocabulary_example import (
    STUDENT_SIZE,
    TERMS,
    TOKENS,
    Example,
    assert_gradients,
    assert_same,
    logits,
)
from tf_distilbert.losses.vocabulary import Projection, TokenWeights, vocabulary_loss


# Many chunks are many ops to trace.
@pytest.mark.parametrize(
    "chunk_size", [pytest.param(1, marks=pytest.mark.long), 5, 8, 16, TOKENS, 1000]
)
@pytest.mark.parametrize("temperature", [1.0, 2.0, 8.0])
def test_equals_the_reference_and_the_plain_computation(chunk_size, temperature):
    example = Example()
    actual = example.run(temperature, chunk_size, wrap=tf.function)
    assert_same(actual, example.expected(temperature))
    assert_same(actual, example.run_plain(temperature))


@pytest.mark.parametrize("weights", [TERMS[:1], TERMS[1:2], TERMS[2:], TERMS[:2]])
def test_terms_left_out(weights):
    example = Example(weights=weights)
    actual = example.run()
    assert actual[1].keys() == {f"{name}_loss" for name in weights} | {"token_is_top", "tops_agree"}
    assert_same(actual, example.expected())


def test_large_logits():
    example = Example(scale=40.0)
    assert_same(example.run(), example.expected())


@pytest.mark.parametrize("wrap", [tf.function, lambda f: tf.function(f, jit_compile=True)])
def test_compiled(wrap):
    example = Example()
    assert_same(example.run(wrap=wrap), example.expected())


def test_unknown_number_of_tokens():
    example = Example()

    @tf.function(input_signature=[tf.TensorSpec((None, STUDENT_SIZE))])
    def total(hidden):
        student, rows = example.student._replace(hidden=hidden), tf.shape(hidden)[0]
        teacher = example.teacher._replace(hidden=tf.constant(example.teacher.hidden)[:rows])
        weights = TokenWeights(*(tf.constant(weight)[:rows] for weight in example.weights))
        ids = tf.constant(example.token_ids)[:rows]
        with tf.GradientTape() as tape:
            tape.watch(hidden)
            loss, values = vocabulary_loss(student, teacher, ids, weights, chunk_size=8)
        return loss, values, [tape.gradient(loss, hidden)]

    expected = example.expected()
    assert_same(total(example.student.hidden), (*expected[:2], expected[2][:1]))
    _, values, (gradient,) = total(example.student.hidden[:11])
    np.testing.assert_allclose(gradient, expected[2][0][:11], atol=1e-4)
    assert values["tops_agree"].shape == (11,)


def test_upstream_gradient_and_a_second_use_of_the_table():
    example = Example()
    parts = [tf.constant(part) for part in example.student]

    def through(function):
        with tf.GradientTape() as tape:
            tape.watch(parts)
            embedded = tf.gather(parts[1], [3, 3, 7])
            total = 3.0 * function(Projection(*parts)) + tf.reduce_sum(tf.sin(embedded))
        return [tf.convert_to_tensor(part) for part in tape.gradient(total, parts)]

    gradients = through(
        lambda student: vocabulary_loss(
            student, example.teacher, example.token_ids, example.weights, chunk_size=8
        )[0]
    )
    plain = [3 * part for part in example.expected()[2]]
    np.add.at(plain[1], [3, 3, 7], np.cos(example.student.table[[3, 3, 7]]))
    assert_gradients(gradients, plain)


def test_values_have_no_gradient():
    example = Example()
    hidden = tf.constant(example.student.hidden)
    with tf.GradientTape() as tape:
        tape.watch(hidden)
        student = example.student._replace(hidden=hidden)
        _, values = vocabulary_loss(student, example.teacher, example.token_ids, example.weights)
        total = tf.add_n(list(values.values()))
    assert tape.gradient(total, hidden) is None


def test_without_gradient():
    example = Example()
    arguments = (example.student, example.teacher, example.token_ids, example.weights)
    total, values = vocabulary_loss(*arguments, chunk_size=8, with_gradient=False)
    expected_total, expected_values, _ = example.run()
    np.testing.assert_allclose(total, expected_total, rtol=1e-6)
    assert values.keys() == expected_values.keys()
    for name, value in values.items():
        np.testing.assert_allclose(value, expected_values[name], rtol=1e-6, atol=1e-6)


def test_weights_of_zero():
    example = Example()
    example.weights = TokenWeights(*(np.zeros_like(weight) for weight in example.weights))
    total, _, gradients = example.run()
    assert total == 0
    assert not any(np.any(gradient) for gradient in gradients)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_does_not_count_may_hold_anything(bad):
    example = Example()
    expected = example.run()
    off = np.sum(example.weights, axis=0) == 0
    assert off.any()
    for projection in (example.student, example.teacher):
        projection.hidden[off] = bad
    total, _, gradients = example.run()
    np.testing.assert_allclose(total, expected[0], rtol=1e-6)
    assert_gradients(gradients, expected[2])


def test_a_bad_teacher_does_not_reach_the_mlm_term():
    example = Example(weights=TERMS[:2])
    expected = example.run()
    example.teacher.hidden[example.weights.distillation == 0] = np.nan
    total, _, gradients = example.run()
    np.testing.assert_allclose(total, expected[0], rtol=1e-6)
    assert_gradients(gradients, expected[2])


def test_hits_at_the_top():
    example = Example()
    student = logits(example.student).numpy()
    example.token_ids = np.where(np.arange(TOKENS) % 2, student.argmax(-1), student.argmin(-1))
    teacher_like_student = np.arange(TOKENS) % 3 == 0
    # A bias cannot differ by token: make the models equal and turn some of the teacher's rows.
    example.teacher = Projection(*(part.copy() for part in example.student))
    example.teacher.hidden[~teacher_like_student] *= -1
    teacher = logits(example.teacher).numpy()
    _, values, _ = example.run()
    np.testing.assert_array_equal(values["token_is_top"], np.arange(TOKENS) % 2)
    agree = student.argmax(-1) == teacher.argmax(-1)
    assert 0 < agree.sum() < TOKENS
    np.testing.assert_array_equal(values["tops_agree"], agree)


def test_micro_batches_in_a_loop():
    example = Example()

    def total(chosen):
        def pick(values):
            return tf.gather(values, chosen)

        student = example.student._replace(hidden=pick(example.student.hidden))
        teacher = example.teacher._replace(hidden=pick(example.teacher.hidden))
        table = tf.constant(example.student.table)
        with tf.GradientTape() as tape:
            tape.watch(table)
            weights = TokenWeights(*map(pick, example.weights))
            student = student._replace(table=table)
            loss, _ = vocabulary_loss(student, teacher, pick(example.token_ids), weights, 2.0, 8)
        return loss, tape.gradient(loss, table)

    @tf.function
    def in_a_loop():
        def add(i, loss, gradient):
            more = total(i * 18 + tf.range(18))
            return i + 1, loss + more[0], gradient + more[1]

        start = (0, tf.zeros(()), tf.zeros(example.student.table.shape))
        return tf.while_loop(lambda i, *_: i < 2, add, start)[1:]

    halves = [total(tf.range(18)), total(tf.range(18, 36))]
    loss, gradient = in_a_loop()
    np.testing.assert_allclose(loss, sum(half[0] for half in halves), rtol=1e-6)
    assert_gradients([gradient], [sum(half[1] for half in halves)])


def test_replicas():
    """In another process: TensorFlow's devices cannot be split once it has started."""
    code = "import test_vocabulary_loss; test_vocabulary_loss.check_replicas()"
    folder = Path(__file__).parent
    paths = map(str, (folder, folder.parent, folder.parents[1]))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


def check_replicas():
    (device,) = tf.config.list_physical_devices("CPU")
    halves = [tf.config.LogicalDeviceConfiguration() for _ in range(2)]
    tf.config.set_logical_device_configuration(device, halves)
    strategy = strategy_of(2)
    example = Example()
    with strategy.scope():
        variables = [tf.Variable(part) for part in example.student[1:]]
        teacher_table = tf.Variable(example.teacher.table)

    @tf.function
    def step():
        def replica():
            half = tf.distribute.get_replica_context().replica_id_in_sync_group
            rows = half * 18 + tf.range(18 + half)  # 18 and 19 tokens
            hidden, teacher_hidden, ids = (
                tf.gather(values, rows)
                for values in (example.student.hidden, example.teacher.hidden, example.token_ids)
            )
            weights = TokenWeights(*(tf.gather(weight, rows) for weight in example.weights))
            teacher = Projection(teacher_hidden, teacher_table, example.teacher.bias)
            with tf.GradientTape() as tape:
                student = Projection(hidden, *variables)
                loss, _ = vocabulary_loss(student, teacher, ids, weights, chunk_size=8)
            return loss, tape.gradient(loss, variables)

        shares = tf.nest.flatten(strategy.run(replica))
        return [strategy.reduce("SUM", share, axis=None) for share in shares]

    loss, *gradients = step()
    expected = example.expected()
    np.testing.assert_allclose(loss, expected[0], rtol=1e-6)
    assert_gradients(gradients, expected[2][1:])


def test_bfloat16():
    example = Example()
    expected = example.expected()
    for name in ("student", "teacher"):
        projection = getattr(example, name)
        setattr(example, name, projection._replace(hidden=tf.cast(projection.hidden, "bfloat16")))
    total, values, gradients = example.run(wrap=tf.function)
    assert total.dtype == tf.float32
    assert {value.dtype for value in values.values()} == {tf.float32}
    assert [gradient.dtype.name for gradient in gradients] == ["bfloat16", "float32", "float32"]
    np.testing.assert_allclose(total, expected[0], rtol=0.02)
    assert_gradients([tf.cast(part, "float32") for part in gradients], expected[2], tolerance=0.03)
