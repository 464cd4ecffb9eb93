"""Any number of rows on a file of one shape."""

import numpy as np
import pytest

from support.exports import TASKS
from support.task_model import task_model
from tf_distilbert.exports.raw_model import FixedShapeRun

LENGTH, SLOTS = 32, 3


@pytest.fixture(scope="module")
def models():
    return {task: task_model(task) for task in TASKS}


def fixed(model, slots=0):
    """The model where each row has `LENGTH` tokens and a batch is one row, which it checks."""

    def one_row(inputs):
        for name, values in inputs.items():
            assert values.dtype == np.int32
            assert values.shape == (1, slots if name == "mask_positions" else LENGTH), name
        return np.asarray(model(inputs))

    return FixedShapeRun(one_row, LENGTH, slots)


def rows(lengths, positions=None):
    """Rows of ids, as long as the longest of them."""
    generator = np.random.default_rng(0)
    shape = (len(lengths), max(lengths, default=6))
    made = {"token_ids": generator.integers(5, 40, shape)}
    made["padding_mask"] = np.arange(shape[1]) < np.array(lengths, int).reshape(-1, 1)
    made["token_ids"] *= made["padding_mask"]
    if positions is not None:
        places = generator.integers(0, min(lengths, default=1), (len(lengths), positions))
        made["mask_positions"] = places
    return {name: values.astype(np.int32) for name, values in made.items()}


@pytest.mark.parametrize("lengths", [[5], [3, 9, 6], [LENGTH, 4], []], ids=str)
@pytest.mark.parametrize("task", ["sequence_classification", "token_classification", "encoder"])
def test_rows_of_several_lengths(models, task, lengths):
    inputs = rows(lengths)
    expected = np.asarray(models[task](inputs))
    found = fixed(models[task])(inputs)
    assert found.shape == expected.shape
    mask = inputs["padding_mask"].astype(bool)
    if found.ndim == 3:
        found, expected = found[mask], expected[mask]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("positions", [0, 1, SLOTS, SLOTS + 1, 3 * SLOTS - 1])
@pytest.mark.parametrize("lengths", [[7, 4], [LENGTH], []], ids=str)
def test_more_or_fewer_masks_than_slots(models, lengths, positions):
    model, inputs = models["masked_lm"], rows(lengths, positions)
    expected = np.asarray(model(inputs))
    found = fixed(model, SLOTS)(inputs)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_inputs_are_left_as_they_were(models):
    inputs = rows([5, 3], 2)
    before = {name: values.copy() for name, values in inputs.items()}
    fixed(models["masked_lm"], SLOTS)(inputs)
    assert inputs.keys() == before.keys()
    for name, values in before.items():
        np.testing.assert_array_equal(inputs[name], values)
