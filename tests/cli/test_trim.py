"""`trim` on the command line: what it prints, and what it refuses without writing anything."""

import json

import pytest

import tf_distilbert
from support import tiny
from support.commands import left, run
from support.task_model import task_model


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "classifier"
    tf_distilbert.save_model(task_model("sequence_classification", "bert"), folder)
    return folder


def options(model, text, *more, output="small"):
    return ("trim", "--model", model, "--text", text, "--output", output, *more)


def test_a_folder_is_written_and_described(teacher, text, place, capsys):
    assert run(*options(teacher, text, "--size", 30, "--held-out", text)) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("small:\n") and "of the text's words" in printed
    assert "held-out accuracy" in printed and "other sequences" in printed
    assert left(place) == {"small"}
    assert json.loads((place / "small" / "config.json").read_text())["vocab_size"] == 30
    assert run("fill-mask", "--model", "small", "paris is [MASK] .") == 0


def test_the_head_is_kept_or_left_out(classifier, text, place):
    assert run(*options(classifier, text, "--min-count", 1)) == 0
    model = tf_distilbert.load_task_model("small")
    assert model.task == "sequence_classification"
    assert run(*options(classifier, text, "--min-count", 1, "--task=encoder", output="bare")) == 0
    assert tf_distilbert.load_task_model("bare").task == "encoder"


NUMBERS = {
    "too small": (("--size", 9), r"^size: 9 is too small: .* are 10; give 10 or more$"),
    "too large": (("--size", 48), r"^size: 48 is no less than the vocabulary has, 47; there is"),
    "the same": (("--size", 47), r"^size: 47 is no less than the vocabulary has, 47; there is"),
    "below one": (("--min-count", 0), r"^min_count: 0 is too small; give 1 or more$"),
}


@pytest.mark.parametrize(("number", "message"), NUMBERS.values(), ids=NUMBERS)
def test_bad_numbers(refused_here, teacher, text, number, message):
    refused_here(*options(teacher, text, *number), message=message)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((), "missing: one of --size --min-count; see tf-distilbert trim --help"),
        (("--size", 20, "--min-count", 1), "give --min-count or --size, not both"),
    ],
)
def test_one_of_the_two_numbers_must_be_given(capsys, numbers, message):
    with pytest.raises(SystemExit) as stopped:
        run(*options("a", "b", *numbers))
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"tf-distilbert: {message}\n"


def test_the_least_size_that_is_named_is_enough(refused, teacher, text, place):
    (place / "text.txt").write_text("the , a ?")
    line = refused(*options(teacher, "text.txt", "--size", 1), message=r"give \d+ or more$")
    least = line.split()[-3]
    assert run(*options(teacher, "text.txt", "--size", least)) == 0
    assert len(tf_distilbert.load_tokenizer("small").vocabulary) == int(least)


def test_bad_text(refused_here, teacher, text, place):
    for name, content in (
        ("empty", "\n \n"),
        ("foreign", "xyzzy qwert\n"),
        ("words", "paris rome"),
    ):
        (place / f"{name}.txt").write_text(content)
    size = ("--size", 20)
    message = r"^empty\.txt: no text at all; check the sources$"
    refused_here(*options(teacher, "empty.txt", *size), message=message)
    refused_here(*options(teacher, "none.txt", *size), message=r"^none\.txt: no such file; check")
    message = r"^the text has no token of the vocabulary but \[UNK\]; give text in a language of"
    refused_here(*options(teacher, "foreign.txt", *size), message=message)
    message = r"^all words of the text would be unknown: .*; keep more tokens$"
    refused_here(*options(teacher, "words.txt", "--min-count", 2), message=message)
    held_out = ("--held-out", "none.txt")
    message = r"^none\.txt: no such file; check the path$"
    refused_here(*options(teacher, text, *size, *held_out), message=message)


def test_bad_models_and_outputs(refused_here, teacher, classifier, text, place):
    (place / "preset").mkdir()
    (place / "preset" / "config.json").write_text('{"registered_name": "keras_nlp>BertBackbone"}')
    size = ("--size", 20)
    message = r"^preset: a keras-nlp preset cannot be trimmed; give a Hugging Face folder$"
    refused_here(*options("preset", text, *size), message=message)
    refused_here(*options("none", text, *size), message=r"^none: no such model folder; give its")
    message = r"^held-out text is for a masked language model; the head of .* is for sequence_class"
    refused_here(*options(classifier, text, *size, "--held-out", text), message=message)
    for name in ("preset", "file"):
        (place / "file").write_text("mine")
        message = rf"^{name}: exists already; choose another folder or remove it$"
        refused_here(*options(teacher, text, *size, output=name), message=message)
    message = r"^file/small: cannot be written \(Not a directory\); make room or choose another"
    refused_here(*options(teacher, text, *size, output="file/small"), message=message)


def test_a_model_of_which_nothing_can_be_cut(refused_here, teacher, place):
    words = [word for word in tiny.WORDS if not word.startswith("##")]
    (place / "text.txt").write_text(" ".join([*words, "rivers", "seaing", "olded", "newer"]))
    message = r"^min_count: all 47 tokens occur 1 times or must be kept; there is nothing to cut$"
    refused_here(*options(teacher, "text.txt", "--min-count", 1), message=message)
