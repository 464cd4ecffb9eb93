"""Whether a file answers as its model does: counted by hand; what is kept, warned of, refused."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from support import tiny
from support.commands import tree
from support.exports import need
from support.task_model import LABELS, task_model
from tf_distilbert.errors import UserError
from tf_distilbert.exports.agreement import Agreement, check_agreement, measure_agreement
from tf_distilbert.exports.exporter import export
from tf_distilbert.serving.served_model import ServedModel


def measure(task, expected, found, counted=((True,),), **facts):
    served = replace(ServedModel.of(task_model(task)), **facts)
    arrays = (np.array(values, "float32") for values in (expected, found))
    return measure_agreement(served, *arrays, np.array(counted))


def test_labels_of_texts():
    expected = [[1, 2, 0], [3, 1, 0], [0, 1, 2], [5, 5.1, 0]]
    found = [[0, 9, 8], [1, 3, 0], [0, 1, 2], [5.1, 5, 0]]
    agreement = measure("sequence_classification", expected, found)
    assert agreement == Agreement(0.5, 4, "labels", distinct=3)
    assert str(agreement) == "50.0% of 4 labels"


def test_sets_of_labels():
    """Of the second text one label of two is another."""
    expected, found = [[1, -1], [1, -1], [-1, -2]], [[9, -0.1], [1, 1], [-3, -1]]
    agreement = measure("sequence_classification", expected, found, problem="multi_label")
    assert agreement == Agreement(pytest.approx(2 / 3), 3, "sets of labels", distinct=2)


def test_the_order_of_values():
    """1 3 2 has the pairs 13, 12, 32; in 1 3 4 the last one is turned."""
    found = [[1.1], [3], [4]]
    agreement = measure("sequence_classification", [[1], [3], [2]], found, problem="regression")
    assert agreement == Agreement(pytest.approx(2 / 3), 3, "pairs in order")


def test_labels_of_tokens_that_count():
    expected = [[[1, 0], [1, 0], [1, 0], [0, 1]]]
    found = [[[0, 1], [2, 0], [0, 1], [0, 5]]]
    agreement = measure("token_classification", expected, found, [[False, True, True, True]])
    assert agreement == Agreement(pytest.approx(2 / 3), 3, "labels of tokens", distinct=2)


def test_places_of_answers_in_the_text():
    """The likeliest place is in the question, which holds no answer; then the end is another."""
    starts, ends = [9, 1, 2, 0], [0, 0, 1, 3]
    expected = np.stack([starts, ends], -1)
    shifted = expected + np.array([[5, 5], [0, 0], [0, 0], [0, 0]])
    other_end = np.stack([starts, [0, 0, 3, 1]], -1)
    counted = [[False, True, True, True]] * 3
    agreement = measure(
        "question_answering", [expected] * 3, [expected, shifted, other_end], counted
    )
    assert agreement == Agreement(pytest.approx(2 / 3), 3, "places of answers")


def test_words_at_masks():
    expected = [[[0, 1, 0], [7, 0, 0]], [[0, 0, 1], [1, 0, 0]]]
    found = [[[0, 1, 0], [0, 0, 7]], [[0, 0, 1], [0, 1, 0]]]
    agreement = measure("masked_lm", expected, found, [[True, False], [True, True]])
    assert agreement == Agreement(pytest.approx(2 / 3), 3, "words at masks", distinct=3)


def test_the_cosine_of_vectors():
    """Angles of 0 and of 60 degrees; what is padding points the other way."""
    expected = [[[2, 0], [1, 0], [1, 0]]]
    found = [[[3, 0], [1, np.sqrt(3)], [-1, 0]]]
    agreement = measure("encoder", expected, found, [[True, True, False]])
    assert agreement == Agreement(pytest.approx(0.75), 2, "vectors")
    assert str(agreement) == "mean cosine 0.7500 of 2 vectors"


@pytest.mark.parametrize(
    ("precision", "share", "outcome"),
    [
        ("full_int8", 0.9, "kept"),
        ("full_int8", 0.89, "warned of"),
        ("full_int8", 0.5, "warned of"),
        ("full_int8", 0.49, "refused"),
        ("int8", 0.0, "refused"),
        ("bfloat16", 0.95, "kept"),
        ("bfloat16", 0.3, "warned of"),  # its numbers were close: the model's answers are noise
        ("float32", 0.98, "warned of"),
    ],
)
def test_limits(precision, share, outcome):
    agreement = Agreement(share, 100, "labels")
    if outcome == "refused":
        message = rf"^the export: .* {precision} .* {share:.0%}|{share:.1%} of 100 labels; nothing"
        with pytest.raises(UserError, match=message):
            check_agreement(agreement, precision)
        return
    warning = check_agreement(agreement, precision)
    assert (warning is not None) == (outcome == "warned of")
    if warning:
        assert warning.startswith("warning: ") and f"{share:.1%} of 100 labels" in warning
        assert "\n" not in warning


def test_answers_that_are_all_alike_say_nothing():
    for distinct, precision in ((1, "full_int8"), (1, "float32"), (2, "full_int8")):
        warning = check_agreement(Agreement(1.0, 64, "labels", distinct), precision)
        assert (warning is None) == (distinct == 2)
    warning = check_agreement(Agreement(1.0, 64, "labels", 1), "int8")
    assert warning.startswith("warning: the model gives all 64 labels alike, so their agreement")


# Of a file


def hardly_trained(gap):
    """A classifier that gives any text its last label, by so little more than the second one."""
    model = task_model("sequence_classification")
    kernel, bias = model.trainable_variables[-2:]
    assert bias.shape == (len(LABELS),)
    kernel.assign(np.zeros(kernel.shape))
    bias.assign([-5, 0, gap])
    return model


@pytest.fixture
def calibration(tmp_path):
    return [str(tiny.write_text(tmp_path / "text.txt"))]


def test_a_file_with_other_answers_is_not_kept(tmp_path, calibration, capsys):
    """8 bits over outputs from -5 to 0.001 have steps of 0.02: the likeliest label is lost."""
    need("litert")
    options = {"precision": "full_int8", "max_length": 16, "calibration": calibration}
    message = r"full_int8 with the model is 0\.0% of 7 labels; nothing was kept of it; use another"
    with pytest.raises(UserError, match=message):
        export(hardly_trained(0.001), "litert", tmp_path / "out", **options)
    assert tree(tmp_path) == ["text.txt"]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == ["writing litert in full_int8", "checking the answers"]


@pytest.mark.slow
def test_a_file_with_the_same_answers_is_kept(tmp_path, calibration, capsys):
    """The model's are all alike, so that this says little, and that is said."""
    need("litert")
    options = {"precision": "full_int8", "max_length": 16, "calibration": calibration}
    folder, found = export(hardly_trained(1), "litert", tmp_path / "out", **options)
    assert found.agreement == Agreement(1.0, 7, "labels", distinct=1)
    assert "warning: the model gives all 7 labels alike" in capsys.readouterr().err
    card = (folder / "README.md").read_text()
    assert "| agreement with the Keras model | 100.0% of 7 labels |" in card


def test_few_answers_are_said_and_kept(tmp_path, monkeypatch):
    need("onnx")
    found = Agreement(0.75, 64, "labels")
    monkeypatch.setattr(
        "tf_distilbert.exports.verification.measure_agreement", lambda *arguments: found
    )
    printed = io.StringIO()
    model = task_model("sequence_classification")
    options = {"precision": "int8", "console": Console(file=printed)}
    folder, kept = export(model, "onnx", tmp_path / "out", **options)
    assert kept.agreement == found and str(kept).endswith(", agreement 75.0% of 64 labels")
    lines = printed.getvalue().splitlines()
    assert lines[:2] == ["writing onnx in int8", "checking the answers"]
    assert lines[2].startswith(
        "warning: the agreement of int8 with the model is 75.0% of 64 labels"
    )
    assert len(lines) == 3 and (folder / "model.onnx").exists()
