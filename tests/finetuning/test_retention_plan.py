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
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.finetuning import FinetuneConfig
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.errors import Interrupted, NotFiniteError, UserError
from tf_distilbert.finetuning import trials
from tf_distilbert.finetuning.retention import RetentionPlan
from tf_distilbert.finetuning.trials import VARIANTS, Trial, distil_variants
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

    words = ["retention", "--teacher", "t", "--student", "s", "--tasks", "sst2", "--data", "d"]
    words += ["--output", "o", "train.epochs=1"]
    monkeypatch.setitem(cli.VERBS, "retention", stop)
    assert cli.main(words) == 130
    line = capsys.readouterr().err.strip().partition("go on with: ")[2]
    assert vars(cli.parse(shlex.split(line)[1:])) == vars(cli.parse(words))


# Variants


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

    monkeypatch.setattr(trials, "distill", distill)
    save_model(tiny.model(num_layers=2), tmp_path / "teacher")
    tiny.write_text(tmp_path / "text.txt")
    return found


def test_variants_share_their_text_and_leave_out_what_they_say(tmp_path, distilled):
    config = recipe(tmp_path, mse_weight=1.0, mlm_weight=0.0)
    folders = distil_variants(config, tmp_path / "students", QUIET)
    assert [folder.parent.name for folder in folders.values()] == list(distilled)
    assert len(distilled) == len(VARIANTS)
    assert {variant.data.records for variant in distilled.values()} == {
        str(path) for path in (tmp_path / "students" / "data").glob("train-*")
    }
    weights = {
        name: (loss.distillation_weight, loss.mse_weight, loss.cosine_weight, loss.mlm_weight)
        for name, loss in ((name, variant.loss) for name, variant in distilled.items())
    }
    assert weights["triple-loss"] == (5, 1, 1, 0)
    assert weights["without-distillation"] == (0, 0, 1, 0)
    assert weights["without-cosine"] == (5, 1, 0, 0)
    assert weights["masked-LM-alone"] == (0, 0, 0, 1)
    distilled.clear()
    distil_variants(config, tmp_path / "students", QUIET)
    assert not distilled  # all were there
    with pytest.raises(UserError, match=r"its run has loss\.temperature 2\.0, now it is 3"):
        distil_variants(
            replace(config, loss=replace(config.loss, temperature=3.0)),
            tmp_path / "students",
            QUIET,
        )


def test_a_variant_without_any_loss_is_said_first(tmp_path, distilled):
    config = recipe(tmp_path, mlm_weight=0.0, cosine_weight=0.0)
    with pytest.raises(UserError, match="the variant without distillation: all weights"):
        distil_variants(config, tmp_path / "students", QUIET)
    assert not distilled
