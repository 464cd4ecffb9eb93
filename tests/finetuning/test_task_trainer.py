"""Fine-tuning's losses and gradients against an independent computation in NumPy and PyTorch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from support import tiny
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.trainer import TaskTrainer
from tf_distilbert.models.task_models import QuestionAnswerer, SequenceClassifier, TokenClassifier

LABELS = ("no", "yes", "maybe")
ROWS, LENGTH = 6, 16


def made(kind, seed, **sizes):
    architecture = tiny.architecture(**sizes)
    model = {
        "classification": lambda: SequenceClassifier(architecture, LABELS, head_dropout=0.0),
        "regression": lambda: SequenceClassifier(architecture, ["score"], head_dropout=0.0),
        "words": lambda: TokenClassifier(architecture, LABELS, head_dropout=0.0),
        "questions": lambda: QuestionAnswerer(architecture),
    }[kind]()
    generator = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        noise = 0.2 * generator.standard_normal(variable.shape)
        variable.assign(noise + (variable.name == "gamma"))
    return model


def batch(kind, seed=0):
    """The last row has no weight; what it holds must not matter."""
    generator = np.random.default_rng(seed)
    inputs = tiny.batch(seed, rows=ROWS, length=LENGTH)[0]
    del inputs["mask_positions"]
    lengths = inputs["padding_mask"].sum(1)
    shape = (ROWS, LENGTH) if kind == "words" else (ROWS,)
    targets = generator.integers(0, len(LABELS), shape).astype("int32")
    weights = np.ones(shape, "float32")
    weights[-1] = 0
    if kind == "words":
        weights *= inputs["padding_mask"] & (generator.random(shape) < 0.7)
    if kind == "regression":
        targets = generator.normal(size=ROWS).astype("float32")
    if kind == "questions":
        places = np.arange(LENGTH)[None]
        possible = (places == 0) | ((places > 4) & (places < lengths[:, None] - 1))
        inputs["answer_mask"] = possible
        targets = np.stack([[5] * ROWS, lengths - 2], 1).astype("int32")
    return inputs, targets, weights


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def expected(kind, student, teacher, data, temperature):
    """The three terms in float64, from the models' outputs."""
    inputs, targets, weights = data
    logits, of_teacher = (np.float64(model(inputs)) for model in (student, teacher))
    if kind == "questions":
        losses, divergences = [], []
        for row in range(ROWS):
            possible = inputs["answer_mask"][row]
            place = np.cumsum(possible) - 1
            both = zip(logits[row].T, of_teacher[row].T, targets[row], strict=True)
            for ours, theirs, target in both:
                q = softmax(ours[possible])
                losses.append(-np.log(q[place[target]]))
                p, q = (softmax(x[possible] / temperature) for x in (theirs, ours))
                divergences.append(temperature**2 * (p * np.log(p / q)).sum())
        losses, divergences = (np.reshape(x, (ROWS, 2)).mean(1) for x in (losses, divergences))
    elif kind == "regression":
        losses = (logits[:, 0] - targets) ** 2
        divergences = (logits[:, 0] - of_teacher[:, 0]) ** 2
    else:
        losses = -np.log(np.take_along_axis(softmax(logits), targets[..., None], -1))[..., 0]
        p, q = softmax(of_teacher / temperature), softmax(logits / temperature)
        divergences = temperature**2 * (p * np.log(p / q)).sum(-1)
    mean = lambda values: (values * weights).sum() / weights.sum()  # noqa: E731
    states = [model.hidden_states(inputs) for model in (student, teacher)]
    real = inputs["padding_mask"]
    pairs = [(1, 2), (2, 4)]  # every second one of the teacher's four layers
    distances = [(np.float64(states[0][i]) - np.float64(states[1][j])) ** 2 for i, j in pairs]
    hidden = np.mean([d.mean(-1)[real].mean() for d in distances])
    return {
        "task_loss": mean(losses),
        "distillation_loss": mean(divergences),
        "hidden_loss": hidden,
    }


KINDS = ("classification", "regression", "words", "questions")


@pytest.mark.parametrize("kind", KINDS)
def test_the_terms_are_those_of_an_independent_computation(kind):
    student, teacher = made(kind, 1, num_layers=2), made(kind, 2, num_layers=4)
    data = batch(kind)
    trainer = TaskTrainer(student, teacher, temperature=3.0, hidden_weight=0.25, seed=1)
    trainer.compile(keras.optimizers.SGD(0.0))
    figures = trainer.evaluate(tf.data.Dataset.from_tensors(data), verbose=0, return_dict=True)
    terms = expected(kind, student, teacher, data, temperature=3.0)
    for name, value in terms.items():
        # The divergence is a difference of logarithms, times 9: float32 rounds these to 1e-7.
        tolerance = {"abs": 9e-7} if name == "distillation_loss" else {"rel": 2e-6}
        assert figures[name] == pytest.approx(value, **tolerance), name
    weights = {"task_loss": 0.5, "distillation_loss": 0.5, "hidden_loss": 0.25}
    total = sum(weight * terms[name] for name, weight in weights.items())
    assert figures["loss"] == pytest.approx(total, rel=2e-6, abs=9e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_the_losses(kind):
    """By differences of the loss itself, along the gradient."""
    student, teacher = made(kind, 1, num_layers=2), made(kind, 2, num_layers=4)
    trainer = TaskTrainer(student, teacher, hidden_weight=0.25, seed=1)
    trainer.compile(keras.optimizers.SGD(1.0))
    data = tf.data.Dataset.from_tensors(batch(kind))
    before = [np.array(v.value) for v in student.trainable_variables]
    trainer.fit(data, verbose=0)
    gradient = [
        b - np.array(v.value) for b, v in zip(before, student.trainable_variables, strict=True)
    ]
    length = np.sqrt(sum((g.astype("float64") ** 2).sum() for g in gradient))

    def loss(distance):
        for variable, value, part in zip(
            student.trainable_variables, before, gradient, strict=True
        ):
            variable.assign(value + distance * part / length)
        return trainer.evaluate(data, verbose=0, return_dict=True)["loss"]

    step = 1e-3
    slope = (loss(step) - loss(-step)) / (2 * step)
    assert slope == pytest.approx(length, rel=5e-3)


def test_without_a_teacher_the_labels_count_alone():
    student, data = made("classification", 1), batch("classification")
    trainer = TaskTrainer(student)
    trainer.compile(keras.optimizers.SGD(0.0))
    figures = trainer.evaluate(tf.data.Dataset.from_tensors(data), verbose=0, return_dict=True)
    assert figures.keys() == {"loss", "task_loss", "accuracy"}
    assert figures["loss"] == figures["task_loss"]
    guess = np.array(student(data[0])).argmax(-1)[:-1]
    assert figures["accuracy"] == pytest.approx((guess == data[1][:-1]).mean())


def test_a_wider_teachers_hidden_states_are_compared_through_learned_maps():
    """The tests of `Distiller`, which has the same term, have the values; here it learns."""
    student = made("classification", 1, num_layers=2)
    trainer = TaskTrainer(student, made("classification", 2, hidden_size=32), hidden_weight=1.0)
    trainer.compile(keras.optimizers.Adam(1e-2))
    maps = trainer.trainable_variables[len(student.trainable_variables) :]
    assert [tuple(each.shape) for each in maps] == [(16, 32), (16, 32)]
    data = tf.data.Dataset.from_tensors(batch("classification")).repeat(40)
    logs = trainer.fit(data, steps_per_epoch=20, epochs=2, verbose=0).history
    assert logs["hidden_loss"][1] < 0.8 * logs["hidden_loss"][0]


def test_micro_batches_add_up():
    found = []
    for parts in (1, 3):
        student = made("questions", 1, num_layers=2)
        trainer = TaskTrainer(student, made("questions", 2), micro_batches=parts)
        trainer.compile(keras.optimizers.SGD(0.1))
        trainer.fit(tf.data.Dataset.from_tensors(batch("questions")), verbose=0)
        found.append(tiny.weights(student))
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("teacher", "options", "message"),
    [
        (lambda: made("words", 2), {}, "is a model for token_classification, the student is one"),
        (
            lambda: SequenceClassifier(tiny.architecture(), ["a", "b", "c"]),
            {},
            "the teacher knows the labels a, b, c, the student no, yes, maybe",
        ),
        (lambda: made("classification", 2), {"temperature": 0.0}, "temperature is 0.0; it must"),
        (lambda: made("classification", 2), {"task_weight": -1.0}, "weight of task_loss is -1.0"),
        (
            lambda: made("classification", 2),
            {"hidden_weight": 1.0, "hidden_layers": [[9, 0]]},
            r"loss.hidden_layers names teacher layer 9; the teacher has layers 0 to 3",
        ),
    ],
)
def test_what_does_not_fit_is_refused(teacher, options, message):
    with pytest.raises(UserError, match=message):
        TaskTrainer(made("classification", 1), teacher(), **options)
