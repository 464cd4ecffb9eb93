"""The variants of a recipe: what each leaves out or puts in, and that each is made once."""

import shutil
from dataclasses import replace

import pytest
import yaml
from rich.console import Console

from support import tiny
from tf_distilbert.config.file import load_config, parse_config
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning import variants
from tf_distilbert.finetuning.variants import distil_variants, variants_of
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.runs.directory import RunDirectory

QUIET = Console(quiet=True)


def recipe(tmp_path, text="text.txt", **loss):
    values = {
        "teacher": str(tmp_path / "teacher"),
        "output": "unused",
        "data": {"text": [str(tmp_path / text)], "sequence_length": 32},
        "loss": loss,
        "train": {"steps": 1, "global_batch_size": 4},
    }
    return parse_config(DistillConfig, values)


@pytest.fixture
def distilled(tmp_path, monkeypatch):
    """The configurations of the variants that were distilled, which takes no time here."""
    found = {}

    def distill(config, console):
        run = RunDirectory(config.output)
        run.create(config)
        run.model.mkdir()
        found[run.path.name] = config

    monkeypatch.setattr(variants, "distill", distill)
    save_model(tiny.model(num_layers=2), tmp_path / "teacher")
    tiny.write_text(tmp_path / "text.txt")
    return found


# Weights of distillation, MSE, cosine, masked LM, relations, hidden states.
TERMS = ("distillation", "mse", "cosine", "mlm", "relation", "hidden")
USUAL = {
    "triple loss": (5, 0, 1, 2, 0, 0),
    "without distillation": (0, 0, 1, 2, 0, 0),
    "without cosine": (5, 0, 0, 2, 0, 0),
    "without masked LM": (5, 0, 1, 0, 0, 0),
    "masked LM alone": (0, 0, 0, 2, 0, 0),
    "with relations": (5, 0, 1, 2, 3, 0),
    "relations instead of the cosine": (5, 0, 0, 2, 3, 0),
    "relations and words": (5, 0, 0, 2, 3, 0),
    "relations alone": (0, 0, 0, 0, 3, 0),
    "with hidden states": (5, 0, 1, 2, 0, 1),
    "random initialisation": (5, 0, 1, 2, 0, 0),
}
OTHERS = {  # of a recipe with all terms but the masked LM
    "whole recipe": (5, 1, 1, 0, 0.5, 3),
    "without distillation": (0, 0, 1, 0, 0.5, 3),
    "without cosine": (5, 1, 0, 0, 0.5, 3),
    "masked LM alone": (0, 0, 0, 1, 0, 0),
    "without relations": (5, 1, 1, 0, 0, 3),
    "relations alone": (0, 0, 0, 0, 0.5, 0),
    "without hidden states": (5, 1, 1, 0, 0.5, 0),
    "random initialisation": (5, 1, 1, 0, 0.5, 3),
}


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ({}, USUAL),
        ({"mse_weight": 1, "mlm_weight": 0, "relation_weight": 0.5, "hidden_weight": 3}, OTHERS),
    ],
    ids=["the paper's", "all terms"],
)
def test_a_variant_differs_in_what_its_name_says(tmp_path, loss, expected):
    config = recipe(tmp_path, **loss)
    found = variants_of(config)
    weights = {
        name: tuple(getattr(variant.loss, f"{term}_weight") for term in TERMS)
        for name, variant in found.items()
    }
    assert weights == expected and list(weights) == list(expected)
    for name, variant in found.items():
        masked = variant.loss.distillation_positions == "masked"
        assert masked == (name == "relations and words")
        rest = replace(variant, loss=config.loss)
        if name == "random initialisation":
            assert rest.student.initialize_from == "random"
            rest = replace(rest, student=config.student)
        assert rest == config


def test_no_variant_puts_relations_in_the_place_of_a_cosine_that_is_not_there(tmp_path):
    names = list(variants_of(recipe(tmp_path, cosine_weight=0)))
    gone = {"without cosine", "relations instead of the cosine", "relations and words"}
    gone |= {"masked LM alone"}  # which "without distillation" is
    usual = ["whole recipe", *list(USUAL)[1:]]
    assert names == [name for name in usual if name not in gone]


def test_variants_of_a_cut_vocabulary_read_the_text_themselves(tmp_path, distilled):
    config = recipe(tmp_path)
    config = replace(config, student=replace(config.student, vocabulary=30))
    distil_variants(config, tmp_path / "students", QUIET)
    assert {tuple(variant.data.text) for variant in distilled.values()} == {
        (str(tmp_path / "text.txt"),)
    }


def test_variants_share_their_text_and_are_made_once(tmp_path, distilled):
    config = recipe(tmp_path)
    folders = distil_variants(config, tmp_path / "students", QUIET)
    assert [folder.parent.name for folder in folders.values()] == list(distilled)
    assert list(folders) == list(USUAL)
    assert {variant.data.records for variant in distilled.values()} == {
        str(path) for path in (tmp_path / "students" / "data").glob("train-*")
    }
    distilled.clear()
    distil_variants(config, tmp_path / "students", QUIET)
    assert not distilled  # all were there
    with pytest.raises(UserError, match=r"its run has loss\.temperature 2\.0, now it is 3"):
        distil_variants(
            replace(config, loss=replace(config.loss, temperature=3.0)),
            tmp_path / "students",
            QUIET,
        )


def test_variants_of_a_version_without_the_new_terms_are_taken(tmp_path, distilled):
    config = recipe(tmp_path)
    distil_variants(config, tmp_path / "students", QUIET)
    for name in ("triple-loss", "masked-LM-alone", "with-relations"):
        path = tmp_path / "students" / name / "config.yaml"
        old = yaml.safe_load(path.read_text())
        for term in ("relation", "hidden"):
            del old["loss"][f"{term}_weight"]
        path.write_text(yaml.safe_dump(old))
    with pytest.raises(UserError, match=r"with-relations: its run has loss\.relation_weight 0"):
        distil_variants(config, tmp_path / "students", QUIET)
    shutil.rmtree(tmp_path / "students" / "with-relations")
    distilled.clear()
    distil_variants(config, tmp_path / "students", QUIET)
    assert list(distilled) == ["with-relations"]


def test_what_would_learn_nothing_or_the_same_is_left_out(tmp_path):
    found = variants_of(recipe(tmp_path, mlm_weight=0.0, cosine_weight=0.0))
    # Distillation is all that there is.
    gone = {"without distillation", "without cosine", "without masked LM"}
    gone |= {"relations instead of the cosine", "relations and words"}
    assert found.keys() == {"whole recipe", *USUAL} - {*gone, "triple loss"}


@pytest.mark.parametrize("name", ["minilm-6x768", "minilm-6x384", "relations-and-words"])
def test_the_recipes_that_come_along_have_variants(name):
    config = load_config(DistillConfig, f"configs/{name}.yaml", ["student.layer_map=auto"])
    found = variants_of(config)
    assert found["whole recipe"] == config and found["random initialisation"] != config
    assert found["random initialisation"].student.layer_map is None
    assert ("without relations" in found) == (name == "relations-and-words")
