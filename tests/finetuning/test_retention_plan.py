"""What a comparison of many fine-tunings remembers, looks for, and does not mix up."""

import io
import shlex
from dataclasses import replace

import pytest
from rich.console import Console
from test_finetune import configure

from support import tiny
from support.task_files import row, squad_file, squad_question, write
from tf_distilbert.cli import main as cli
from tf_distilbert.config.finetuning import ColumnsConfig, FinetuneConfig
from tf_distilbert.errors import Interrupted, NotFiniteError, UserError
from tf_distilbert.finetuning import trials
from tf_distilbert.finetuning.retention_plan import RetentionPlan
from tf_distilbert.finetuning.trials import Trial
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.runs.directory import RunDirectory

QUIET = Console(quiet=True)
SENTENCES = (row("sentence", "label"), row("a city .", "0"), row("the sea .", "1"))


@pytest.fixture
def glue(tmp_path):
    for split in ("train", "dev"):
        write(tmp_path / "glue" / "SST-2" / f"{split}.tsv", *SENTENCES)
    return tmp_path / "glue"


def plan_of(tmp_path, glue, *more_data, tasks=("sst2",), rates=(1e-3,)):
    if not (tmp_path / "bert").exists():
        save_model(tiny.model(num_layers=1), tmp_path / "bert")
    settings = FinetuneConfig(task="", model="", data="", output="")
    data, output = [str(glue), *map(str, more_data)], tmp_path / "out"
    return RetentionPlan({"m": str(tmp_path / "bert")}, tasks, data, output, 1, rates, settings)


def finished_trial(folder, config):
    """A trial as if it had been made."""
    run = RunDirectory(config.output)
    run.create(config)
    (run.path / "scores.json").write_text('{"validation": {"score": 0.5}}')
    return Trial("m", config)


def test_scores_of_other_settings_are_not_taken(tmp_path):
    config = configure(tmp_path, "trial")
    trial = finished_trial(tmp_path, config)
    assert trial.score(QUIET) == 0.5
    with pytest.raises(UserError, match=r"its run has model .*bert, now it is other"):
        Trial("m", replace(config, model="other")).score(QUIET)
    longer = replace(config, train=replace(config.train, epochs=9))
    with pytest.raises(UserError, match=r"its run has train\.epochs 6\.0, now it is 9"):
        Trial("m", longer).score(QUIET)


def test_scores_of_other_weights_are_not_taken(tmp_path, glue, monkeypatch):
    monkeypatch.setattr(Trial, "score", lambda trial, console: 0.5)
    plan = plan_of(tmp_path, glue)
    assert plan.scores(QUIET) == plan.scores(QUIET) == {"m": {"sst2": [0.5]}}
    save_model(tiny.model(seed=7, num_layers=1), tmp_path / "bert", overwrite=True)
    with pytest.raises(UserError, match=r"was made with other weights of .*bert; remove it"):
        plan.scores(QUIET)


def test_each_student_has_a_row_and_one_for_each_export_but_the_teacher(
    tmp_path, glue, monkeypatch
):
    """A search is of the model itself; the fine-tuning after it is exported."""
    made = []

    def score(trial, console):
        made.append((trial.description, tuple(trial.exports)))
        return 0.5

    monkeypatch.setattr(Trial, "score", score)
    monkeypatch.setattr(Trial, "export_scores", lambda trial: {"int8": 0.25, "float32": 0.4})
    plan = plan_of(tmp_path, glue, rates=(1e-3, 1e-4))
    path = plan.models["m"]
    models = {"teacher": path, "half depth": path, "third": path}
    plan = replace(plan, models=models, exports=("float32", "int8"))
    scores = plan.scores(QUIET)
    assert list(scores.items()) == [
        ("teacher", {"sst2": [0.5]}),
        ("half depth", {"sst2": [0.5]}),
        ("half depth, float32", {"sst2": [0.4]}),
        ("half depth, int8", {"sst2": [0.25]}),
        ("third", {"sst2": [0.5]}),
        ("third, float32", {"sst2": [0.4]}),
        ("third, int8", {"sst2": [0.25]}),
    ]
    assert made[2:6] == [
        ("sst2, teacher, seed 1", ()),
        ("sst2, half depth, trying the learning rate 0.001", ()),
        ("sst2, half depth, trying the learning rate 0.0001", ()),
        ("sst2, half depth, seed 1", ("float32", "int8")),
    ]


def test_columns_of_ones_own_files_are_known_to_the_plan(tmp_path, glue):
    for split in ("train", "validation"):
        write(tmp_path / "own" / f"{split}.csv", "review,stars", "a city .,1", "the sea .,2")
    columns = ColumnsConfig(text="review", label="stars")
    plan = plan_of(tmp_path, glue, tasks=("classification",))
    plan = replace(plan, data=[str(tmp_path / "own")])
    with pytest.raises(UserError, match="has no column 'label'"):
        plan.check()
    plan = replace(plan, settings=replace(plan.settings, columns=columns))
    plan.check()
    assert plan.first_task.labels == ("1", "2")
    assert plan.baselines()["classification"].score == 0.5


def test_a_learning_rate_that_diverges_is_none(tmp_path, glue, monkeypatch):
    def score(trial, console):
        rate = trial.config.train.learning_rate
        if rate > 1e-2:
            raise NotFiniteError("the loss is not finite")
        return rate

    monkeypatch.setattr(Trial, "score", score)
    plan = plan_of(tmp_path, glue, rates=(1e-4, 1e-1, 1e-3))
    assert plan.scores(QUIET) == {"m": {"sst2": [1e-3]}}
    with pytest.raises(UserError, match="m, sst2: no learning rate keeps finite; give lower"):
        plan_of(tmp_path, glue, rates=(0.1, 1.0)).scores(QUIET)


def test_no_model_is_named_that_is_removed_at_once(tmp_path, glue, monkeypatch):
    named = []

    def finetune(config, console, *, model_stays):
        named.append(model_stays)
        finished_trial(tmp_path, config)

    monkeypatch.setattr(trials, "finetune", finetune)
    assert plan_of(tmp_path, glue).scores(QUIET) == {"m": {"sst2": [0.5]}}
    assert named == [False]


def test_each_fine_tuning_is_announced(tmp_path, glue, monkeypatch):
    """Which it is, of how many, and the time left: the mean of those made before, here 10 s."""
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(trials.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(Trial, "score", lambda trial, console: 0.5)
    plan = replace(plan_of(tmp_path, glue, rates=(1e-4, 1e-3)), seeds=2)
    remembered = plan._trial("m", "sst2", 1e-4, 2)
    finished_trial(tmp_path, remembered.config)
    console = Console(file=io.StringIO(), width=60)
    plan.scores(console)
    assert console.file.getvalue().splitlines() == [
        "fine-tuning 1 of 4: sst2, m, trying the learning rate 0.0001",
        "fine-tuning 2 of 4: sst2, m, trying the learning rate 0.001; about 30 s left for all",
        "fine-tuning 3 of 4: sst2, m, seed 1; about 20 s left for all",
        "fine-tuning 4 of 4: sst2, m, seed 2: made before",
    ]


def test_data_is_found_in_any_of_the_places(tmp_path, glue):
    context = "Rome is the capital of Italy."
    for split in ("train", "dev"):
        questions = squad_question(split, context, "Italy")
        squad_file(tmp_path / "questions" / f"{split}-v1.1.json", context, questions)
    plan = plan_of(tmp_path, glue, tmp_path / "questions", tasks=("SST-2", "squad"))
    plan.check()
    # A folder of the task's files that is not named like the task, after one that has not got them.
    found = [plan._trial("m", task, 1e-3, 1).config.data for task in plan.tasks]
    assert found == [str(glue / "SST-2"), str(tmp_path / "questions")]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            "qqp",
            r"glue: has neither train\.tsv nor a folder QQP/; there is SST-2/; GLUE is at http",
        ),
        ("ax", "ax: has no split 'train'; train a model of mnli"),
    ],
)
def test_what_cannot_be_learnt_is_said_first(tmp_path, glue, task, message):
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, glue, tasks=("sst2", task)).check()


def test_a_broken_row_is_said_first(tmp_path, glue):
    write(glue / "SST-2" / "dev.tsv", *SENTENCES, row("a city .", "7"))
    with pytest.raises(UserError, match=r"dev\.tsv"):
        plan_of(tmp_path, glue).check()


def test_the_line_to_go_on_with_can_be_run(monkeypatch, capsys):
    def stop(options):
        raise Interrupted("stopped", 2)

    words = ["retention", "--teacher", "t", "--student", "half depth=s", "--student", "third"]
    words += ["--exports", "int8", "--tasks", "sst2", "--data", "d", "--output", "o"]
    words += ["train.epochs=1"]
    monkeypatch.setitem(cli.VERBS, "retention", stop)
    assert cli.main(words) == 130
    line = capsys.readouterr().err.strip().partition("go on with: ")[2]
    assert vars(cli.parse(shlex.split(line)[1:])) == vars(cli.parse(words))
