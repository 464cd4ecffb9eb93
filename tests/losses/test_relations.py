"""Contract of the relation loss: the float64 reference's value and gradient, however it is cut."""

import numpy as np
import pytest
import tensorflow as tf

from support import reference
from tf_distilbert.errors import UserError
from tf_distilbert.losses import relations
from tf_distilbert.losses.relations import common_relation_heads, relation_loss

HEADS = 4
TEACHER_SIZE, STUDENT_SIZE = 24, 16


class Example:
    """Three rows of different lengths; what weighs something is real."""

    def __init__(self, seed=0, scale=1.0, length=12):
        generator = np.random.default_rng(seed)
        shape = (3, length)
        self.student = scale * generator.standard_normal((*shape, 3 * STUDENT_SIZE))
        self.teacher = scale * generator.standard_normal((*shape, 3 * TEACHER_SIZE))
        self.student, self.teacher = self.student.astype("f"), self.teacher.astype("f")
        lengths = np.array([length, 9, 5])[:, None]
        self.padding_mask = np.arange(length)[None] < lengths
        self.weights = np.where(self.padding_mask, generator.random(shape), 0.0).astype("f")
        self.sequence_ids = None

    @property
    def related(self):
        """[B, S, S]: which columns each real row has."""
        related = self.padding_mask[:, None, :] & self.padding_mask[:, :, None]
        if self.sequence_ids is not None:
            ids = self.sequence_ids
            related &= ids[:, :, None] == ids[:, None, :]
        return related

    def run(self, *, wrap=lambda function: function, dtype="float32", **options):
        """Total, values and the gradient of the total."""

        @wrap
        def differentiate(student, teacher):
            with tf.GradientTape() as tape:
                tape.watch(student)
                total, values = relation_loss(
                    student,
                    teacher,
                    self.padding_mask,
                    self.weights,
                    sequence_ids=self.sequence_ids,
                    num_relation_heads=HEADS,
                    **options,
                )
            return total, values, tape.gradient(total, student)

        found = differentiate(tf.cast(self.student, dtype), tf.cast(self.teacher, dtype))
        return [np.asarray(tf.cast(each, "float32")) for each in found]

    def expected(self):
        arguments = self.student, self.teacher, self.related, HEADS
        values = reference.relation_loss(*arguments)
        gradient = reference.relation_gradient(*arguments, self.weights)
        return (self.weights * values).sum(), values, gradient


def assert_same(example, found, expected, tolerance=1e-6):
    """Within the tolerance of the largest number of each."""
    real = example.padding_mask
    np.testing.assert_allclose(found[0], expected[0], rtol=tolerance)
    np.testing.assert_allclose(
        found[1][real], expected[1][real], atol=tolerance * expected[1].max(), rtol=0
    )
    largest = np.abs(expected[2]).max()
    np.testing.assert_allclose(found[2], expected[2], atol=5 * tolerance * largest, rtol=0)


def test_the_reference_gradient_is_the_slope_of_the_reference():
    example = Example()
    direction = np.random.default_rng(1).standard_normal(example.student.shape)

    def total(step):
        student = example.student + step * direction
        values = reference.relation_loss(student, example.teacher, example.related, HEADS)
        return (example.weights * values).sum()

    slope = (total(1e-5) - total(-1e-5)) / 2e-5
    assert (example.expected()[2] * direction).sum() == pytest.approx(slope, rel=1e-7)


def test_by_hand():
    """Two tokens, one head: relations (1/2, 1/2) of the student, (3/4, 1/4) of the teacher."""
    # All of a token's products with the first are ln 3 more than with the second.
    teacher = np.tile(np.array([[[np.sqrt(np.log(3))], [0.0]]], "f"), (1, 1, 3))
    student = np.zeros((1, 2, 3), "f")
    total, values = relation_loss(
        tf.constant(student),
        tf.constant(teacher),
        np.ones((1, 2)),
        np.array([[2.0, 10.0]]),
        num_relation_heads=1,
    )
    divergence = 0.75 * np.log(0.75 / 0.5) + 0.25 * np.log(0.25 / 0.5)
    # The second token's products are all 0: its relation is even in both.
    np.testing.assert_allclose(values, [[divergence, 0.0]], atol=1e-7)
    assert float(total) == pytest.approx(2 * divergence, rel=1e-6)


# One head at a time, three, all of them at once; the last part is filled up.
@pytest.mark.parametrize("most", [1, 3 * 144, 5 * 144, 2**20])
def test_equals_the_reference_in_parts_of_any_size(most, compiled):
    def wrap(function):
        return tf.function(function, jit_compile=compiled, autograph=False)

    example = Example()
    assert_same(example, example.run(wrap=wrap, most_relations=most), example.expected())


@pytest.mark.parametrize("scale", [0.01, 30.0])
def test_flat_and_sharp_relations(scale):
    example = Example(scale=scale)
    expected = example.expected()
    found = example.run()
    if scale > 1:  # products of up to 10,000, which float32 has to 1e-3
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-4)
        np.testing.assert_allclose(found[2], expected[2], atol=1e-4 * np.abs(expected[2]).max())
    else:  # a loss of 1e-9 is the difference of numbers near ln 12
        np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


def test_packed_sequences_are_not_related():
    packed = Example()
    packed.sequence_ids = np.tile(np.repeat([0, 1], [7, 5]), (3, 1)).astype("int32")
    assert_same(packed, packed.run(most_relations=5 * 144), packed.expected())
    # Each sequence in a row of its own gives the same values and gradients.
    for columns in (slice(0, 7), slice(7, 12)):
        alone = Example()
        for name in ("student", "teacher", "padding_mask", "weights"):
            setattr(alone, name, getattr(alone, name)[:, columns])
        _, values, gradient = alone.run()
        found = packed.run()
        real = alone.padding_mask
        np.testing.assert_allclose(found[1][:, columns][real], values[real], atol=1e-6)
        np.testing.assert_allclose(found[2][:, columns], gradient, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_padding_may_hold_anything(bad):
    example = Example()
    expected = example.run()
    off = ~example.padding_mask
    example.student[off], example.teacher[off], example.weights[off] = bad, bad, bad
    found = example.run()
    for index in (0, 2):
        np.testing.assert_array_equal(found[index], expected[index])
    np.testing.assert_array_equal(found[1][~off], expected[1][~off])
    assert not found[2][off].any()


def test_what_is_not_finite_at_a_real_token_is_not_hidden():
    example = Example()
    example.student[0, 0] = np.nan
    total, _, gradient = example.run()
    assert np.isnan(total) and np.isnan(gradient).any()


def test_parts_of_a_batch_add_up_to_the_whole():
    example = Example()
    whole = example.run()
    parts = []
    for rows in (slice(0, 1), slice(1, 3)):
        part = Example()
        for name in ("student", "teacher", "padding_mask", "weights"):
            setattr(part, name, getattr(part, name)[rows])
        parts.append(part.run())
    assert whole[0] == pytest.approx(parts[0][0] + parts[1][0], rel=1e-6)
    for index in (1, 2):
        together = np.concatenate([part[index] for part in parts])
        np.testing.assert_allclose(together, whole[index], atol=1e-6)


def test_a_student_that_is_its_teacher():
    example = Example()
    example.teacher = example.student.copy()
    total, values, gradient = example.run()
    assert abs(total) < 1e-5
    np.testing.assert_allclose(values, 0.0, atol=1e-6)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


@pytest.mark.parametrize(("dtype", "error"), [("bfloat16", 2e-2), ("float16", 3e-3)])
def test_16_bits(dtype, error):
    """Compared with the reference on the numbers as they were rounded."""
    example = Example()
    for name in ("student", "teacher"):
        rounded = tf.cast(tf.cast(getattr(example, name), dtype), "float32")
        setattr(example, name, rounded.numpy())
    # What a token counts, times what a column has, is below what float16 has all digits of.
    example.weights *= 1e-2
    found, expected = example.run(dtype=dtype), example.expected()
    assert found[0] == pytest.approx(expected[0], rel=error)
    difference = np.linalg.norm(found[2] - expected[2])
    assert 0 < difference < error * np.linalg.norm(expected[2])


def test_upstream_and_without_gradient():
    example = Example()
    total, values, gradient = example.run()
    student = tf.constant(example.student)
    arguments = example.teacher, example.padding_mask, example.weights
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(student)
        again, by_token = relation_loss(student, *arguments, num_relation_heads=HEADS)
        tripled, of_values = 3.0 * again, tf.reduce_sum(by_token)
    np.testing.assert_allclose(tape.gradient(tripled, student), 3.0 * gradient, rtol=1e-6)
    assert tape.gradient(of_values, student) is None
    plain = relation_loss(student, *arguments, num_relation_heads=HEADS, with_gradient=False)
    np.testing.assert_allclose(plain[0], total, rtol=1e-6)
    np.testing.assert_allclose(plain[1], values, atol=1e-6)


def test_unknown_sizes():
    """Of a smaller last batch, and of other lengths, in one function."""
    example = Example()

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, 3 * STUDENT_SIZE)),
            tf.TensorSpec((None, None, 3 * TEACHER_SIZE)),
            tf.TensorSpec((None, None), tf.bool),
            tf.TensorSpec((None, None)),
        ]
    )
    def run(*arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments[0])
            found = relation_loss(*arguments, num_relation_heads=HEADS, most_relations=400)
        return (*found, tape.gradient(found[0], arguments[0]))

    for rows, columns in ((3, 12), (2, 9)):
        part = Example()
        for name in ("student", "teacher", "padding_mask", "weights"):
            setattr(part, name, getattr(example, name)[:rows, :columns])
        found = run(part.student, part.teacher, part.padding_mask, part.weights)
        assert_same(part, [np.asarray(each) for each in found], part.expected())


def test_the_number_of_heads():
    assert common_relation_heads(768, 384) == 48
    assert common_relation_heads(256, 128) == 32
    assert common_relation_heads(384, 312) == 24
    assert common_relation_heads(768, 768, 12) == 12
    for wanted, whose in ((5, "teacher's hidden size 768"), (256, "student's hidden size 384")):
        message = f"loss.relation_heads is {wanted}, which does not divide the {whose}"
        with pytest.raises(UserError, match=message):
            common_relation_heads(768, 384, wanted)


def test_relations_in_memory_are_few(monkeypatch):
    """No tensor of relations has more numbers than it may have."""
    sizes = []
    products = relations._products

    def seen(heads):
        found = products(heads)
        sizes.append(int(np.prod(found.shape)))
        return found

    monkeypatch.setattr(relations, "_products", seen)
    Example().run(most_relations=3 * 144)
    assert sizes and max(sizes) == 3 * 144 < 3 * 3 * HEADS * 144
