"""What a command line says comes before what a file says."""

import pytest

from support.settings import MINIMAL, with_values, write
from tf_distilbert.config.file import load_config, parse_config, read_run, with_overrides
from tf_distilbert.config.finetuning import FinetuneConfig
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.errors import UserError


def test_overrides_take_the_same_path_as_the_file(tmp_path):
    path = write(tmp_path / "a.yaml", MINIMAL)
    overrides = [
        "train.steps=20",
        "train.learning_rate=3e-5",
        "train.clip_norm=null",
        "train.jit_compile=true",
        "student.layer_map=[0, 3]",
        "data.text=b=c.txt",
        "data.masking.rate=0.2",
        "teacher=hf://OWNER/NAME",
        "train.steps=30",
    ]
    config = load_config(DistillConfig, path, overrides)
    assert config.train.steps == 30
    assert config.train.learning_rate == 3e-5
    assert config.train.clip_norm is None
    assert config.train.jit_compile is True
    assert config.student.layer_map == [0, 3]
    assert config.data.text == ["b=c.txt"]
    assert config.data.masking.rate == 0.2
    assert config.teacher == "hf://OWNER/NAME"


@pytest.mark.parametrize(
    ("override", "key", "replaced"),
    [
        ("train.epochs=2", "train.epochs", "train.steps"),
        ("train.tokens=1000", "train.tokens", "train.steps"),
        ("data.records=r", "data.records", "data.text"),
        ("data.validation=v.txt", "data.validation", "data.validation_share"),
    ],
)
def test_one_of_several_alternatives_replaces_the_one_of_the_file(
    tmp_path, override, key, replaced
):
    path = write(tmp_path / "a.yaml", with_values(data__validation_share=0.01))
    before, after = load_config(DistillConfig, path), load_config(DistillConfig, path, [override])

    def value(config, key):
        section, name = key.split(".")
        return getattr(getattr(config, section), name)

    assert value(before, replaced) and not value(before, key)
    assert value(after, key) and not value(after, replaced)
    with pytest.raises(UserError, match=r"both given|given: train\.steps and"):
        load_config(DistillConfig, path, [override, f"{replaced}={value(before, replaced)}"])


def test_an_alternative_that_is_taken_back_replaces_nothing(tmp_path):
    path = write(tmp_path / "a.yaml", with_values(data__validation_share=0.01))
    config = load_config(DistillConfig, path, ["train.epochs=null", "data.validation=[]"])
    assert (config.train.steps, config.data.validation_share) == (10, 0.01)


def test_the_durations_that_are_defaults_give_way():
    values = {"task": "sst2", "model": "m", "data": "d", "output": "o"}
    values = with_overrides(values, ["train.steps=7"])
    train = parse_config(FinetuneConfig, values).train
    assert (train.steps, train.epochs) == (7, None)


def test_options_come_before_the_file_and_beside_no_setting(tmp_path):
    path = write(tmp_path / "a.yaml", MINIMAL)
    config = load_config(DistillConfig, path, [], {"teacher": "5e-4", "output": None})
    assert (config.teacher, config.output) == ("5e-4", "run")  # as it is written, no YAML
    with pytest.raises(UserError, match=r"^data\.text: is given twice, as an option and as a sett"):
        load_config(DistillConfig, path, ["data.text=a"], {"data.text": ["b"]})


def test_what_is_one_value_has_no_keys(tmp_path):
    path = write(tmp_path / "a.yaml", MINIMAL)
    message = r"^unknown key teacher\.num_layers: teacher is one value, without keys of its own$"
    with pytest.raises(UserError, match=message):
        load_config(DistillConfig, path, ["teacher.num_layers=3"], {"teacher": "t"})


def test_the_package_s_own_files_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(DistillConfig, "configs/quickstart.yaml").output == "runs/quickstart"
    with pytest.raises(
        UserError, match=r"^configs/none\.yaml: no such .*; .* configs/mini-english"
    ):
        load_config(DistillConfig, "configs/none.yaml")
    (tmp_path / "configs").mkdir()
    write(tmp_path / "configs/quickstart.yaml", MINIMAL)
    assert load_config(DistillConfig, "configs/quickstart.yaml").output == "run"


def test_a_run_of_an_earlier_version_is_read(tmp_path):
    """It wrote a key that is gone; where that was empty it decided nothing."""
    path = tmp_path / "config.yaml"
    path.write_text("task: sst2\nloss: {hidden_weight: 0.0, layer_map: null}\n")
    assert read_run(path) == {"task": "sst2", "loss": {"hidden_weight": 0.0}}
    path.write_text("loss: {layer_map: [1, 3]}\n")
    assert read_run(path) == {"loss": {"layer_map": [1, 3]}}
