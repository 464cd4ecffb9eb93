"""Settings of the student's shape, and of the terms that shapes call for."""

from dataclasses import asdict

import pytest

from support.settings import MINIMAL, with_values, write
from tf_distilbert.config.file import dump_config, load_config, parse_config
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.errors import UserError

BAD = {
    "a map by another name": (
        {"student__layer_map": "best"},
        r"^student\.layer_map is 'best'; it must be layers of the teacher, auto, or null$",
    ),
    "a map of words": (
        {"student__layer_map": ["auto"]},
        r"student\.layer_map is \['?auto'?\]; it takes a list of a whole number or text or null",
    ),
    "a map that is found for a random start": (
        {"student__layer_map": "auto", "student__initialize_from": "random"},
        r"layer_map is auto, but student\.initialize_from is random, which takes no layer; remov",
    ),
    "sizes of a student that is there": (
        {"student__initialize_from": "runs/first/model", "student__hidden_size": 384},
        r"student\.hidden_size is given, .*; leave one out, or give student\.hidden_size=null",
    ),
    "words of a student that is there": (
        {"student__initialize_from": "runs/first/model", "student__vocabulary": 100},
        r"student\.vocabulary is given, but the model of student\.initialize_from has its own",
    ),
    "width of nothing": (
        {"student__hidden_size": 0},
        r"student\.hidden_size is 0; it must be above 0, or null",
    ),
    "heads below nothing": (
        {"student__num_heads": -1},
        r"student\.num_heads is -1; it must be above 0, or null",
    ),
    "vocabulary of nothing": (
        {"student__vocabulary": 0},
        r"student\.vocabulary is 0; it must be above 0, or null",
    ),
    "fewer words of records": (
        {"student__vocabulary": 100, "data__text": [], "data__records": "r"},
        r"student\.vocabulary cuts .* data\.records were prepared; give data\.text in their place",
    ),
    "relation heads": (
        {"loss__relation_heads": 0},
        r"loss\.relation_heads is 0; it must be above 0, or null",
    ),
    "relations of one layer": (
        {"loss__relation_layers": [11]},
        r"loss\.relation_layers is \[11\]; it must be two layers, \[teacher, student\]",
    ),
    "hidden layers that are no pairs": (
        {"loss__hidden_layers": [[1, 0], [2]]},
        r"loss\.hidden_layers is \[\[1, 0\], \[2\]\]; it must be pairs of layers",
    ),
    "no hidden layers": (
        {"loss__hidden_layers": []},
        r"loss\.hidden_layers is \[\]; it must be pai",
    ),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_bad_values_are_refused(changes, message):
    with pytest.raises(UserError, match=message) as caught:
        parse_config(DistillConfig, with_values(**changes))
    assert "\n" not in str(caught.value)


SHAPES = {
    "searched": {"student": {"layer_map": "auto", "num_layers": 6}},
    "one layer": {"student": {"layer_map": [3]}},
    "narrower": {
        "student": {"hidden_size": 384, "num_heads": 6, "intermediate_size": 1536},
        "loss": {"cosine_weight": 0.0, "relation_weight": 1.0, "relation_heads": 48},
    },
    "fewer words": {"student": {"vocabulary": 20_000}},
    "only relations": {
        "loss": {
            **dict.fromkeys(("distillation_weight", "mlm_weight", "cosine_weight"), 0.0),
            "relation_weight": 1.0,
            "relation_layers": [10, 5],
        },
    },
    "hidden states": {"loss": {"hidden_weight": 1.0, "hidden_layers": [[1, 0], [11, 5]]}},
}


@pytest.mark.parametrize("sections", SHAPES.values(), ids=SHAPES)
def test_shapes_survive_writing_them_out(tmp_path, sections):
    config = load_config(DistillConfig, write(tmp_path / "a.yaml", MINIMAL | sections))
    for section, values in sections.items():
        assert values.items() <= asdict(getattr(config, section)).items()
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_config(DistillConfig, tmp_path / "again.yaml") == config


@pytest.mark.parametrize(
    ("override", "layer_map"),
    [("auto", "auto"), ("[1,3]", [1, 3]), ("2", [2]), ("null", None), ("", None)],
)
def test_a_map_on_the_command_line(tmp_path, override, layer_map):
    path = write(tmp_path / "a.yaml", MINIMAL | {"student": {"layer_map": [0]}})
    config = load_config(DistillConfig, path, [f"student.layer_map={override}"])
    assert config.student.layer_map == layer_map
