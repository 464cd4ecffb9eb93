"""The command line on bad settings and arguments: exit code 2, one line that names the fault."""

import pytest

import tf_distilbert
from support import tiny
from support.commands import left

SETTINGS = {
    "unknown key": (
        "train.lerning_rate=1",
        r"unknown key train\.lerning_rate; .*\.learning_rate\?",
    ),
    "wrong type": ("train.steps=many", r"train\.steps is 'many'; it takes a whole number or null$"),
    "no assignment": (
        "train.steps",
        r"'train\.steps': a setting is written key=value, as train\.steps=100$",
    ),
    "no YAML": ("train.steps=[", r"'train\.steps=\[': the value is not YAML$"),
}


@pytest.mark.parametrize(("override", "message"), SETTINGS.values(), ids=SETTINGS)
def test_bad_settings(refused, config, tmp_path, override, message):
    refused("distill", config, override, message=message)
    assert left(tmp_path) == {"config.yaml"}


def test_configurations_that_are_none(refused, tmp_path):
    for verb in ("distill", "pretrain"):
        refused(verb, tmp_path / "none.yaml", message=r"none\.yaml: no such configuration file$")
        refused(verb, tmp_path, message=rf"{tmp_path}: ")


def test_overrides_may_stand_after_a_flag(refused, config):
    message = r"train\.steps is -1; it must be above 0$"
    refused("distill", config, "--resume", "train.steps=-1", message=message)


def test_evaluate_arguments(refused, text, teacher, tmp_path):
    options = ("evaluate", "--model", teacher, "--text", text)
    message = r"sequence_length: 8 is too short; give 16 or more$"
    refused(*options, "--sequence-length", 8, message=message)
    message = rf"{tmp_path}: cannot be written; give a file in a folder that exists$"
    refused(*options, "--json", tmp_path, message=message)
    other = tmp_path / "other"
    tf_distilbert.save_model(tiny.model(num_layers=1), other)
    words = (other / "vocab.txt").read_text()
    (other / "vocab.txt").write_text(words.replace("paris", "london"))
    refused(
        *(*options, "--sequence-length", 16, "--teacher", other),
        message=r"teacher .* and student .* have different vocabularies",
        after_start=True,
    )


@pytest.mark.parametrize("batch_size", [0, -3])
def test_evaluate_batch_size(refused, text, teacher, batch_size):
    options = ("--model", teacher, "--text", text, "--sequence-length", 16)
    refused("evaluate", *options, "--batch-size", batch_size, message=r"batch.size")


def test_fill_mask_arguments(refused, teacher, capsys):
    options = ("fill-mask", "--model", teacher)
    refused(*options, "paris is", message=r"'paris is': has no \[MASK\] to fill")
    refused(*options, "the [MASK]", "", message=r"'': has no \[MASK\] to fill")
    refused(*options, "--top-k", 0, "the [MASK]", message=r"--top-k is 0; give 1 or more$")
    assert capsys.readouterr().out == ""
