"""What students keep of a sentence encoder: scored as they are, in the table of all others."""

import json
import re

import pytest
from test_retention_plan import QUIET

from support import tiny
from support.commands import run
from support.task_files import row, write
from support.task_model import task_model
from tf_distilbert.config.finetuning import FinetuneConfig
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.evaluation import evaluate_task
from tf_distilbert.finetuning.retention_plan import RetentionPlan
from tf_distilbert.finetuning.retention_table import as_markdown, summarise
from tf_distilbert.finetuning.trials import Trial
from tf_distilbert.model_files.folder import save_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zero_shot")
    save_model(task_model("embedding", "bert"), folder / "teacher")
    save_model(task_model("embedding", "distilbert", pooling="cls"), folder / "student")
    save_model(tiny.model(num_layers=1), folder / "bert")
    pairs = [
        row(a, b, str((i * j) % 5))
        for i, a in enumerate(tiny.SENTENCES)
        for j, b in enumerate(tiny.SENTENCES[:i])
    ]
    write(folder / "data" / "STS-B" / "dev.tsv", row("sentence1", "sentence2", "score"), *pairs)
    for split, number in (("train", 16), ("dev", 8)):
        lines = (row(tiny.SENTENCES[n % 7], str(n % 2)) for n in range(number))
        write(folder / "data" / "SST-2" / f"{split}.tsv", row("sentence", "label"), *lines)
    texts = [row(f"p{n}", text) for n, text in enumerate(tiny.SENTENCES)]
    write(folder / "search" / "passages.tsv", row("id", "text"), *texts)
    write(folder / "search" / "queries.tsv", row("id", "text"), "q\tthe moon", "r\titaly")
    write(folder / "search" / "relevant.tsv", row("query", "passage"), "q\tp5", "r\tp1", "r\tp4")
    return folder


def plan_of(folder, output, models=("teacher", "student"), tasks=("stsb", "retrieval"), **others):
    settings = FinetuneConfig(task="", model="", data="", output="")
    data = [str(folder / "data"), str(folder / "search")]
    models = {name: str(folder / name) for name in models}
    return RetentionPlan(models, tasks, data, output, 2, [1e-3], settings, **others)


def test_the_table_has_the_scores_of_an_evaluation(folder, tmp_path, monkeypatch):
    """Beside a task that is fine-tuned; all is real but that."""
    pytest.importorskip("matplotlib")
    tuned = iter([0.75, 1.0, 0.5, 0.625])
    score = Trial.score

    def scores(trial, console):
        return next(tuned) if trial.config.task == "sst2" else score(trial, console)

    monkeypatch.setattr(Trial, "score", scores)
    words = ["retention", "--teacher", folder / "teacher", "--student", folder / "student"]
    words += ["--tasks", "STS-B,retrieval,sst2", "--data", folder / "data", folder / "search"]
    words += ["--output", tmp_path / "out", "--seeds", "2"]
    assert run(*words) == 0
    summary = json.loads((tmp_path / "out" / "retention.json").read_text())
    assert summary["zero_shot"] == ["stsb", "retrieval"]
    for name in ("teacher", "student"):
        model = summary["models"][name]
        for task, data in (("stsb", "data"), ("retrieval", "search")):
            found = evaluate_task(folder / name, task, folder / data)["validation"]["score"]
            assert model["tasks"][task]["scores"] == pytest.approx([100 * found])
        assert model["bytes"] > 0 and model["text_milliseconds"] > 0
    table = (tmp_path / "out" / "retention.md").read_text()
    assert table.startswith(
        "Median of 2 seeds, lowest and highest, in percent; stsb, retrieval without fine-tuning. "
    )
    tasks = summary["models"]["student"]["tasks"]
    cells = r" \| ".join(f"{tasks[name]['median']:.1f}" for name in summary["zero_shot"])
    assert re.search(rf"^\| student \|.*\| {cells} \| 56.2 \(50.0 to 62.5\) \|$", table, re.M)
    assert (tmp_path / "out" / "retention.png").exists()


def test_each_model_is_scored_once_and_remembered(folder, tmp_path, monkeypatch):
    plan = plan_of(folder, tmp_path / "out")
    plan.check()
    scores = plan.scores(QUIET)
    assert [len(found) for tasks in scores.values() for found in tasks.values()] == [1] * 4
    assert plan.first_task.kind == "similarity"
    assert plan.baselines()["stsb"].score == 0.0 < plan.baselines()["retrieval"].score
    monkeypatch.setattr("tf_distilbert.finetuning.zero_shot.evaluate_task", None)
    assert plan_of(folder, tmp_path / "out").scores(QUIET) == scores


def test_scores_of_other_lengths_are_not_taken(folder, tmp_path):
    plan = plan_of(folder, tmp_path / "out", tasks=("retrieval",))
    plan.scores(QUIET)
    shorter = FinetuneConfig(task="", model="", data="", output="", max_length=8)
    other = RetentionPlan(plan.models, plan.tasks, plan.data, plan.output, 1, [1e-3], shorter)
    with pytest.raises(UserError, match=r"its run has max_length empty, now it is 8"):
        other.scores(QUIET)


@pytest.mark.parametrize(
    ("models", "task", "exports", "message"),
    [
        (("teacher", "bert"), "stsb", (), r"^stsb: bert \(.*bert\) is no sentence encoder; by vec"),
        (("bert", "student"), "stsb", (), r"^stsb: bert \(.*bert\) is no sentence encoder"),
        (("bert", "student"), "retrieval", (), r"^retrieval: bert \(.*bert\) is no sentence"),
        (("bert",), "retrieval", (), r"^retrieval: bert \(.*bert\) is no sentence encoder"),
        (("teacher", "student"), "stsb", ("int8",), r"^stsb: the exports of sentence encoders are"),
    ],
)
def test_what_cannot_be_compared(folder, tmp_path, models, task, exports, message):
    plan = plan_of(folder, tmp_path / "out", models, (task,), exports=exports)
    for check in (plan.check, lambda: plan.scores(QUIET)):
        with pytest.raises(UserError, match=message) as error:
            check()
        assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_models_of_any_kind_are_fine_tuned_as_before(folder, tmp_path):
    plan_of(folder, tmp_path / "out", ("bert", "student"), ("sst2",)).check()


def test_without_any_fine_tuning_there_are_no_seeds():
    scores = {"teacher": {"stsb": [0.8]}, "student": {"stsb": [0.6]}}
    text = as_markdown(summarise(scores, {}, zero_shot=["stsb"]))
    assert text.startswith("Without fine-tuning, in percent. The score is")
    assert "| student | 60.0 | 75.0 % | 60.0 |" in text
