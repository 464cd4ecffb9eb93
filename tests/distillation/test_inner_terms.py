"""Relations and hidden states in a distiller: their values, and what must not change them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from support import keras_nlp_objects, reference, tiny
from support.backend_scenarios import inner_terms, one_gradient, packed_batch, rows_of
from support.devices import strategy_of
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.layer_pairs import even_pairs
from tf_distilbert.distillation.student import build_student
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.hf_weights import named_variables
from tf_distilbert.model_files.keras_nlp_models import as_model
from tf_distilbert.training.optimizer import AdamW

ALONE = {"distillation_weight": 0.0, "mlm_weight": 0.0, "cosine_weight": 0.0}


def pair(**sizes):
    teacher = tiny.model(seed=1, num_layers=4)
    return teacher, tiny.model(seed=2, family="distilbert", num_segments=0, **sizes)


def evaluate(batch, teacher, student, **options):
    distiller = Distiller(teacher, student, **ALONE | options)
    distiller.compile(AdamW(1e-3))
    data = tf.data.Dataset.from_tensors(batch)
    return distiller, distiller.evaluate(data, verbose=0, return_dict=True)


def projected(model, states, layer):
    """The layer's queries, keys and values in float64, from its weights."""
    values = {name: np.asarray(v.value, "float64") for name, v in named_variables(model).items()}
    prefix = f"encoder/block_{layer}/query_key_value"
    return states[layer] @ values[f"{prefix}/kernel"] + values[f"{prefix}/bias"]


@pytest.mark.parametrize("layers", [None, [1, 0]])
@pytest.mark.parametrize("width", [16, 8])
def test_relations_equal_the_float64_reference(width, layers):
    teacher, student = pair(num_layers=2, hidden_size=width)
    batch = tiny.batch()
    options = {"relation_weight": 2.0, "relation_layers": layers}
    distiller, found = evaluate(batch, teacher, student, **options)
    assert distiller.relation_heads == width  # the largest up to 48 that divides both
    of_teacher, of_student = layers or [3, 1]
    inputs = batch[0]
    states = [
        [np.asarray(state, "float64") for state in model.hidden_states(inputs)]
        for model in (teacher, student)
    ]
    mask = inputs["padding_mask"]
    values = reference.relation_loss(
        projected(student, states[1], of_student),
        projected(teacher, states[0], of_teacher),
        mask[:, None, :] & mask[:, :, None],
        width,
    )
    expected = np.average(values, weights=mask)
    assert found["relation_loss"] == pytest.approx(expected, rel=1e-5)
    assert found["loss"] == pytest.approx(2 * expected, rel=1e-5)


@pytest.mark.parametrize("pairs", [None, [[3, 0], [3, 1], [0, 0]]])
@pytest.mark.parametrize("width", [16, 8])
def test_hidden_states_equal_the_float64_reference(width, pairs):
    teacher, student = pair(num_layers=2, hidden_size=width)
    batch = tiny.batch()
    options = {"hidden_weight": 0.5, "hidden_layers": pairs}
    distiller, found = evaluate(batch, teacher, student, **options)
    inputs, expected = batch[0], []
    maps = [np.asarray(each.kernel, "float64") for each in distiller.hidden_states.projections]
    assert len(maps) == (0 if width == 16 else len(pairs or [1, 1]))
    states = [
        [np.asarray(state, "float64") for state in model.hidden_states(inputs)]
        for model in (teacher, student)
    ]
    for i, (theirs, ours) in enumerate(pairs or [(1, 0), (3, 1)]):
        state = states[1][ours + 1] @ (maps[i] if maps else np.eye(16))
        expected.append(((state - states[0][theirs + 1]) ** 2).mean(-1))
    expected = np.average(np.mean(expected, axis=0), weights=inputs["padding_mask"])
    assert found["hidden_loss"] == pytest.approx(expected, rel=1e-5)
    assert found["loss"] == pytest.approx(0.5 * expected, rel=1e-5)


def test_without_predictions_there_are_no_figures_of_them():
    _, found = evaluate(tiny.batch(), *pair(num_layers=1), relation_weight=1.0)
    assert found.keys() == {"loss", "relation_loss"}
    _, found = evaluate(tiny.batch(), *pair(num_layers=1), relation_weight=1.0, mlm_weight=1.0)
    words = {"mlm_loss", "mlm_accuracy", "teacher_agreement"}
    assert found.keys() == {"loss", "relation_loss"} | words


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_micro_batches_change_nothing(parts):
    assert_same(inner_terms(micro_batches=parts), inner_terms())


@pytest.mark.parametrize("devices", [2, 4])
def test_replicas_change_nothing(devices):
    with strategy_of(devices).scope():
        found = inner_terms()
    assert_same(found, inner_terms())


def test_packing_changes_nothing():
    """Two sequences of a row, and each in a row of its own."""
    inputs, mask_ids, mask_weights = packed_batch(0)
    inputs["padding_mask"] = np.tile(np.arange(8) < 7, (len(mask_ids), 2))

    def apart(_):
        halves = {name: array.reshape(-1, 8) for name, array in inputs.items() if name in KEPT}
        slots = {"mask_positions": np.zeros((16, 3), "int32")}
        return {**halves, **slots}, np.zeros((16, 3), "int32"), np.zeros((16, 3), "float32")

    packed = inner_terms(lambda _: (inputs, mask_ids, 0 * mask_weights))
    assert_same(packed, inner_terms(apart), but={"padding_share"})


KEPT = ("token_ids", "padding_mask", "position_ids")


def assert_same(found, expected, but=frozenset()):
    assert found.keys() == expected.keys()
    for name in found.keys() - but:
        largest = np.abs(expected[name]).max()
        np.testing.assert_allclose(
            found[name], expected[name], atol=2e-6 * max(1, largest), rtol=0, err_msg=name
        )


def test_more_padding_changes_nothing():
    def longer(seed):
        inputs, mask_ids, mask_weights = rows_of(seed)
        filled = {
            "token_ids": np.pad(inputs["token_ids"], ((0, 0), (0, 5)), constant_values=9),
            "padding_mask": np.pad(inputs["padding_mask"], ((0, 0), (0, 5))),
            "mask_positions": inputs["mask_positions"],
        }
        return filled, mask_ids, mask_weights

    assert_same(inner_terms(longer), inner_terms(), but={"padding_share"})


def test_projections_learn_and_are_no_part_of_the_student():
    teacher, student = pair(num_layers=2, hidden_size=8)
    distiller = Distiller(teacher, student, hidden_weight=1.0, **ALONE)
    extra = distiller.trainable_variables[len(student.trainable_variables) :]
    assert [tuple(each.shape) for each in extra] == [(8, 16), (8, 16)]
    before = [np.array(each) for each in extra]
    distiller.compile(AdamW(1e-2))
    batches = tf.data.Dataset.from_tensors(tiny.batch()).repeat(30)
    logs = distiller.fit(batches, steps_per_epoch=15, epochs=2, verbose=0).history
    assert logs["hidden_loss"][-1] < 0.7 * logs["hidden_loss"][0]
    for old, new in zip(before, extra, strict=True):
        assert np.abs(np.array(new) - old).max() > 1e-3
    assert {id(v) for v in student.variables}.isdisjoint(map(id, extra))


def test_under_float16_the_gradient_differs_by_rounding_alone():
    exact = inner_terms()
    keras.config.set_dtype_policy("mixed_float16")
    found = inner_terms()
    assert found["skipped_updates"] == [0]
    difference = np.linalg.norm(found["gradient"] - exact["gradient"])
    assert 0 < difference < 0.01 * np.linalg.norm(exact["gradient"])


@pytest.mark.parametrize("family", ["Bert", "Roberta"])
def test_a_teacher_of_keras_nlp_has_the_same_relations(family):
    theirs = as_model(keras_nlp_objects.task(family))
    inputs = tiny.batch()[0]
    states = [np.asarray(state, "float64") for state in theirs.hidden_states(inputs)]
    values = theirs.named_values()
    for layer in range(2):
        prefix = f"encoder/block_{layer}/query_key_value"
        expected = states[layer] @ values[f"{prefix}/kernel"] + values[f"{prefix}/bias"]
        found = theirs.query_key_value(theirs.hidden_states(inputs), layer)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    student = build_student(theirs, num_layers=1)
    found = one_gradient(Distiller(theirs, student, seed=1, relation_weight=3.0, **ALONE))
    assert found["relation_loss"][0] > 0 and found["gradient_norm"][0] > 0


def test_which_layers_are_paired():
    assert even_pairs(12, 6) == [(1, 0), (3, 1), (5, 2), (7, 3), (9, 4), (11, 5)]
    assert even_pairs(6, 4) == [(1, 0), (2, 1), (3, 2), (5, 3)]
    assert even_pairs(3, 3) == [(0, 0), (1, 1), (2, 2)]
    assert even_pairs(2, 4)[-1] == (1, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"relation_weight": -1.0}, r"the weight of relation_loss is -1.0; use 0 or more"),
        ({"relation_weight": 1.0, "relation_heads": 3}, r"^loss.relation_heads is 3, which does "),
        ({"relation_weight": 1.0, "relation_layers": [4, 0]}, r"loss.relation_layers names teach"),
        ({"relation_weight": 1.0, "relation_layers": [0, 1]}, r"names student layer 1; the stude"),
        ({"relation_weight": 1.0, "relation_layers": [0]}, r"give two layers, \[teacher, student"),
        ({"hidden_weight": 1.0, "hidden_layers": [[0, 0], [-1, 0]]}, r"names teacher layer -1; t"),
        ({"hidden_weight": 1.0, "hidden_layers": []}, r"loss.hidden_layers is empty; give pairs"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        Distiller(*pair(num_layers=1), **options)
