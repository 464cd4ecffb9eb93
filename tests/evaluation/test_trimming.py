"""What trimming says of a model before and after, against the folders and the text themselves."""

import pytest
from safetensors.numpy import load_file

from support import tiny
from tf_distilbert.evaluation.masked_lm import evaluate
from tf_distilbert.evaluation.trimming import trim
from tf_distilbert.model_files.folder import load_model, save_model


@pytest.fixture
def teacher(tmp_path):
    save_model(tiny.model(num_layers=2), tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.fixture
def text(tmp_path):
    return str(tiny.write_text(tmp_path / "text.txt"))


def parameters(folder):
    return sum(tensor.size for tensor in load_file(folder / "model.safetensors").values())


def test_the_figures_are_those_of_the_folders(teacher, text, tmp_path):
    output = tmp_path / "small"
    found = trim(teacher, text, output, size=25, held_out=text)
    assert found.tokens == (47, 25)
    assert found.parameters == (parameters(teacher), parameters(output))
    metrics = [evaluate(load_model(each), text, sequence_length=32) for each in (teacher, output)]
    assert found.held_out == tuple(metrics)
    assert metrics[0]["loss"] != metrics[1]["loss"]


def test_a_text_that_needs_few_tokens_costs_nothing(teacher, text, tmp_path):
    found = trim(teacher, text, tmp_path / "small", min_count=1)
    assert found.splitting.changed == 0 and found.tokens[1] < found.tokens[0]
    assert found.splitting.pieces[0] == found.splitting.pieces[1] > 0
    assert found.held_out is None


def test_what_is_printed(teacher, text, tmp_path):
    found = trim(teacher, text, tmp_path / "small", size=25)
    first, tokens, numbers, size, pieces, *lines = found.as_text().splitlines()
    assert first.split() == ["before", "after"] and tokens.split() == ["tokens", "47", "25"]
    before, after = found.parameters
    assert numbers.split() == ["parameters", f"{before:,}", f"{after:,}"]
    assert size.split()[-2:] == [f"{4 * before / 1e6:.1f}", f"{4 * after / 1e6:.1f}"]
    splitting, words = found.splitting, found.splitting.words
    assert pieces.split()[-2:] == [f"{number / words:.3f}" for number in splitting.pieces]
    share = f"{100 * splitting.changed / words:.2f}%"
    number = splitting.unknown[1] - splitting.unknown[0]
    assert number == splitting.changed > 0  # no word here can be spelt
    assert lines == [
        f"{share} of the text's words ({number:,} of {words:,}) are split further",
        f"warning: {number:,} of them become unknown instead: no single characters spell them",
    ]
