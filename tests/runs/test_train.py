"""Whole runs, small: what they write, refuse, resume; that they learn."""

import json
import re
import shutil

import numpy as np
import pytest
import yaml
from rich.console import Console
from safetensors.numpy import load_file

from support import tiny
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.jobs import DistillConfig, PretrainConfig
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.folder import load_model, save_model
from tf_distilbert.runs.logs import read_log
from tf_distilbert.runs.train import distill, pretrain

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A teacher and a corpus."""
    folder = tmp_path_factory.mktemp("run")
    save_model(tiny.model(dropout=0.1, attention_dropout=0.1), folder / "teacher")
    tiny.write_text(folder / "text.txt")
    return folder


def settings(folder, output, **train):
    return {
        "teacher": str(folder / "teacher"),
        "output": str(folder / output),
        "data": {
            "text": [str(folder / "text.txt")],
            "validation": [str(folder / "text.txt")],
            "sequence_length": 32,
        },
        "train": {
            "steps": 6,
            "global_batch_size": 8,
            "precision": "float32",
            "learning_rate": 1e-3,
            "log_every": 2,
            "validate_every": 3,
            "checkpoint_every": 3,
        }
        | train,
    }


def run(folder, output, **train):
    return distill(parse_config(DistillConfig, settings(folder, output, **train)), QUIET)


@pytest.fixture(scope="module")
def finished(folder):
    return run(folder, "finished").parent


def test_a_run_writes_all_that_it_promises(folder, finished):
    resolved = yaml.safe_load((finished / "config.yaml").read_text())
    assert resolved["loss"]["distillation_weight"] == 5.0
    assert resolved["train"]["steps"] == 6
    model = load_model(finished / "model")
    assert model.architecture.num_layers == 2 and model.architecture.family == "distilbert"
    # A report comes before each validation, so that no step is missing from the means.
    assert [report["step"] for report in read_log(finished, "train")] == [2, 3, 4, 6]
    assert [report["step"] for report in read_log(finished, "validation")] == [0, 3, 6]
    assert sorted(p.name for p in (finished / "checkpoints").iterdir()) == [
        "step-00000003",
        "step-00000006",
    ]
    assert list((finished / "tensorboard").glob("*/events.*"))
    figures = {"loss", "distillation_loss", "mlm_loss", "cosine_loss", "mlm_accuracy"}
    figures |= {"teacher_agreement", "gradient_norm", "learning_rate", "tokens_per_second"}
    assert figures <= read_log(finished, "train")[0].keys()
    rates = [report["learning_rate"] for report in read_log(finished, "train")]
    np.testing.assert_allclose(rates, [1e-3 * (7 - step) / 5 for step in (2, 3, 4, 6)], rtol=1e-5)


def test_the_student_learns(finished):
    first, _, last = read_log(finished, "validation")
    assert last["loss"] < first["loss"]


def test_no_checkpoint_holds_the_teacher(finished):
    tensors = load_file(finished / "checkpoints" / "step-00000006" / "tensors.safetensors")
    student = load_file(finished / "model" / "model.safetensors")
    kept = {name: t.size for name, t in tensors.items() if not name.startswith("figures/")}
    # Weights and two moments of each; q, k, v are one tensor. The optimizer counts steps, updates.
    counters = [name for name in kept if re.search(r"seed_generator|/(iteration|updates)$", name)]
    sizes = sum(size for name, size in kept.items() if name not in counters)
    assert sizes == 3 * sum(t.size for t in student.values())


def test_resumed_after_a_stop_it_ends_with_the_same_bits(folder, finished):
    shutil.copytree(finished, folder / "stopped")
    shutil.rmtree(folder / "stopped" / "model")
    shutil.rmtree(folder / "stopped" / "checkpoints" / "step-00000006")
    config = (folder / "stopped" / "config.yaml").read_text()
    (folder / "stopped" / "config.yaml").write_text(config.replace("finished", "stopped"))
    run(folder, "stopped", resume="auto")
    ours = load_file(folder / "stopped" / "model" / "model.safetensors")
    theirs = load_file(finished / "model" / "model.safetensors")
    for name, tensor in theirs.items():
        np.testing.assert_array_equal(ours[name], tensor, err_msg=name)
    steps = [report["step"] for report in read_log(folder / "stopped", "train")]
    assert steps == [2, 3, 4, 6]
    assert [r["step"] for r in read_log(folder / "stopped", "validation")] == [0, 3, 6]


def test_an_existing_run_is_refused(folder, finished):
    with pytest.raises(UserError, match="holds a run already; add --resume"):
        run(folder, "finished")


def test_a_folder_that_is_no_run_is_never_deleted(folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.txt").write_text("five years of work")
    with pytest.raises(UserError, match="is not a run"):
        run(folder, "mine", resume="overwrite")
    assert (folder / "mine" / "thesis.txt").exists()


def test_resuming_with_other_settings_is_refused(folder, finished):
    with pytest.raises(UserError, match=r"train.beta_1 0.9, now it is 0.8"):
        run(folder, "finished", resume="auto", beta_1=0.8)


@pytest.mark.slow
def test_overwrite_starts_again_and_leaves_what_is_not_the_runs(folder):
    run(folder, "again", steps=2)
    (folder / "again" / "notes.txt").write_text("it diverged")
    run(folder, "again", steps=3, resume="overwrite")
    assert [r["step"] for r in read_log(folder / "again", "train")] == [2, 3]
    assert (folder / "again" / "notes.txt").read_text() == "it diverged"


@pytest.mark.slow
def test_records_of_the_same_text_are_made_once(folder, finished):
    def prepared():  # for this run, or for another one beside it
        return {path: path.stat().st_mtime_ns for path in folder.glob("*-data/*/*.tfrecord")}

    made = prepared()
    run(folder, "finished", steps=1, resume="overwrite", validate_every=9)
    assert prepared() == made and len(made) >= 2


@pytest.mark.slow
def test_pretraining_from_scratch(folder):
    values = settings(folder, "pretrained", steps=200, learning_rate=1e-2)
    del values["teacher"]
    values["data"]["vocabulary"] = 60
    sizes = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "intermediate_size": 32}
    values["model"] = sizes | {"max_positions": 32, "dropout": 0.0, "attention_dropout": 0.0}
    path = pretrain(parse_config(PretrainConfig, values), QUIET)
    reports = read_log(path.parent, "validation")
    # Well below ln 60: it started from the frequencies of words and went on from there.
    assert reports[-1]["mlm_loss"] < 2.5 < np.log(60)
    assert json.loads((path / "config.json").read_text())["model_type"] == "bert"
    assert len(load_model(path).tokenizer.vocabulary) == 60


def test_pretraining_goes_on_from_a_model(folder):
    values = settings(folder, "trained-on", steps=1, warmup_share=0.0, learning_rate=1e-3)
    values["initialize_from"] = values.pop("teacher")
    path = pretrain(parse_config(PretrainConfig, values), QUIET)
    before, after = (load_file(p / "model.safetensors") for p in (folder / "teacher", path))
    # Adam's first step is the rate, whatever the gradient.
    for name, value in after.items():
        difference = np.abs(value - before[name])
        assert difference.max() <= 1.001e-3, name
        # The bias of keys is the one whose gradient is none.
        assert difference.mean() > 1e-4 or "key.bias" in name, name


@pytest.mark.slow
def test_a_run_that_diverged_goes_on_from_what_is_good(folder):
    """The first update has rate 0, the second spoils the weights, the third shows it."""
    absurd = {"learning_rate": 1e30, "clip_norm": None}
    with pytest.raises(UserError, match=r"not finite at step 3; .* is .*step-00000001; lower"):
        run(folder, "diverged", checkpoint_every=1, **absurd)
    assert not (folder / "diverged" / "model").exists()
    run(folder, "diverged", checkpoint_every=1, resume="auto")
    assert read_log(folder / "diverged", "validation")[-1]["step"] == 6


def test_a_run_that_diverged_with_nothing_good_says_so(folder):
    with pytest.raises(UserError, match=r"no good checkpoint; .* start again with --overwrite"):
        run(folder, "lost", learning_rate=1e30, clip_norm=None, checkpoint_every=2)
    assert list((folder / "lost" / "checkpoints").iterdir()) == []


@pytest.mark.parametrize("output", ["/", "//"])
def test_an_output_without_a_name_is_refused(folder, output):
    with pytest.raises(UserError, match="choose another output"):
        distill(parse_config(DistillConfig, settings(folder, "x") | {"output": output}), QUIET)


@pytest.mark.slow
def test_edited_text_is_prepared_again(folder):
    text = tiny.write_text(folder / "edited.txt")
    values = settings(folder, "edited", steps=1)
    values["data"] |= {"text": [str(text)], "validation": []}
    distill(parse_config(DistillConfig, values), QUIET)
    text.write_text(text.read_text().replace("paris", "river"))
    values["train"]["resume"] = "overwrite"
    distill(parse_config(DistillConfig, values), QUIET)
    counts = [np.load(p) for p in (folder / "edited-data").glob("*/token_counts.npy")]
    paris = tiny.VOCABULARY.index("paris")
    assert sorted(int(c[paris] > 0) for c in counts) == [0, 1]
