"""A distillation that goes on with the student of an earlier one, and what does not fit there."""

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file

from support import tiny
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.errors import UserError
from tf_distilbert.evaluation.masked_lm import evaluate
from tf_distilbert.model_files.folder import load_model, save_model
from tf_distilbert.runs.logs import read_log
from tf_distilbert.runs.train import distill
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    save_model(tiny.model(), folder / "teacher")
    tiny.write_text(folder / "text.txt")
    return folder


def run(folder, output, student, **train):
    values = tiny.run_settings(folder, output, **train)
    return distill(parse_config(DistillConfig, values | {"student": student}), QUIET)


def test_it_begins_with_the_weights_of_the_folder(folder, tmp_path):
    first = tiny.model(seed=2, num_layers=3, family="distilbert", num_segments=0)
    save_model(first, tmp_path / "first")
    student = {"initialize_from": str(tmp_path / "first")}
    path = run(folder, "second", student, steps=1, warmup_share=0.0, learning_rate=1e-3)
    before, after = (load_file(p / "model.safetensors") for p in (tmp_path / "first", path))
    assert before.keys() == after.keys()
    # Adam's first step is the rate, whatever the gradient.
    differences = {name: np.abs(after[name] - before[name]).max() for name in before}
    assert 0.9e-3 < max(differences.values()) <= 1.001e-3, differences
    # What it was before the first step is that model, by the measure of `evaluate`.
    [start, _] = read_log(path.parent, "validation")
    text = str(folder / "text.txt")
    measured = evaluate(load_model(tmp_path / "first"), text, sequence_length=32, batch_size=8)
    assert start["mlm_loss"] == pytest.approx(measured["loss"], rel=1e-5)


UNFIT = {
    "positions": (
        {"max_positions": 16},
        r"^student\.initialize_from: sequence_length is 32, the m",
    ),
    "vocabulary": ({}, r"have different vocabularies or tokenizers"),
    "hidden size": (
        {"hidden_size": 8},
        r"sizes 16 and 8, which .*; set loss.cosine_weight to 0, and",
    ),
}


@pytest.mark.parametrize(("sizes", "message"), UNFIT.values(), ids=UNFIT)
def test_a_student_that_does_not_fit_is_refused(folder, tmp_path, sizes, message):
    other = tiny.model(num_layers=1, family="distilbert", num_segments=0, **sizes)
    if not sizes:
        words = ["london" if word == "paris" else word for word in tiny.VOCABULARY]
        other.tokenizer = WordPieceTokenizer(words, lower_case=True)
    save_model(other, tmp_path / "other")
    with pytest.raises(UserError, match=message) as caught:
        run(folder, "unfit", {"initialize_from": str(tmp_path / "other")})
    assert "\n" not in str(caught.value)
    assert not (folder / "unfit").exists()


def test_a_student_of_fewer_tokens_goes_on_under_its_whole_teacher(folder):
    first = run(folder, "cut", {"vocabulary": 30, "num_layers": 2})
    second = run(folder, "cut_again", {"initialize_from": str(first)}, learning_rate=1e-30)
    assert load_model(second).architecture.vocabulary_size == 30
    last, start = (read_log(path.parent, "validation") for path in (first, second))
    names = ("mlm_loss", "distillation_loss", "teacher_agreement")
    for name in names:  # the same student beside the same predictions
        assert start[0][name] == pytest.approx(last[-1][name], rel=1e-5), name
