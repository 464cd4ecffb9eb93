"""Reports of runs of other kinds, of unfinished and damaged ones, and of several."""

import json
import math
import shutil
from dataclasses import replace

import pytest

from support import tiny
from support.reports import QUIET, SCORES, finish_run, report, without_model
from tf_distilbert.config.file import dump_config, parse_config
from tf_distilbert.config.finetuning import FinetuneConfig
from tf_distilbert.config.jobs import PretrainConfig
from tf_distilbert.finetuning.baseline import Baseline
from tf_distilbert.finetuning.retention_table import summarise
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.report.reporter import write_report
from tf_distilbert.report.run import name_runs
from tf_distilbert.runs.logs import read_log

pytest.importorskip("matplotlib", reason="needs the extra `report`")
pytest.importorskip("jinja2", reason="needs the extra `report`")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return finish_run(tmp_path_factory.mktemp("report"))


# Something is missing


def test_a_run_in_progress_with_a_torn_log(folder, tmp_path):
    copy = without_model(folder, tmp_path)
    lines = (copy / "log.jsonl").read_text().splitlines()
    (copy / "log.jsonl").write_text("\n".join(lines[:4]) + '\n{"step": 6, "kind": "tra')
    page = report(tmp_path, copy)
    assert page.table("What each run is")[1]["state"][0].startswith("not finished, 3 of 6 steps")
    assert page.table("What each run is")[1]["versions"] == ["written down when the run ends"]
    assert "There is no model yet" in page.root.text
    assert list(page.table("Masked-LM loss")[1]) == ["0", "2", "3"]
    assert not page.all("ol")


def test_a_finished_run_that_goes_on_to_more_steps(folder, tmp_path):
    copy = shutil.copytree(folder / "run", tmp_path / "run")
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(config.replace("steps: 6\n", "steps: 60\n"))
    page = report(tmp_path, copy)
    assert page.table("What each run is")[1]["state"][0].startswith("not finished, 6 of 60 steps")
    assert "run: The run goes on to another length." in page.root.text
    # As long in epochs as it was in steps: who can tell? It is another length.
    of_epochs = config.replace("  steps: 6\n", "").replace("epochs: null", "epochs: 9.0")
    (copy / "config.yaml").write_text(of_epochs)
    assert report(tmp_path, copy).table("What each run")[1]["state"][0].startswith("not finished")


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("runs/first/model", ", beginning with runs/first/model"),
        ("random", ", beginning with random weights"),
        ("teacher", ""),
    ],
)
def test_where_a_student_began_is_said(folder, tmp_path, start, said):
    copy = without_model(folder, tmp_path)
    config = (copy / "config.yaml").read_text()
    changed = config.replace("initialize_from: teacher", f"initialize_from: {start}")
    changed = changed.replace("precision: float32", "precision: auto")
    (copy / "config.yaml").write_text(changed)
    _, rows = report(tmp_path, copy).table("What each run is")
    assert rows["made"] == [f"distilled from {folder / 'teacher'}{said}"]
    # As runs of an earlier version have it.
    assert rows["precision, seed"] == ["chosen by the device, not written down, 56"]


def test_a_run_that_has_logged_nothing(folder, tmp_path):
    copy = without_model(folder, tmp_path)
    (copy / "log.jsonl").unlink()
    page = report(tmp_path, copy)
    assert "There is no report in the log yet." in page.root.text
    assert not page.all("svg")


def test_figures_that_are_not_finite_are_said(folder, tmp_path):
    copy = without_model(folder, tmp_path)
    lines = [
        {"step": step, "kind": "train", "time": 1.0, "loss": loss}
        for step, loss in ((1, 2.0), (2, math.nan), (3, math.inf))
    ]
    (copy / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, rows = report(tmp_path, copy).table("Loss, the weighted sum")
    assert rows == {"1": ["2"], "2": ["not finite"], "3": ["not finite"]}


def test_a_teacher_that_is_gone_takes_little_with_it(folder, tmp_path):
    copy = shutil.copytree(folder / "run", tmp_path / "run")
    shutil.copytree(folder / "run-data", tmp_path / "run-data")
    config = (copy / "config.yaml").read_text().replace(str(folder / "teacher"), "/gone/teacher")
    (copy / "config.yaml").write_text(config)
    page = report(tmp_path, copy)
    assert "The teacher cannot be loaded (/gone/teacher: no such model folder" in page.root.text
    head, rows = page.table("run: size, speed and quality")
    assert head == ["", "student"] and "masked-LM accuracy" in rows
    [shown] = [e for e in page.all("ol") if e.attributes.get("class") == "examples"]
    assert [dt.text for dt in shown.all("li")[0].all("dt")] == ["hidden word", "student run"]
    assert "Layers are compared where" in page.root.text


def test_held_out_text_that_is_gone(folder, tmp_path):
    copy = shutil.copytree(folder / "run", tmp_path / "run")  # without run-data
    page = report(tmp_path, copy)
    assert "There is no held-out text, or it is no longer where the run had it" in page.root.text
    _, rows = page.table("run: size, speed and quality")
    assert "parameters" in rows and "masked-LM loss" not in rows


# Of another kind


def write_run(folder, config, *lines):
    folder.mkdir()
    (folder / "config.yaml").write_text(dump_config(replace(config, output=str(folder))))
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_pretraining(folder, tmp_path):
    values = tiny.run_settings(folder, "unused") | {"data": {"text": ["a.txt"], "vocabulary": 99}}
    del values["teacher"]
    config = parse_config(PretrainConfig, values)
    line = {"step": 2, "kind": "train", "time": 1.0, "mlm_loss": 3.5}
    run = write_run(tmp_path / "teacher", config, line)
    save_model(tiny.model(), run / "model")
    page = report(tmp_path, run)
    assert page.table("What each run is")[1]["made"] == ["pretrained from scratch"]
    head, rows = page.table("teacher: size, speed and quality")
    assert head == ["", "model"] and rows["layers"] == ["4"]
    assert page.table("Masked-LM loss")[1] == {"2": ["3.5"]}


def test_a_fine_tuning(tmp_path):
    values = {"task": "sst2", "model": "student", "data": "GLUE", "output": "unused"}
    config = parse_config(FinetuneConfig, values)
    lines = [
        {"step": 2, "kind": "train", "time": 1.0, "task_loss": 0.5, "accuracy": 0.7},
        {"step": 2, "kind": "validation", "time": 2.0, "task_loss": 0.6, "f1": 0.8},
    ]
    run = write_run(tmp_path / "sst2", config, *lines)
    (run / "scores.json").write_text('{"validation": {"score": 0.9, "accuracy": 0.9}}')
    page = report(tmp_path, run)
    _, rows = page.table("What each run is")
    assert rows["made"] == ["fine-tuned on sst2 from student"] and rows["loss"] == ["labels"]
    assert rows["scores on validation"] == ["score 0.9, accuracy 0.9"]
    assert page.table("F1")[1] == {"2": ["0.8"]}
    assert page.table("Loss of the labels")[1] == {"2": ["0.5", "0.6"]}


# Several


def test_several_runs_are_overlaid_and_compared(folder, tmp_path):
    first, second = (without_model(folder, tmp_path, name) for name in ("first", "second"))
    config = (second / "config.yaml").read_text()
    (second / "config.yaml").write_text(config.replace("cosine_weight: 1.0", "cosine_weight: 0.5"))
    reports = read_log(second, "train")
    (second / "log.jsonl").write_text(
        "".join(json.dumps(report | {"mlm_loss": 0.25}) + "\n" for report in reports)
    )
    page = report(tmp_path, first, second)
    assert page.all("h1")[0].text == "Report on first, second"
    assert page.all("table")[0].all("caption")[0].text.startswith("The runs side by side")
    head, rows = page.table("The runs side by side")
    assert head == ["", "first", "second"]
    assert rows["loss.cosine_weight"] == ["1.0", "0.5"] and rows["steps made"] == ["6", "6"]
    last = read_log(first, "validation")[-1]
    assert rows["held out: mlm_accuracy"] == [f"{last['mlm_accuracy']:.4g}", ""]
    assert not any("train." in row for row in rows)  # in all else they are alike
    head, rows = page.table("Masked-LM loss")
    assert head == ["step", "first, training", "first, held out", "second, training"]
    assert {cells[2] for step, cells in rows.items() if int(step) in (2, 3, 4, 6)} == {"0.25"}
    [picture] = [svg for svg in page.all("svg") if "Masked-LM loss" in str(svg.attributes)]
    assert (
        "second, training: from 0.25 at step 2 to 0.25 at step 6."
        in picture.attributes["aria-label"]
    )
    strokes = {e.attributes.get("style", "") for e in picture.all("path")}
    for color in ("var(--series-1)", "var(--series-2)"):
        assert any(f"stroke: {color}" in style for style in strokes)
    assert not any("var(--series-3)" in style for style in strokes)


def test_the_models_of_several_runs_are_in_one_table(folder, tmp_path):
    """Their teacher is one; of another text, or another teacher, it would be two."""
    for name in ("first", "second"):
        shutil.copytree(folder / "run", tmp_path / name)
        shutil.copytree(folder / "run-data", tmp_path / f"{name}-data")
    page = report(tmp_path, tmp_path / "first", tmp_path / "second")
    head, rows = page.table("Size, speed and quality")
    assert head == ["", "first", "second", "teacher"]
    assert rows["layers"] == ["1", "1", "2"]
    _, of_one = report(tmp_path, tmp_path / "first").table("first: size, speed")
    own, theirs, _ = of_one["masked-LM accuracy"]
    assert rows["masked-LM accuracy"] == [own, own, theirs]
    _, beside = page.table("The runs side by side")
    assert beside["masked-LM accuracy"] == [own, own]
    assert beside["parameters"] == rows["parameters"][:2]
    assert all(float(cell) > 0 for cell in beside["ms for a text of 128 tokens"])
    assert page.table("Masked-LM accuracy: values")[0][-1] == "teacher"
    shutil.copytree(folder / "teacher", tmp_path / "other")
    config = (tmp_path / "second" / "config.yaml").read_text()
    (tmp_path / "second" / "config.yaml").write_text(
        config.replace(f"teacher: {folder}/teacher", f"teacher: {tmp_path}/other")
    )
    page = report(tmp_path, tmp_path / "first", tmp_path / "second")
    names = ["teacher of first", "teacher of second"]
    assert page.table("Size, speed and quality")[0][3:] == names
    assert page.table("Masked-LM accuracy: values")[0][-2:] == names


def test_several_runs_go_into_the_current_folder(folder, tmp_path, monkeypatch):
    runs = [without_model(folder, tmp_path, name) for name in ("first", "second")]
    monkeypatch.chdir(tmp_path)
    assert write_report(runs, console=QUIET).absolute() == tmp_path / "report.html"


def test_runs_of_one_name_are_told_apart(tmp_path):
    folders = [tmp_path / name for name in ("a/run", "b/run", "c")]
    assert name_runs(folders) == ["a/run", "b/run", "c"]


def test_a_share_of_nothing_is_explained_in_its_place(folder, tmp_path):
    copy = without_model(folder, tmp_path)
    scores = {"teacher": {"cola": [0.02]}, "student": {"cola": [-0.157]}}
    summary = summarise(scores, {}, {"cola": Baseline(0.0, 0.06)})
    (copy / "retention.json").write_text(json.dumps(summary))
    page = report(tmp_path, copy)
    assert page.table("Share of the score")[1] == {"student": ["-", "-"]}
    assert "not clearly above that of one same answer for all examples (cola 0.0)" in page.root.text
    assert "785" not in page.root.text


def test_what_models_and_exports_cost_is_shown(folder, tmp_path):
    copy = without_model(folder, tmp_path)
    scores = {"teacher": {"sst2": [0.9]}, "half": {"sst2": [0.8]}, "half, int8": {"sst2": [0.75]}}
    costs = {"teacher": (4e6, 16.04e6, 9.96), "half": (2e6, 8e6, 5), "half, int8": (2e6, 2e6, 2)}
    facts = {
        name: {"parameters": count, "bytes": size, "text_milliseconds": time}
        for name, (count, size, time) in costs.items()
    }
    (copy / "retention.json").write_text(json.dumps(summarise(scores, facts)))
    page = report(tmp_path, copy)
    head, rows = page.table("Median of 1 seed")
    assert head == ["model", "parameters", "MB", "ms a text", "score", "share", "sst2"]
    cells = ["4.0 M", "16.0", "10.0", "90.0", "100.0 %", "90.0 (90.0 to 90.0)"]
    assert rows["teacher"] == cells
    cells = ["2.0 M", "2.0", "2.0", "75.0", "83.3 %", "75.0 (75.0 to 75.0)"]
    assert rows["half, int8"] == cells
    assert "half, int8, 2.0 MB" in page.root.text  # beside its point
    assert "MB are those of the weights on the disk" in page.root.text


def test_an_ablation_is_shown_whole(folder, tmp_path):
    output = tmp_path / "ablation"
    (output / "students").mkdir(parents=True)
    for name in ("triple-loss", "without-cosine"):
        without_model(folder, output / "students", name)
    (output / "retention.json").write_text(json.dumps(summarise(SCORES, {})))
    page = report(tmp_path, output)
    assert page.table("What each run is")[0] == ["", "triple-loss", "without-cosine"]
    assert page.table("Ablation")[1] == {"triple loss": ["81.00", "+0.00"]}
    variant = report(tmp_path, output / "students" / "triple-loss")
    assert "triple loss" in variant.table("Median of 2 seeds")[1]
