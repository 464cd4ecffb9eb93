"""The texts that an export is compared on, and their rows."""

import numpy as np
import pytest

from support.task_model import task_model
from tf_distilbert.exports.check_texts import (
    SAMPLE_TEXTS,
    calibration_texts,
    check_rows,
    check_texts,
    num_checked,
)
from tf_distilbert.sample.corpus import sample_text
from tf_distilbert.serving.served_model import ServedModel


def write_lines(path, number):
    """Some of the lines are of one document."""
    path.write_text("".join(f"line {i}\n" + "\n" * (i % 3 == 0) for i in range(number)))
    return [str(path)]


def test_what_is_compared_was_not_calibrated_on(tmp_path):
    learnt, checked = calibration_texts(write_lines(tmp_path / "a.txt", 1000), 64)
    assert learnt == [f"line {i}" for i in range(200)]
    assert checked == [f"line {i}" for i in range(200, 264)]


def test_lines_that_come_again_count_once(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(f"line {i % 9}" for i in range(500)))
    used, compared = calibration_texts([str(tmp_path / "a.txt")], 4)
    assert used == [f"line {i}" for i in range(9)]
    assert compared == used[-4:]


def test_of_a_short_text_the_last_lines_are_compared(tmp_path):
    learnt, checked = calibration_texts(write_lines(tmp_path / "a.txt", 220), 64)
    assert learnt == [f"line {i}" for i in range(200)]
    assert checked == [f"line {i}" for i in range(156, 220)]
    learnt, checked = calibration_texts(write_lines(tmp_path / "b.txt", 9), 64)
    assert learnt == checked == [f"line {i}" for i in range(9)]


def test_texts_of_any_kind():
    texts = check_texts(64)
    assert len(texts) == len(set(texts)) == 64 and texts[:3] == list(SAMPLE_TEXTS)
    lines = [line for line in sample_text("validation").splitlines() if line]
    places = [lines.index(text) for text in texts[3:]]
    assert np.diff(places).max() <= 1 + len(lines) / 61  # of all parts


@pytest.mark.parametrize(
    ("row_length", "number"), [(None, 64), (16, 64), (128, 64), (256, 32), (512, 16), (4096, 16)]
)
def test_long_rows_are_fewer(row_length, number):
    assert num_checked(row_length) == number


# 17 tokens, of which 17 / 8 = 2 are masked, the 5th and the 13th; 3 tokens, 1 mask; no token.
TEXTS = ["the a of is " * 4 + "paris", "the city .", ""]


def test_masks_are_spread_over_a_text():
    model = task_model("masked_lm")
    inputs, counted = check_rows(ServedModel.of(model), TEXTS)
    ids = model.tokenizer.encode(TEXTS[0])
    ids[1 + 4] = ids[1 + 12] = model.tokenizer.mask_id
    assert inputs["token_ids"][0].tolist() == ids
    assert inputs["mask_positions"].tolist() == [[5, 13, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]]
    assert counted.sum(axis=1).tolist() == [2, 1, 0]
    assert (inputs["token_ids"] == model.tokenizer.mask_id).sum(axis=1).tolist() == [2, 1, 0]


def test_tokens_of_the_text_count_and_no_others():
    model = task_model("token_classification")
    _, counted = check_rows(ServedModel.of(model), TEXTS)
    assert counted.shape == (3, 19) and counted.sum(axis=1).tolist() == [17, 3, 0]
    assert not counted[:, 0].any() and not counted[0, 18]


def test_a_question_does_not_count():
    model = task_model("question_answering")
    texts = ["paris", "the city ."]
    inputs, counted = check_rows(ServedModel.of(model), texts)
    # [CLS] the city . [SEP] paris [SEP]
    assert inputs["padding_mask"].sum(axis=1).tolist() == [7, 7]
    assert np.flatnonzero(counted[0]).tolist() == [5]
    assert np.flatnonzero(counted[1]).tolist() == [3, 4, 5]
