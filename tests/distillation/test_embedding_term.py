"""Models without a masked-LM head in a distiller: the vectors of texts, and the other terms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from support import tiny
from support.devices import strategy_of
from support.task_model import task_model
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.student import build_student
from tf_distilbert.errors import UserError
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.training.optimizer import AdamW

ALONE = {"distillation_weight": 0.0, "mlm_weight": 0.0, "cosine_weight": 0.0}
VECTORS = ALONE | {"embedding_weight": 2.0}


def pair(**settings):
    """A teacher whose vectors have 16 numbers, and a student of half its depth."""
    teacher = task_model("embedding", "bert", pooling="mean", normalize=True)
    student = tiny.encoder("embedding", seed=5, **settings)
    return teacher, student


def text_batch(seed=0, rows=8, empty=()):
    """Rows of which nothing is hidden; some may hold no text."""
    inputs, mask_ids, weights = tiny.batch(seed, rows)
    inputs["padding_mask"] = np.array(inputs["padding_mask"])
    inputs["padding_mask"][list(empty)] = False
    return inputs, mask_ids, 0 * weights


def measure(batch, teacher, student, **options):
    distiller = Distiller(teacher, student, **VECTORS | options)
    distiller.compile(AdamW(1e-3))
    data = tf.data.Dataset.from_tensors(batch)
    return distiller, distiller.evaluate(data, verbose=0, return_dict=True)


def vectors_of(model, inputs):
    """Means of the real tokens' last hidden states, and of length 1, in float64."""
    states = np.asarray(model.hidden_states(inputs)[-1], np.float64)
    found = np.stack([s[m].mean(0) for s, m in zip(states, inputs["padding_mask"], strict=True)])
    return found / np.linalg.norm(found, axis=1, keepdims=True) if model.normalize else found


def expected_loss(student, teacher, kind):
    if kind == "mse":
        return ((student - teacher) ** 2).mean(1)
    lengths = np.linalg.norm(student, axis=1) * np.linalg.norm(teacher, axis=1)
    return 1 - (student * teacher).sum(1) / lengths


@pytest.mark.parametrize("width", [16, 8])
@pytest.mark.parametrize("kind", ["cosine", "mse"])
def test_vectors_equal_the_float64_reference(kind, width):
    teacher, student = pair(hidden_size=width)
    batch = text_batch()
    distiller, found = measure(batch, teacher, student, embedding_loss=kind)
    ours = vectors_of(student, batch[0])
    if width != 16:
        ours = ours @ np.asarray(distiller.embeddings.projection.kernel, np.float64)
    expected = expected_loss(ours, vectors_of(teacher, batch[0]), kind).mean()
    assert found.keys() == {"loss", "embedding_loss"}
    assert found["embedding_loss"] == pytest.approx(expected, rel=1e-5)
    assert found["loss"] == pytest.approx(2 * expected, rel=1e-5)


def test_rows_without_a_text_count_nothing():
    teacher, student = pair()
    whole = text_batch(empty=(1, 6))
    rest = tf.nest.map_structure(lambda array: np.delete(array, (1, 6), axis=0), whole)
    _, found = measure(whole, teacher, student)
    _, expected = measure(rest, teacher, student)
    assert found["embedding_loss"] == pytest.approx(expected["embedding_loss"], rel=1e-6)


def trained(batch, pooling="mean", **options):
    """Weights after three steps, by name."""
    teacher = task_model("embedding", "bert", pooling=pooling)
    student = tiny.encoder("embedding", seed=5, pooling=pooling)
    distiller = Distiller(teacher, student, **VECTORS | options)
    # Adam divides by gradients that are next to nothing.
    distiller.compile(keras.optimizers.SGD(0.5), jit_compile=False)
    for _ in range(3):
        logs = distiller.train_on_batch(*batch, return_dict=True)
    assert not logs["skipped_updates"]
    return tiny.weights(student)


@pytest.mark.parametrize("parts", [2, 4])
def test_micro_batches_change_nothing(parts):
    found, expected = trained(text_batch(), micro_batches=parts), trained(text_batch())
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("devices", [2, 4])
def test_replicas_change_nothing(devices):
    teacher, student = pair()
    _, expected = measure(text_batch(empty=(0,)), teacher, student)
    with strategy_of(devices).scope():
        copies = pair()
        for copy, model in zip(copies, (teacher, student), strict=True):
            copy.set_weights(model.get_weights())
        distiller = Distiller(*copies, **VECTORS)
        distiller.compile(AdamW(1e-3))
    data = tf.data.Dataset.from_tensor_slices(text_batch(empty=(0,))).batch(8)
    found = distiller.evaluate(data, verbose=0, return_dict=True)
    assert found["embedding_loss"] == pytest.approx(expected["embedding_loss"], rel=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_empty_rows_do_no_harm_while_training(pooling):
    batch = text_batch(empty=(2, 3))
    rest = tf.nest.map_structure(lambda array: np.delete(array, (2, 3), axis=0), batch)
    np.testing.assert_allclose(trained(batch, pooling), trained(rest, pooling), atol=1e-6)


def test_the_gradient_moves_the_student_towards_the_vectors():
    teacher, student = pair()
    distiller, before = measure(text_batch(), teacher, student)
    frozen = tiny.weights(teacher)
    distiller.compile(AdamW(3e-3))
    for _ in range(30):
        distiller.train_on_batch(*text_batch())
    after = distiller.evaluate(tf.data.Dataset.from_tensors(text_batch()), verbose=0)
    assert distiller.metrics[0].result() < 0.2 * before["loss"], after
    np.testing.assert_array_equal(tiny.weights(teacher), frozen)


def test_vectors_that_come_along_take_the_teachers_place(monkeypatch):
    teacher, student = pair()
    batch = text_batch()
    _, expected = measure(batch, teacher, student)
    vectors = np.asarray(teacher(batch[0]), "float32")

    def refuse(*_, **__):
        raise AssertionError("the teacher ran")

    monkeypatch.setattr(teacher, "hidden_states", refuse)
    with_vectors = (batch[0] | {"teacher_embedding": vectors}, *batch[1:])
    _, found = measure(with_vectors, teacher, student)
    assert found["embedding_loss"] == pytest.approx(expected["embedding_loss"], rel=1e-6)
    # Another term needs the teacher itself.
    with pytest.raises(AssertionError, match="the teacher ran"):
        measure(with_vectors, teacher, student, relation_weight=1.0)


@pytest.mark.parametrize("task", ["embedding", "encoder", "sequence_classification"])
def test_terms_without_predictions_take_any_encoder(task):
    teacher = task_model(task, "bert")
    student = build_student(teacher, 1)
    weights = {"cosine_weight": 1.0, "relation_weight": 1.0, "hidden_weight": 1.0}
    distiller = Distiller(teacher, student, **ALONE | weights)
    distiller.compile(AdamW(1e-2))
    losses = [distiller.train_on_batch(*text_batch(), return_dict=True) for _ in range(20)]
    assert set(losses[0]) >= {"cosine_loss", "relation_loss", "hidden_loss"}
    assert not {"mlm_loss", "mlm_accuracy", "teacher_agreement"} & set(losses[0])
    assert losses[-1]["loss"] < losses[0]["loss"]


REFUSED = {
    "no head to predict": (
        "encoder",
        {"mlm_weight": 1.0},
        r"^the teacher has no masked-LM head, which loss\.mlm_weight needs; set loss\.distil",
    ),
    "the default": ("embedding", {"distillation_weight": 5.0}, r"no masked-LM head, which loss\.d"),
    "no vectors": (
        "encoder",
        {"embedding_weight": 1.0},
        r"^the teacher gives no vectors of texts, which loss\.embedding_weight needs; give a sent",
    ),
    "another loss": (
        "embedding",
        {"embedding_weight": 1.0, "embedding_loss": "l1"},
        r"^embedding_loss 'l1': use cosine or mse$",
    ),
    "a negative weight": ("embedding", {"embedding_weight": -1.0}, "embedding_loss is -1"),
}


@pytest.mark.parametrize(("task", "options", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_compared(task, options, message):
    teacher = task_model(task, "bert")
    with pytest.raises(UserError, match=message):
        Distiller(teacher, build_student(teacher, 1), **ALONE | options)


def test_texts_of_one_row_cannot_be_told_apart():
    teacher, student = pair()
    inputs, *others = text_batch()
    inputs["sequence_ids"] = np.zeros_like(inputs["token_ids"])
    with pytest.raises(
        UserError, match=r"^rows hold several texts, which loss\.embedding_weight c"
    ):
        measure((inputs, *others), teacher, student)


def test_the_student_of_a_classifier_is_a_bare_encoder():
    student = build_student(task_model("sequence_classification", "bert"), 1)
    assert type(student) is EncoderModel and student.head is None


def test_a_model_that_is_none_of_ours_is_refused():
    with pytest.raises(UserError, match="is no masked language model; give one of"):
        Distiller(keras.Sequential([keras.Input((2,))]), task_model("encoder"), **VECTORS)
