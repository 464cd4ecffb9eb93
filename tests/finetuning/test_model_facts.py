"""Size, speed and held-out figures of models: what is counted, and which times count."""

import itertools
from types import SimpleNamespace

import pytest
from safetensors.numpy import load_file

from support import tiny
from tf_distilbert.finetuning import model_facts, retention
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.model_files.provenance import write_provenance


@pytest.fixture
def folder(tmp_path):
    save_model(tiny.model(num_layers=2), tmp_path)
    return tmp_path


def test_parameters_are_those_of_the_file_without_its_head(folder):
    tensors = load_file(folder / "model.safetensors")
    encoder = [value for name, value in tensors.items() if name.startswith("bert.")]
    [found] = model_facts.measure_models({"a": str(folder)}, rounds=1).values()
    assert found["parameters"] == sum(value.size for value in encoder) > 0
    assert found["milliseconds"] > 0


def test_models_are_timed_in_turns_and_their_first_two_turns_do_not_count(folder, monkeypatch):
    def clock():
        """The first call of a model lasts one second, the second two, and so on."""
        now = 0
        for call in itertools.count(1):
            yield now
            now += call
            yield now

    ticks = clock()
    monkeypatch.setattr(model_facts, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    found = model_facts.measure_models({"a": str(folder), "b": str(folder)}, rounds=3)
    assert found["a"]["milliseconds"] == 7000  # 5, 7, 9; before them 1, 3
    assert found["b"]["milliseconds"] == 8000


def test_held_out_figures_are_those_of_the_models_own_run(folder):
    assert model_facts.held_out_metrics(str(folder)) == {}
    validation = {"step": 3, "mlm_accuracy": 0.5, "loss": 2.0, "cosine_loss": 0.1}
    write_provenance(folder, "distill", {"data": "text.txt"}, validation)
    assert model_facts.held_out_metrics(str(folder)) == {"mlm_accuracy": 0.5, "cosine_loss": 0.1}


def test_held_out_figures_of_another_vocabulary_are_left_out(monkeypatch):
    """They are of other tokens, and stand in no column with those of the teacher's."""
    sizes = {"teacher": 47, "half": 47, "cut": 30}
    measured = {name: {"vocabulary": size} for name, size in sizes.items()}
    monkeypatch.setattr(retention, "measure_models", lambda models: measured)
    monkeypatch.setattr(retention, "measure_costs", lambda *_: {name: {} for name in sizes})
    monkeypatch.setattr(retention, "held_out_metrics", lambda path: {"mlm_loss": 1.0})
    plan = SimpleNamespace(models={name: name for name in sizes}, exports=(), first_task=None)
    found = {name: facts["held_out"] for name, facts in retention._facts(plan).items()}
    assert found == {"teacher": {"mlm_loss": 1.0}, "half": {"mlm_loss": 1.0}, "cut": {}}
