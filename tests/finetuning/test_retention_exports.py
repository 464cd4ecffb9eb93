"""Exports as rows of a comparison: what they score, how that is remembered, what they cost."""

import io
import json
import shutil

import numpy as np
import pytest
from rich.console import Console
from test_finetune import configure
from test_retention_plan import QUIET, finished_trial

from support import tiny
from support.task_files import CONTEXT, row, squad_file, squad_question, write
from support.task_model import task_model
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning import costs, exported, trials
from tf_distilbert.finetuning.costs import measure_costs, text_to_time
from tf_distilbert.finetuning.evaluation import evaluate_task
from tf_distilbert.finetuning.start_model import start_model
from tf_distilbert.finetuning.tasks import find_task
from tf_distilbert.finetuning.trials import Trial, TrialCount
from tf_distilbert.model_files.folder import load_task_model, save_model
from tf_distilbert.runs.directory import RunDirectory

pytest.importorskip("tf2onnx", reason="needs the extra `onnx`")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")

LABELS = ("negative", "positive")


def statements(number):
    """Whole words of the tiny vocabulary in any order, of any length, right or wrong."""
    generator = np.random.default_rng(4)
    words = [word for word in tiny.WORDS if word.isalpha()]
    for size in generator.integers(2, 25, number):
        yield " ".join(generator.choice(words, size)), int(generator.integers(2))


STATEMENTS = list(statements(60))


def of_one(text):
    """A text of whole words of the vocabulary, as a model takes it."""
    words = ["[CLS]", *text.split(), "[SEP]"]
    ids = np.array([[tiny.VOCABULARY.index(word) for word in words]], np.int32)
    return {
        "token_ids": ids,
        "padding_mask": np.ones_like(ids),
        "segment_ids": np.zeros_like(ids),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    save_model(tiny.model(seed=1, num_layers=1), folder / "bert")
    for split in ("train", "dev"):
        rows = (row(text, str(label)) for text, label in STATEMENTS)
        write(folder / "glue" / "SST-2" / f"{split}.tsv", row("sentence", "label"), *rows)
    return folder


@pytest.fixture
def made(folder, monkeypatch):
    """The fine-tunings that are asked for, which take no time here: the model is a random one."""
    found = []

    def finetune(config, console, *, model_stays):
        found.append(config.train.resume)
        shutil.rmtree(config.output, ignore_errors=True)
        finished_trial(folder, config)
        model = task_model("sequence_classification", "bert", labels=LABELS)
        logits = np.array([model(of_one(text))[0] for text, _ in STATEMENTS[:15]])
        # Half of the answers are one, half the other.
        model.head.output_dense.bias.assign_add([0, np.median(logits[:, 0] - logits[:, 1])])
        save_model(model, RunDirectory(config.output).model)

    monkeypatch.setattr(trials, "finetune", finetune)
    return found


@pytest.fixture
def scored(monkeypatch):
    """The exports that are scored, which takes no time here either."""
    found = []

    def score_export(model, precision, splits, console):
        assert model.labels == LABELS and list(splits) == ["validation"]
        found.append(precision)
        return {"validation": {"score": 0.25, "accuracy": 0.25}}

    monkeypatch.setattr(trials, "score_export", score_export)
    return found


@pytest.fixture
def files(monkeypatch):
    """The ONNX files that were written, which are removed at once."""
    found, write_file = [], exported.as_onnx

    def as_onnx(model, service, folder, precision):
        run = write_file(model, service, folder, precision)
        found.append((folder / "model.onnx").read_bytes())
        return run

    monkeypatch.setattr(exported, "as_onnx", as_onnx)
    return found


def test_an_export_scores_what_its_own_logits_say(folder, made, files, tmp_path):
    """Each text alone through the file, without any code of ours."""
    trial = Trial("m", configure(folder, tmp_path / "trial"), ("float32", "int8"))
    assert trial.score(QUIET) == 0.5 and made == ["auto"]
    assert len(files) == 2
    shares, answers = {}, set()
    for precision, content in zip(("float32", "int8"), files, strict=True):
        session, right = onnxruntime.InferenceSession(content), []
        for text, label in STATEMENTS:
            [[logits]] = session.run(None, of_one(text))
            right.append(logits.argmax() == label)
            answers.add(int(logits.argmax()))
        shares[precision] = np.mean(right)
    assert answers == {0, 1}
    assert trial.export_scores() == pytest.approx(shares)
    remembered = json.loads((tmp_path / "trial" / "exports.json").read_text())
    assert remembered["int8"]["validation"]["accuracy"] == pytest.approx(shares["int8"])
    assert not (tmp_path / "trial" / "model").exists()
    # Asked again, it is read.
    assert trial.score(QUIET) == 0.5 and len(made) == 1 and len(files) == 2


@pytest.mark.parametrize("task", ["squad", "token-classification"])
def test_an_export_in_float32_scores_as_the_model_does(tmp_path, task):
    """Where a row has an answer for each token, too."""
    if task == "squad":
        answers = "Paris", "the capital of France", "Rome  is the capital of Italy", "an old city"
        for split, names in (("train", "a"), ("dev", ("city", "river sea", "sun of the moon"))):
            questions = [squad_question(name, CONTEXT, *answers) for name in names]
            squad_file(tmp_path / "data" / f"{split}-v1.1.json", CONTEXT, *questions)
        model = task_model("question_answering", "bert")
    else:
        labels = np.random.default_rng(5).choice(list("ABO"), (len(STATEMENTS), 30)).tolist()
        words = [text.split() for text, _ in STATEMENTS]
        lines = [
            json.dumps({"words": own, "labels": of_own[: len(own)]})
            for own, of_own in zip(words, labels, strict=True)
        ]
        for split in ("train", "dev"):
            write(tmp_path / "data" / f"{split}.jsonl", *lines)
        model = task_model("token_classification", "bert", labels=("A", "B", "O"))
    config = configure(tmp_path, "trial", task=task, data=str(tmp_path / "data"))
    trial = finished_trial(tmp_path, config)
    save_model(model, RunDirectory(config.output).model)
    expected = evaluate_task(tmp_path / "trial" / "model", task, tmp_path / "data")
    Trial(trial.model, config, ("float32",)).score(QUIET)
    found = json.loads((tmp_path / "trial" / "exports.json").read_text())["float32"]
    assert found == {split: pytest.approx(scores) for split, scores in expected.items()}
    assert any(expected["validation"].values())


def test_a_trial_that_was_stopped_among_its_exports_goes_on(folder, made, scored, tmp_path):
    trial = Trial("m", configure(folder, tmp_path / "trial"), ("float32", "int8"))
    trials.finetune(trial.config, QUIET, model_stays=False)
    made.clear()
    one = {"float32": {"validation": {"score": 0.125}}}
    (tmp_path / "trial" / "exports.json").write_text(json.dumps(one))
    assert not trial.is_remembered
    trial.score(QUIET)
    assert not made and scored == ["int8"] and trial.is_remembered
    assert trial.export_scores() == {"float32": 0.125, "int8": 0.25}


def test_a_trial_whose_model_was_not_kept_is_made_again(folder, made, scored, tmp_path):
    """As an output is that was made without exports."""
    config = configure(folder, tmp_path / "trial")
    Trial("m", config).score(QUIET)
    console = Console(file=io.StringIO(), width=120)
    TrialCount(console, 1).score(Trial("m", config, ("float32",)))
    assert made == ["auto", "overwrite"]
    assert "sst2, m, seed 1, again: its model was not kept, and is to be exported" in (
        console.file.getvalue()
    )
    # One more precision needs the model, too; then both are of one model.
    trial = Trial("m", config, ("float32", "int8"))
    trial.score(QUIET)
    assert made == ["auto", "overwrite", "overwrite"]
    assert scored == ["float32", "float32", "int8"]
    # Fewer are there, and so is the model's own score.
    assert Trial("m", config).is_remembered and Trial("m", config, ("int8",)).is_remembered


def test_broken_scores_of_exports_are_refused(folder, made, tmp_path):
    trial = Trial("m", configure(folder, tmp_path / "trial"), ("int8",))
    trials.finetune(trial.config, QUIET, model_stays=False)
    for content in ("{", "[]", '{"int8": {}}', '{"int8": {"validation": {"f1": 1}}}'):
        (tmp_path / "trial" / "exports.json").write_text(content)
        with pytest.raises(UserError, match=r"exports\.json: broken; remove .*trial and run"):
            trial.score(QUIET)


# What a row costs


@pytest.fixture
def models(folder):
    save_model(tiny.model(seed=2, num_layers=2), folder / "teacher", overwrite=True)
    return {"teacher": str(folder / "teacher"), "student": str(folder / "bert")}


def test_megabytes_are_those_of_the_files(models, files, tmp_path):
    found = measure_costs(models, find_task("sst2"), ("float32", "int8"), rounds=1)
    assert list(found) == ["teacher", "student", "student, float32", "student, int8"]
    for name, path in models.items():
        save_model(start_model(path, "classification", LABELS), tmp_path / name)
        size = (tmp_path / name / "model.safetensors").stat().st_size
        assert found[name]["bytes"] == size
    exports = [found[f"student, {precision}"]["bytes"] for precision in ("float32", "int8")]
    assert exports == [len(content) for content in files]
    assert all(cost["text_milliseconds"] > 0 for cost in found.values())


def test_every_row_computes_the_logits_of_one_text(models, monkeypatch):
    """From the string on: beside the ids that the tokenizer gives, cut to the model's positions."""
    runs = {}
    monkeypatch.setattr(costs, "time_in_turns", lambda given, _: runs.update(given) or given)
    started = {}

    def start(path, *head):
        return started.setdefault(path, start_model(path, *head))

    monkeypatch.setattr(costs, "start_model", start)
    measure_costs(models, find_task("stsb"), ("float32",))
    text = text_to_time(tiny.tokenizer())
    ids = tiny.tokenizer().encode(text)
    assert len(ids) >= costs.LENGTH > len(tiny.tokenizer().encode(text.rpartition(" ")[0])) - 2
    ids = np.array([[*ids[:31], ids[-1]]])  # of the tiny model's positions
    for name, path in models.items():
        inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
        expected = np.asarray(started[path](inputs))
        np.testing.assert_allclose(runs[name](), expected, atol=1e-5)
    np.testing.assert_allclose(runs["student, float32"](), expected, atol=1e-5)


def test_a_tokenizer_that_runs_outside_of_graphs_is_timed_too(tmp_path):
    save_model(tiny.roberta(num_layers=1), tmp_path / "roberta")
    found = measure_costs({"teacher": str(tmp_path / "roberta")}, find_task("sst2"), rounds=1)
    assert found["teacher"]["text_milliseconds"] > 0
    model = load_task_model(tmp_path / "roberta", "encoder")
    assert found["teacher"]["bytes"] > 4 * model.count_params()
