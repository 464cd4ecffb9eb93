"""The command line on students of shapes that cannot be: one line, and nothing is left."""

import numpy as np
import pytest
import yaml

import tf_distilbert
from support import tiny
from support.commands import left, run
from tf_distilbert.runs import train


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """Three heads of 8."""
    folder = tmp_path_factory.mktemp("models") / "teacher"
    sizes = {"hidden_size": 24, "num_heads": 3, "intermediate_size": 40}
    tf_distilbert.save_model(tiny.model(num_layers=2, **sizes), folder)
    return folder


NO_COSINE = ("loss.cosine_weight=0", "loss.relation_weight=1")
NARROW = ("student.hidden_size=16", *NO_COSINE)
RANDOM = "student.initialize_from=random"
NO_WIDER = (
    r"; a student that starts from its teacher is no wider: give less, or student\.initialize"
)

SIZES = {
    "no multiple of the head size": (
        ["student.hidden_size=20"],
        r"^student\.hidden_size is 20, no multiple of the teacher's head size 8; give a multi",
    ),
    "below a head": (
        ["student.hidden_size=4"],
        r"^student\.hidden_size is 4, no multiple of the te",
    ),
    "heads of another size": (
        ["student.num_heads=2"],
        r"^student\.num_heads is 2, but a start from the teacher needs heads of its size 8; give st"
        r"udent\.num_heads=3, or student\.initialize_from=random$",
    ),
    "too many heads": (
        ["student.hidden_size=16", "student.num_heads=4"],
        rf"^student\.num_heads is 4, the teacher's is 3{NO_WIDER}",
    ),
    "heads that do not divide": (
        [RANDOM, "student.hidden_size=20", "student.num_heads=3"],
        r"^student\.hidden_size 20 is no multiple of student\.num_heads 3; change one of them$",
    ),
    "wider": (
        ["student.hidden_size=32"],
        rf"^student\.hidden_size is 32, the teacher's is 24{NO_WIDER}",
    ),
    "wider between": (
        ["student.intermediate_size=41"],
        rf"^student\.intermediate_size is 41, the teacher's is 40{NO_WIDER}",
    ),
    **{
        f"{name} {size}": (
            [f"student.{name}={size}"],
            rf"^student\.{name} is {size}; it must be above 0, or null$",
        )
        for name in ("hidden_size", "num_heads", "intermediate_size", "vocabulary")
        for size in (0, -8)
    },
    "half": (
        ["student.hidden_size=8.5"],
        r"^student\.hidden_size is 8\.5; it takes a whole number",
    ),
}

LAYERS = {
    "best": (
        ["student.layer_map=best"],
        r"^student\.layer_map is 'best'; it must be layers of the teacher, auto, or null$",
    ),
    "words": (["student.layer_map=[auto]"], r"^student\.layer_map is \[.?auto.?\]; it takes "),
    "searched at random": (
        ["student.layer_map=auto", RANDOM],
        r"^student\.layer_map is auto, but student\.initialize_from is random, which takes no lay",
    ),
    "searched in a folder": (
        ["student.layer_map=auto", "student.initialize_from=runs/first/model"],
        r"^student\.layer_map is given, but the model of student\.initialize_from has its own lay",
    ),
    "searched and too deep": (
        ["student.layer_map=auto", "student.num_layers=3"],
        r"num_layers is 3; .* gives a student of 1 to 2$",
    ),
    **{
        f"{name} of a folder": (
            [f"student.{name}=8", "student.initialize_from=runs/first/model"],
            rf"^student\.{name} is given, but the model of student\.initialize_from has its own",
        )
        for name in ("hidden_size", "num_heads", "intermediate_size", "vocabulary")
    },
}

LOSSES = {
    "cosine": (
        ["student.hidden_size=16"],
        r"hidden sizes 24 and 16, which the cosine term cannot compare; set loss\.cosine_weight to "
        r"0, and loss\.relation_weight to 3 in its place$",
    ),
    "relation heads of the teacher": (
        [*NO_COSINE, "loss.relation_heads=5"],
        r"relation_heads is 5, which does not divide the teacher's hidden size 24; give a",
    ),
    "relation heads of the student": (
        [*NARROW, "loss.relation_heads=3"],
        r"relation_heads is 3, which does not divide the student's hidden size 16; give a",
    ),
    "no relation heads": (
        [*NARROW, "loss.relation_heads=0"],
        r"^loss\.relation_heads is 0; it must",
    ),
    "relations beyond the teacher": (
        [*NO_COSINE, "loss.relation_layers=[2,0]"],
        r"^loss\.relation_layers names teacher layer 2; the teacher has layers 0 to 1$",
    ),
    "relations beyond the student": (
        [*NO_COSINE, "loss.relation_layers=[1,1]"],
        r"^loss\.relation_layers names student layer 1; the student has layers 0 to 0$",
    ),
    "relations before the first": (
        [*NO_COSINE, "loss.relation_layers=[-1,0]"],
        r"^loss\.relation_layers names teacher layer -1; the teacher has layers 0 to 1$",
    ),
    "relations of three": (
        [*NO_COSINE, "loss.relation_layers=[1,0,0]"],
        r"^loss\.relation_layers is \[1, 0, 0\]; it must be two layers, \[teacher, student\]$",
    ),
    "relations of one": (
        [*NO_COSINE, "loss.relation_layers=1"],
        r"^loss\.relation_layers is \[1\]; ",
    ),
    "states beyond the teacher": (
        ["loss.hidden_weight=1", "loss.hidden_layers=[[2,0]]"],
        r"^loss\.hidden_layers names teacher layer 2; the teacher has layers 0 to 1$",
    ),
    "states beyond the student": (
        ["loss.hidden_weight=1", "loss.hidden_layers=[[1,0],[1,1]]"],
        r"^loss\.hidden_layers names student layer 1; the student has layers 0 to 0$",
    ),
    "states of no pairs": (
        ["loss.hidden_weight=1", "loss.hidden_layers=[[1]]"],
        r"^loss\.hidden_layers is \[\[1\]\]; it must be pairs of layers, \[\[teacher, student\]",
    ),
    "states of numbers": (
        ["loss.hidden_layers=[1,0]"],
        r"^loss\.hidden_layers is \[1, 0\]; it takes",
    ),
    "no states": (
        ["loss.hidden_weight=1", "loss.hidden_layers=[]"],
        r"^loss\.hidden_layers is \[\]; it must be pairs of lay",
    ),
    "states that nothing compares": (
        ["loss.hidden_layers=[[1,0]]"],
        r"^loss\.hidden_layers is given, but loss\.hidden_weight is 0; give the term a weight, or "
        r"loss\.hidden_layers=null$",
    ),
    "heads that nothing compares": (
        ["loss.relation_heads=4"],
        r"^loss\.relation_heads is given, but loss\.relation_weight is 0; give ",
    ),
    "negative relations": (
        ["loss.relation_weight=-1"],
        r"^loss\.relation_weight is -1\.0; it must be",
    ),
    "negative states": (
        ["loss.hidden_weight=-1"],
        r"^loss\.hidden_weight is -1\.0; it must be 0 or",
    ),
}

VOCABULARIES = {
    "too few": (
        ["student.vocabulary=9"],
        r"^student\.vocabulary: size: 9 is too small: .* are 10; give 10 or more$",
    ),
    "all": (
        ["student.vocabulary=47"],
        r"^student\.vocabulary: size: 47 is no less than the vocabulary has, 47; there is nothing",
    ),
    "too many": (
        ["student.vocabulary=999"],
        r"^student\.vocabulary: size: 999 is no less than the",
    ),
    "of records": (
        ["student.vocabulary=30", "data.records=records"],
        r"^student\.vocabulary cuts the teacher's, with which data\.records were prepared; give",
    ),
}

BAD = SIZES | LAYERS | LOSSES | VOCABULARIES


@pytest.mark.parametrize(("overrides", "message"), BAD.values(), ids=BAD)
def test_shapes_that_cannot_be(refused, config, tmp_path, overrides, message):
    refused("distill", config, *overrides, message=message)
    assert left(tmp_path) == {"config.yaml"}


def test_the_text_is_not_read_for_a_vocabulary_that_cannot_be(refused, config, tmp_path):
    """It may be large; that it is missing would be said first."""
    message = r"^student\.vocabulary: size: 9 is too small"
    refused("distill", config, "data.text=none.txt", "student.vocabulary=9", message=message)
    message = r"none\.txt: no such file"
    refused("distill", config, "data.text=none.txt", "student.vocabulary=30", message=message)
    assert left(tmp_path) == {"config.yaml"}


def test_a_text_in_another_language(refused, config, tmp_path):
    (tmp_path / "foreign.txt").write_text("xyzzy qwert\n")
    text = f"data.text={tmp_path / 'foreign.txt'}"
    message = (
        r"^student\.vocabulary: the text has no token of the vocabulary but \[UNK\]; give text"
    )
    refused("distill", config, text, "student.vocabulary=30", message=message)
    assert left(tmp_path) == {"config.yaml", "foreign.txt"}


def test_a_vocabulary_in_which_nothing_of_the_text_is_left(refused, config, tmp_path):
    message = (
        r"text\.txt: no sequence is left \(.* mostly \[UNK\] dropped\); give more text, or a voc"
    )
    refused("distill", config, "student.vocabulary=10", message=message, after_start=True)
    # What was counted stays beside the run, as prepared text does.
    assert left(tmp_path) == {"config.yaml", "run-data"}
    assert [path.name[:7] for path in (tmp_path / "run-data").iterdir()] == ["tokens-"]


def test_a_preset_keeps_its_vocabulary(refused, config, tmp_path):
    from support.keras_nlp_objects import task

    task("DistilBert", num_layers=2).save_to_preset(str(tmp_path / "preset"))
    options = (f"teacher={tmp_path / 'preset'}", "student.vocabulary=30")
    message = r"^student\.vocabulary: a keras-nlp preset's vocabulary cannot be cut; leave stud"
    refused("distill", config, *options, message=message)
    assert left(tmp_path) == {"config.yaml", "preset"}


class Started(Exception):
    """A run was about to make its first step."""


ADVICE = {
    "cosine": NARROW,
    "heads of a size": ("student.hidden_size=16", "student.num_heads=2", *NO_COSINE),
    "wider at random": (RANDOM, "student.hidden_size=32", *NO_COSINE),
    "no multiple, at random": (RANDOM, "student.hidden_size=20", "student.num_heads=4", *NO_COSINE),
    "heads at random": (RANDOM, "student.num_heads=2"),
    "no wider": ("student.intermediate_size=39",),
    "tokens": ("student.vocabulary=40",),
    "tokens at random": (RANDOM, "student.vocabulary=40"),
    "heads of relations": (*NARROW, "loss.relation_heads=null"),
}


@pytest.mark.parametrize("overrides", ADVICE.values(), ids=ADVICE)
def test_what_the_messages_advise_can_be_done(config, monkeypatch, overrides):
    """Up to the first step, with a loss that is a number."""

    def stop(distiller, batches, job):
        distiller.compile("sgd")
        stream = batches.make_stream(0).take(1)
        figures = distiller.evaluate(stream, verbose=0, return_dict=True)
        assert np.isfinite(figures["loss"]) and figures["loss"] > 0
        raise Started

    monkeypatch.setattr(train, "train_to_the_end", stop)
    with pytest.raises(Started):
        run("distill", config, *overrides)


def test_a_narrower_student_by_the_advice(config, tmp_path):
    assert run("distill", config, *NARROW, "train.steps=2") == 0
    stored = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert stored["student"]["hidden_size"] == 16
    assert tf_distilbert.load_model(tmp_path / "run" / "model").architecture.num_heads == 2
