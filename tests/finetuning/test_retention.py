"""The retention table: its numbers, and the command that makes it."""

import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import yaml

from support import tiny
from support.capitals import sentences
from support.commands import run
from support.task_files import CONTEXT, question, row, write
from tf_distilbert.config.file import load_config
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.distillation.student import build_student
from tf_distilbert.finetuning.baseline import Baseline, baseline_of, mean_baseline
from tf_distilbert.finetuning.examples import TextExample, TokenExample
from tf_distilbert.finetuning.retention_table import as_markdown, score_table, summarise
from tf_distilbert.finetuning.tasks import find_task
from tf_distilbert.finetuning.trials import Trial
from tf_distilbert.finetuning.variants import variants_of
from tf_distilbert.model_files.folder import save_model

SCORES = {
    "teacher": {"a": [0.5, 0.9, 0.8], "b": [0.4, 0.4, 0.4]},
    "student": {"a": [0.6, 0.7, 0.76], "b": [0.1, 0.5, 0.3]},
}


def test_medians_spreads_and_shares_are_those_of_a_hand():
    facts = {"teacher": {"parameters": 2e6, "bytes": 8_040_000, "text_milliseconds": 3.04}}
    facts["student"] = {"held_out": {"mlm_loss": 4.25, "mlm_accuracy": 0.3}}
    found = summarise(SCORES, facts)
    teacher, student = found["models"]["teacher"], found["models"]["student"]
    assert teacher["macro_score"] == pytest.approx((80 + 40) / 2)
    assert student["macro_score"] == pytest.approx((70 + 30) / 2)
    assert student["retention"] == pytest.approx(50 / 60)
    a = student["tasks"]["a"]
    assert (a["median"], a["lowest"], a["highest"]) == pytest.approx((70, 60, 76))
    assert a["retention"] == pytest.approx(7 / 8)
    text = as_markdown(found, differences_to="student")
    assert text.startswith("Median of 3 seeds, lowest and highest, in percent. The score is")
    head, _, *rows = [line for line in text.splitlines() if line.startswith("|")]
    assert head == "| model | parameters | MB | ms a text | score | share | a | b |"
    spreads = "80.0 (50.0 to 90.0) | 40.0 (40.0 to 40.0)"
    assert rows[0] == f"| teacher | 2.0 M | 8.0 | 3.0 | 60.0 | 100.0 % | {spreads} |"
    spreads = "70.0 (60.0 to 76.0) | 30.0 (10.0 to 50.0)"
    assert rows[1] == f"| student |  |  |  | 50.0 | 83.3 % | {spreads} |"
    assert "| student | 83.3 % | 87.5 % | 75.0 % |" in text
    assert "| student | 50.00 | +0.00 |" in text
    assert text.endswith(
        "| model | mlm loss | mlm accuracy |\n| --- | --- | --- |\n| student | 4.2500 | 0.3000 |\n"
    )


def test_a_fact_that_no_model_has_makes_no_column():
    facts = {name: {"text_milliseconds": 2.0} for name in SCORES}
    assert score_table(summarise(SCORES, {})).columns == ["model", "score", "share", "a", "b"]
    columns = ["model", "ms a text", "score", "share", "a", "b"]
    assert score_table(summarise(SCORES, facts)).columns == columns


def test_a_teacher_that_knows_nothing_has_no_share():
    found = summarise({"teacher": {"a": [0.0]}, "student": {"a": [0.1]}}, {})
    assert found["models"]["student"]["retention"] is None
    text = as_markdown(found)
    assert "| student | - | - |" in text and "for all examples (a 0.0): it has" in text


def test_a_teacher_at_the_level_of_chance_has_no_share():
    """Of CoLA's 1,043 examples Matthews' correlation is within 0.062 of 0 by chance."""
    scores = {
        "teacher": {"cola": [0.02, 0.05, 0.01], "sst2": [0.9, 0.9, 0.9]},
        "student": {"cola": [-0.157, -0.1, -0.2], "sst2": [0.81, 0.81, 0.81]},
    }
    baselines = {"cola": Baseline(0.0, 2 / np.sqrt(1043)), "sst2": Baseline(0.509, 0.034)}
    found = summarise(scores, {}, baselines)
    student = found["models"]["student"]
    assert student["tasks"]["cola"]["retention"] is None
    assert student["tasks"]["sst2"]["retention"] == student["retention"] == pytest.approx(0.9)
    assert student["macro_score"] == pytest.approx((-15.7 + 81) / 2)  # this one counts all
    assert found["baselines"] == pytest.approx({"cola": 0.0, "sst2": 50.9})
    text = as_markdown(found)
    assert "| student | 90.0 % | - | 90.0 % |" in text and "785" not in text
    assert "answer for all examples (cola 0.0)" in text
    # A teacher that has learnt the task is compared as ever, and needs no footnote.
    scores["teacher"]["cola"] = [0.5, 0.5, 0.5]
    text = as_markdown(summarise(scores, {}, baselines))
    assert "-31.4 %" in text and "for all examples" not in text


def test_the_baseline_is_the_best_answer_that_is_the_same_for_all():
    """Each figure by hand, from the labels."""
    texts = [TextExample(str(i), ("x",), label) for i, label in enumerate((1, 1, 1, 0))]
    assert baseline_of(find_task("sst2"), texts) == Baseline(0.75, pytest.approx(0.5))
    # Always `equivalent`: 3 of 4 are right, F1 is 2 * 3 / (4 + 3).
    assert baseline_of(find_task("mrpc"), texts).score == pytest.approx((0.75 + 6 / 7) / 2)
    assert baseline_of(find_task("cola"), texts) == Baseline(0.0, pytest.approx(1.0))
    numbers = [TextExample(str(i), ("x", "y"), float(i)) for i in range(4)]
    assert baseline_of(find_task("stsb"), numbers).score == 0.0
    words = [TokenExample("0", ("a", "b", "c", "d"), (0, 0, 1, 0))]
    tagging = replace(find_task("token-classification"), labels=("O", "B-PER"))
    # Always B-PER are four entities, one of them right: 2 * 1 / (4 + 1).
    assert baseline_of(tagging, words).score == pytest.approx(0.4)
    asked = [question(name="a", impossible=True), question("where", CONTEXT, "Italy", name="b")]
    assert baseline_of(find_task("squad-v2"), asked).score == pytest.approx(0.5)
    assert baseline_of(find_task("squad"), asked[1:]).score == 0.0
    both = mean_baseline([Baseline(0.3, 0.03), Baseline(0.5, 0.04)])
    assert both == Baseline(pytest.approx(0.4), pytest.approx(0.025))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("retention")
    teacher = tiny.model(seed=1, num_layers=2)
    save_model(teacher, folder / "teacher")
    save_model(build_student(teacher), folder / "student")
    save_model(tiny.model(seed=3, num_layers=1), folder / "half" / "model")
    for split, number, seed in (("train", 64, 1), ("dev", 32, 2)):
        rows = (row(text, str(label)) for text, label in sentences(number, seed))
        write(folder / "glue" / "SST-2" / f"{split}.tsv", row("sentence", "label"), *rows)
    return folder


def arguments(folder, output, *more, data="glue"):
    return [
        *("retention", "--teacher", folder / "teacher", "--student", folder / "student"),
        *("--tasks", "SST-2", "--data", folder / data, "--output", folder / output),
        *("--seeds", "2", *more, "train.steps=4", "train.epochs=null"),
        *("train.global_batch_size=8", "train.precision=float32"),
    ]


def test_students_and_their_exports_stand_in_one_table(folder, tmp_path, monkeypatch):
    """All is real but the fine-tunings."""
    for package in ("matplotlib", "tf2onnx", "onnxruntime"):
        pytest.importorskip(package)
    marks = {"teacher": 0.9, "half": 0.8, "student": 0.7}
    monkeypatch.setattr(Trial, "score", lambda trial, console: marks[trial.model])
    monkeypatch.setattr(Trial, "export_scores", lambda trial: {"int8": marks[trial.model] - 0.0625})
    words = ["--student", f"half={folder / 'half' / 'model'}", "--exports", "int8"]
    assert run(*arguments(folder, tmp_path / "out", *words)) == 0
    found = json.loads((tmp_path / "out" / "retention.json").read_text())["models"]
    names = ["teacher", "student", "student, int8", "half", "half, int8"]
    assert list(found) == names
    scores = [found[name]["macro_score"] for name in names]
    assert scores == pytest.approx([90, 70, 63.75, 80, 73.75])
    assert found["half, int8"]["retention"] == pytest.approx(73.75 / 90)
    for name, model in found.items():
        assert model["parameters"] == found[name.removesuffix(", int8")]["parameters"]
        assert model["bytes"] > 0 and model["text_milliseconds"] > 0
        assert ("milliseconds" in model) != name.endswith("int8")  # of the encoder in Keras
    table = (tmp_path / "out" / "retention.md").read_text()
    size = f"{found['half, int8']['bytes'] / 1e6:.1f}"
    assert re.search(
        rf"^\| half, int8 \| 0.0 M \| {size} \| [\d.]+ \| 73.8 \| 81.9 % ", table, re.M
    )
    assert (tmp_path / "out" / "retention.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_the_command_writes_table_figures_and_picture_and_goes_on(folder, capsys):
    pytest.importorskip("matplotlib")
    words = arguments(folder, "table", "--learning-rates", "1e-3,1e-4")
    assert run(*words) == 0
    printed = capsys.readouterr().out
    output = folder / "table"
    assert printed.strip() == (output / "retention.md").read_text().strip()
    found = json.loads((output / "retention.json").read_text())
    assert list(found["models"]) == ["teacher", "student"]
    assert len(found["models"]["student"]["tasks"]["sst2"]["scores"]) == 2
    assert (output / "retention.png").read_bytes()[:4] == b"\x89PNG"
    made = sorted(output.rglob("scores.json"))
    assert len(made) == 2 * (2 + 2)  # two models: two searches, two seeds
    times = [path.stat().st_mtime_ns for path in made]
    assert run(*words) == 0  # nothing is fine-tuned again
    assert [path.stat().st_mtime_ns for path in made] == times
    again = json.loads((output / "retention.json").read_text())
    for model in ("teacher", "student"):
        assert again["models"][model]["tasks"] == found["models"][model]["tasks"]


@pytest.mark.long
def test_the_ablation_distils_every_variant(folder):
    pytest.importorskip("matplotlib")
    text = tiny.write_text(folder / "text.txt")
    config = {
        "teacher": str(folder / "teacher"),
        "output": "unused",
        "data": {"text": str(text), "validation": str(text), "sequence_length": 32},
        "train": {"steps": 2, "global_batch_size": 8, "precision": "float32"},
    }
    path = folder / "distill.yaml"
    path.write_text(yaml.safe_dump(config))
    words = arguments(folder, "ablation", "--ablation", path)
    words[words.index("--seeds") + 1] = "1"
    student = words.index("--student")
    del words[student : student + 2]  # it is the variant of the whole recipe
    assert run(*words) == 0
    found = json.loads((folder / "ablation" / "retention.json").read_text())
    assert list(found["models"]) == ["teacher", *variants_of(load_config(DistillConfig, path))]
    held_out = found["models"]["masked LM alone"]["held_out"]
    assert 0 < held_out["teacher_agreement"] <= 1
    assert "| without cosine |" in (folder / "ablation" / "retention.md").read_text()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--learning-rates", "fast"), r"--learning-rates is 'fast'; give numbers"),
        (("--student", "x=none"), r"none: no such model folder; give its path, or hf://OWNER/NAM"),
        (("--student", "x=a", "--student", "x=b"), r"two students have the name x; give one of"),
        (("--student", "teacher=a"), r"the student's name 'teacher' is that of another row"),
        (("--exports", "int4"), r"exports: 'int4' is no precision of an export; give float32 or"),
        (("--exports", "int8,int8"), r"exports: int8 is given twice; leave one out$"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_at_fault_is_said_before_anything_is_trained(folder, refused_here, more, message):
    pytest.importorskip("matplotlib")
    pytest.importorskip("tf2onnx")
    refused_here(*arguments(folder, "refused", *more), message=message)
    assert not (folder / "refused").exists()


def test_what_is_missing_is_said_before_anything_is_trained(folder, refused_here, monkeypatch):
    pytest.importorskip("matplotlib")
    words = arguments(folder, "refused", data="none")
    refused_here(*words, message="no such folder; name the folder of the data")
    del words[3:5]
    refused_here(*words, message="give a student, or the configuration of an ablation")
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    words = arguments(folder, "refused", "--exports", "int8")
    message = r"tf2onnx: is not installed; run `pip install 'tf_distilbert\[onnx\]'`$"
    refused_here(*words, message=message)
    assert not (folder / "refused").exists()
