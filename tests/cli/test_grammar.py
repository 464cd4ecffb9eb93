"""The grammar of the command line: two forms, any order; what is refused says what to write."""

import re

import pytest

from support.commands import run
from tf_distilbert.cli.grammar import parse

MODELS = ("--teacher", "t", "--student", "s", "--tasks", "rte", "--output", "o")

FORMS = {
    "vocab": ("vocab --text a --size 9 --output b", "vocab text=a size=9 output=b"),
    "prepare": ("prepare --text a --vocab v --output b", "prepare output=b vocab=v text=a"),
    "trim": (
        "trim --model m --text a --size 9 --held-out b --output c",
        "trim held_out=b output=c size=9 text=a model=m",
    ),
    "shapes": ("shapes --teacher t --sequence-length 64", "shapes sequence_length=64 teacher=t"),
    "options that need not be": (
        "export --model m --format litert --precision int8 --max-length 64",
        "export model=m format=litert precision=int8 max_length=64",
    ),
    "with hyphens": (
        "evaluate --model m --text a --batch-size 8",
        "evaluate model=m text=a batch-size=8",
    ),
    "with underscores": (
        "evaluate --model m --text a --batch-size 8",
        "evaluate --model m --text a --batch_size 8",
    ),
    "distill": (
        "distill a.yaml --teacher t --output o --text x --seed 3 train.steps=5",
        "distill train.steps=5 teacher=t seed=3 text=x output=o a.yaml",
    ),
    "pretrain": (
        "pretrain a.yaml --initialize-from t --output o",
        "pretrain initialize_from=t a.yaml output=o",
    ),
    "finetune": (
        "finetune --task a --model m --data d --output o --teacher t --seed 2 max_length=8",
        "finetune max_length=8 task=a model=m data=d output=o teacher=t seed=2",
    ),
    "retention": (
        "retention --teacher t --student s --tasks a,b --data d --output o --seeds 2",
        "retention teacher=t student=s tasks=a,b data=d output=o seeds=2",
    ),
    "report": ("report runs/a --output x.html", "report output=x.html runs/a"),
    "demo": ("demo --teacher t --student s --port 80", "demo teacher=t student=s port=80"),
    "benchmark": ("benchmark step --json f --quick", "benchmark json=f --quick step"),
    "quickstart": ("quickstart --output q", "quickstart output=q"),
    "launch": ("launch --workers 2 -- distill a=b", "launch workers=2 -- distill a=b"),
    "predict": ("predict --model m text", "predict model=m text"),
    "fill-mask": ("fill-mask --model m --top-k 2 text", "fill-mask --top-k 2 model=m text"),
}


@pytest.mark.parametrize(("flags", "named"), FORMS.values(), ids=FORMS)
def test_both_forms_are_the_same(flags, named):
    assert vars(parse(flags.split())) == vars(parse(named.split()))


def test_a_text_may_begin_as_an_option_does():
    options = parse(["predict", "--model", "m", "model=x is a text", "task=y, too"])
    assert (options.model, options.task) == ("m", None)
    assert options.text == ["model=x is a text", "task=y, too"]
    assert parse(["predict", "model=m", "--", "--text"]).text == ["--text"]


def test_the_value_of_a_flag_may_have_any_form():
    options = parse(["export", "--model", "output=b", "--format", "onnx", "--output", "name=c"])
    assert (options.model, options.output, options.name) == ("output=b", "name=c", None)


def test_what_is_a_file_is_no_setting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=1").mkdir()
    (tmp_path / "seeds=2").mkdir()
    options = parse(["retention", *MODELS, "--data", "A", "a=1", "seeds=2", "train.epochs=2"])
    assert options.data == ["A", "a=1", "seeds=2"]
    assert options.seeds == 5
    assert options.overrides == ["train.epochs=2"]


def test_settings_may_stand_among_files():
    words = ["--text", "t.txt", "doc_stride=2", "u.txt", "batch_size=4"]
    options = parse(["evaluate", "--model", "m", "max_length=8", *words])
    assert options.text == ["t.txt", "u.txt"]
    assert options.overrides == ["max_length=8", "doc_stride=2"]
    assert options.batch_size == 4


def test_several_values_in_either_form():
    words = ["distill", "a.yaml", "train.steps=2"]
    lists = [parse([*words, *text]).text for text in (["--text", "a", "b"], ["text=[a, b]"])]
    assert lists == [["a", "b"]] * 2


def test_a_long_text_is_no_file():
    """A file's name has 255 bytes at most, and asking for a longer one is an error."""
    for word in ("a" * 5000, "text=" + "a" * 5000):
        assert parse(["predict", "model=m", word]).text == [word]
    assert parse(["distill", "a.yaml", f"data.text={'a' * 5000}"]).overrides


REFUSED = {
    "no verb": ("", r"a verb is missing; use one of quickstart, vocab, "),
    "a verb with a typo": ("distil", r"there is no verb 'distil'; did you mean distill\?"),
    "hyphen": ("fine-tune", r"there is no verb 'fine-tune'; did you mean finetune\?"),
    "underscore": ("fill_mask", r"there is no verb 'fill_mask'; did you mean fill-mask\?"),
    "shortened": ("eval --text a", r"there is no verb 'eval'; did you mean evaluate\?"),
    "nothing near": ("zzz", r"there is no verb 'zzz'; use one of quickstart, "),
    "no configuration": ("distill teacher=t", r"missing: CONFIG; see tf-distilbert distill --help"),
    "missing options": ("finetune task=a", r"missing: --model, --data, --output; see tf-dis"),
    "one of two": ("evaluate --model m", r"missing: one of --text --task; see tf-distilbert eval"),
    "unknown option": ("evaluate --modle m", r"--modle: there is no such option; .* --model\?"),
    "setting as an option": (
        "distill a.yaml --learning_rate 3",
        r"--learning_rate: there is no such .* is written key=value: train\.learning_rate=",
    ),
    "positional as an option": (
        "distill --config a.yaml",
        r"--config: there is no such option; write .* alone: tf-distilbert distill CONFIG",
    ),
    "given twice": ("distill a.yaml --output b output=c", r"--output is given twice; leave one"),
    "named twice": ("distill a.yaml output=b output=c", r"--output is given twice; leave one"),
    "two that exclude each other": (
        "distill a.yaml --resume --overwrite",
        r"give --overwrite or --resume, not both",
    ),
    "no value": ("distill a.yaml --output", r"--output has no value; give it one"),
    "before the verb": (
        "--debug distill a.yaml",
        r"--debug stands before the verb; write tf-distilbert VERB --debug",
    ),
    "an option that is a setting": (
        "finetune --learning-rate 3e-5",
        r"--learning-rate: there is no .* is written key=value: train\.learning_rate=",
    ),
    "a named option with a typo": (
        "finetune task=a model=m data=d outptu=x",
        r"outptu: there is no such option; did you mean output=\.\.\.\?",
    ),
    "two flags": ("evaluate --model m --text a --text b", r"--text is given twice; leave one out"),
    "a flag with a value": ("distill a.yaml --resume=true", r"--resume takes no value; leave 'tr"),
    "an empty name": ("evaluate --model m task=", r"--task is empty; give it a value"),
    "an empty path among others": ("prepare vocab=v output=o text=[a,]", r"--text is empty; give"),
    "nothing": ("distill a.yaml teacher=", r"--teacher is empty; give it a value"),
    "no number": ("vocab text=a output=b size=ten", r"--size is 'ten'; it takes a whole number"),
    "no such kind": ("benchmark stp", r"kind is 'stp'; use one of 'step', 'inference', "),
    "too much": ("quickstart here", r"too much: here; leave it out, or see tf-distilbert"),
    "no dashes": (
        "launch --workers 2 distill a.yaml --resume",
        r"-- is missing before distill; run tf-distilbert launch --workers 2 -- distill a.yaml --r",
    ),
}


@pytest.mark.parametrize(("words", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(capsys, words, message):
    with pytest.raises(SystemExit) as caught:
        run(*words.split())
    assert caught.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert re.match(f"tf-distilbert: {message}", line), line


def test_an_option_and_a_setting_of_one_thing(refused):
    words = ("finetune", "task=sst2", "model=a", "data=b", "output=c", "train.seed=3", "seed=4")
    refused(
        *words, message=r"train\.seed: is given twice, as an option and as a setting; leave one"
    )


def test_what_retention_chooses_itself(refused):
    words = ("retention", *MODELS, "--data", "d")
    refused(*words, "task=rte", message=r"task=rte: is no setting of retention; give --tasks inst")
    message = r"train\.seed=1: is no setting of retention; give --seeds instead$"
    refused(*words, "train.seed=1", message=message)
