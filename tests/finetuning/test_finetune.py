"""Fine-tuning from the command line down: what is learnt, written, resumed and refused."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from support import tiny
from support.capitals import sentences
from support.devices import strategy_of
from support.task_files import row, write
from tf_distilbert.cli.main import main
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.finetuning import FinetuneConfig
from tf_distilbert.distillation.trimming import trim_model
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.encoding import encode_split
from tf_distilbert.finetuning.evaluation import evaluate_task
from tf_distilbert.finetuning.finetune import finetune
from tf_distilbert.finetuning.splits import read_split
from tf_distilbert.finetuning.start_model import start_model
from tf_distilbert.finetuning.tasks import find_task
from tf_distilbert.model_files.folder import load_task_model, save_model
from tf_distilbert.models.task_models import SequenceClassifier
from tf_distilbert.runs.directory import RunDirectory


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finetune")
    save_model(
        tiny.model(seed=1, num_layers=2, hidden_size=32, intermediate_size=64), folder / "bert"
    )
    for split, number, seed in (("train", 300, 1), ("dev", 60, 2)):
        rows = (row(text, str(label)) for text, label in sentences(number, seed))
        write(folder / "glue" / "SST-2" / f"{split}.tsv", row("sentence", "label"), *rows)

    tests = (row(str(i), text) for i, (text, _) in enumerate(sentences(20, 3)))
    write(folder / "glue" / "SST-2" / "test.tsv", row("index", "sentence"), *tests)
    return folder


def configure(folder, output, **values):
    train = {
        "epochs": 6,
        "global_batch_size": 16,
        "learning_rate": 3e-3,
        "precision": "float32",
        "log_every": 50,
        "validate_every": 50,
        **values.pop("train", {}),
    }
    settings = {
        "task": "sst2",
        "model": str(folder / "bert"),
        "data": str(folder / "glue"),
        "output": str(folder / output),
        "train": train,
        **values,
    }
    return parse_config(FinetuneConfig, settings)


@pytest.fixture(scope="module")
def scores(folder):
    return finetune(configure(folder, "run"))


def test_a_task_is_learnt_and_the_folder_says_how_well(folder, scores):
    assert scores["validation"]["accuracy"] > 0.9
    assert scores["validation"]["score"] == scores["validation"]["accuracy"]
    run = folder / "run"
    assert json.loads((run / "scores.json").read_text()) == scores
    model = load_task_model(run / "model")
    assert (model.task, model.labels) == ("sequence_classification", ("negative", "positive"))
    assert evaluate_task(run / "model", "sst2", folder / "glue") == scores


def test_the_predictions_are_those_of_the_model(folder, scores, capsys):
    """A submission of the test split, which has no labels."""
    arguments = ["evaluate", "--model", folder / "run" / "model", "--task", "SST-2"]
    arguments += ["--data", folder / "glue", "--split", "test"]
    arguments += ["--predictions", folder / "predictions"]
    assert main(list(map(str, arguments))) == 0
    lines = (folder / "predictions" / "SST-2.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction" and len(lines) == 21
    true = [str(label) for _, label in sentences(20, 3)]
    found = [line.split("\t")[1] for line in lines[1:]]
    assert np.mean([a == b for a, b in zip(found, true, strict=True)]) > 0.85


def test_own_columns_are_named_on_the_command_line(folder, scores, capsys):
    """The same model scores the same on the same sentences under other names."""
    lines = [row("review", "stars"), *(row(text, str(label)) for text, label in sentences(60, 2))]
    labels = {"0": "negative", "1": "positive"}
    write(folder / "own" / "dev.tsv", lines[0], *(f"{x[:-1]}{labels[x[-1]]}" for x in lines[1:]))
    arguments = ["evaluate", "--model", folder / "run" / "model", "--task", "classification"]
    arguments += ["--data", folder / "own", "columns.text=review", "columns.label=stars"]
    arguments = list(map(str, arguments))
    assert main([*arguments, "--json", str(folder / "own.json")]) == 0
    own = json.loads((folder / "own.json").read_text())
    assert own["validation"]["accuracy"] == scores["validation"]["accuracy"]
    assert main([*arguments, "max_length=4"]) == 2
    assert "max_length is 4; give 8 or more" in capsys.readouterr().err
    assert main([*arguments[:-1], "columns.label=star"]) == 2
    assert "star" in capsys.readouterr().err


def test_an_evaluation_reads_as_the_fine_tuning_did(folder, monkeypatch):
    config = configure(folder, "short", max_length=8, doc_stride=5, train={"epochs": 1})
    scores, lengths = finetune(config), []

    def spy(*arguments, **options):
        lengths.append((options["max_length"], options["stride"]))
        return encode_split(*arguments, **options)

    monkeypatch.setattr("tf_distilbert.finetuning.evaluation.encode_split", spy)
    model, data = folder / "short" / "model", folder / "glue"
    assert evaluate_task(model, "SST-2", data) == scores
    evaluate_task(model, "SST-2", data, max_length=16)
    other = replace(find_task("sst2"), name="other")  # whose settings the model's are not
    find = "tf_distilbert.finetuning.evaluation.find_task"
    monkeypatch.setattr(find, lambda *_, **__: other)
    evaluate_task(model, "other", data)
    assert lengths == [(8, 5), (16, 5), (None, 128)]


def test_settings_of_a_task_go_with_a_task(folder, capsys):
    (folder / "text.txt").write_text("paris is the capital of france .\n")
    arguments = ["evaluate", "max_length=8", "--model", str(folder / "bert")]
    assert main([*arguments, "--text", str(folder / "text.txt")]) == 2
    assert "max_length=8: settings go with --task" in capsys.readouterr().err


def test_a_teacher_teaches_its_task(folder, scores):
    """With labels that count nothing, everything comes from the teacher."""
    config = configure(
        folder,
        "taught",
        teacher=str(folder / "run" / "model"),
        loss={"task_weight": 0.0, "distillation_weight": 1.0},
    )
    assert finetune(config)["validation"]["accuracy"] > 0.9


def test_a_whole_teacher_teaches_a_student_of_fewer_tokens(folder, scores):
    whole = load_task_model(folder / "bert")
    kept = [i for i, token in enumerate(whole.tokenizer.vocabulary) if token != "##ing"]
    save_model(trim_model(whole, kept), folder / "cut")
    config = configure(
        folder,
        "taught_cut",
        model=str(folder / "cut"),
        teacher=str(folder / "run" / "model"),
        loss={"task_weight": 0.0, "distillation_weight": 1.0},
    )
    assert finetune(config)["validation"]["accuracy"] > 0.9
    model = load_task_model(folder / "taught_cut" / "model")
    assert model.architecture.vocabulary_size == whole.architecture.vocabulary_size - 1


@pytest.mark.slow
def test_four_devices_give_the_run_of_one(folder, monkeypatch):
    """The model has no dropout and begins as the same; 300 sentences leave a batch unfilled."""
    # The process has one strategy of four devices, which other tests may have used before.
    mirrored = "tf_distilbert.backend.tensorflow.devices._mirrored"
    monkeypatch.setattr(mirrored, lambda *devices: strategy_of(len(devices)))
    runs = []
    for strategy in ("one", "mirrored"):
        train = {"strategy": strategy, "epochs": 2, "epsilon": 1e-4}
        config = configure(folder, strategy, head_dropout=0.0, train=train)
        finetune(config)
        runs.append(load_file(folder / strategy / "model" / "model.safetensors"))
    one, four = runs
    assert one.keys() == four.keys()
    for name, values in one.items():
        # A key's bias changes no softmax: its gradient is rounding alone, which Adam makes larger.
        atol = 1e-5 if name.endswith("key.bias") else 1e-6
        np.testing.assert_allclose(four[name], values, rtol=0, atol=atol, err_msg=name)


def test_a_stopped_fine_tuning_goes_on_to_the_same_bits(folder, scores, monkeypatch):
    from tf_distilbert.runs.monitor import Monitor

    class Stop(Exception):
        """As a kill, between two steps."""

    original = Monitor.on_train_batch_end

    def stopping(self, batch, logs=None):
        original(self, batch, logs)
        if self.progress.step == 70:
            raise Stop

    config = configure(folder, "stopped", train={"checkpoint_every": 30})
    with monkeypatch.context() as patch:
        patch.setattr(Monitor, "on_train_batch_end", stopping)
        with pytest.raises(Stop):
            finetune(config)
    resumed = configure(folder, "stopped", train={"checkpoint_every": 30, "resume": "auto"})
    assert finetune(resumed) == scores
    whole, again = (load_task_model(folder / run / "model") for run in ("run", "stopped"))
    for a, b in zip(whole.weights, again.weights, strict=True):
        np.testing.assert_array_equal(np.array(a.value), np.array(b.value))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": "sst-3"}, "unknown task 'sst-3'; sst2 may be meant; there are"),
        ({"data": "nowhere"}, "nowhere: no such folder; name the folder of the data of sst2"),
        ({"teacher": "bert"}, "the teacher's head is for masked_lm, the task needs"),
        ({"max_length": 100}, "sequence_length is 100, the model has 32 positions"),
        ({"validation_share": 1.5}, r"validation_share is 1.5; it must be in \(0, 1\)"),
        (
            {"validation_share": 0.999},
            "of 300 rows none is left to learn from; give a smaller share",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(folder, values, message):
    if "teacher" in values:
        values = {"teacher": str(folder / "bert")}
    with pytest.raises(UserError, match=message):
        finetune(configure(folder, "refused", **values))
    assert not (folder / "refused").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "--teacher", "t"], "--teacher goes with --text; leave it out with --task"),
        (["evaluate", "--sequence-length", "9"], "--sequence-length goes with --text; leave"),
        (
            ["retention", "train.seed=3"],
            "train.seed=3: is no setting of retention; give --seeds",
        ),
        (
            ["retention", "train.learning_rate=1"],
            "is no setting of retention; give --learning-rates ins",
        ),
        (
            ["retention", "validation_share=0.1"],
            "validation_share=0.1: is no setting of retention; give",
        ),
    ],
)
def test_a_setting_whose_place_an_option_takes_is_not_ignored(folder, refused, words, message):
    verb, *more = words
    places = {
        "evaluate": ["--task", "sst2", "--model", "m"],
        "retention": ["--tasks", "sst2", "--teacher", "t", "--output", "o"],
    }
    words = [verb, "--data", folder / "glue", *places[verb], *more]
    refused(*words, message=re.escape(message))


def test_predictions_have_a_folder_before_anything_is_predicted(folder, scores, monkeypatch):
    (folder / "file").write_text("")
    monkeypatch.setattr("tf_distilbert.finetuning.evaluation.predict_split", None)
    with pytest.raises(UserError, match="file: cannot be written"):
        evaluate_task(folder / "run/model", "sst2", folder / "glue", predictions=folder / "file")


def test_a_run_that_is_overwritten_has_no_old_scores(folder):
    config = configure(folder, "again", train={"epochs": 1, "resume": "overwrite"})
    run = RunDirectory(config.output)
    run.create(config)
    (run.path / "scores.json").write_text("{}")
    run.create(config)
    assert not (run.path / "scores.json").exists()


def test_a_teacher_reads_the_same_rows(folder):
    short = tiny.model(num_layers=1, max_positions=20)
    model = load_task_model(folder / "bert", "encoder")
    task = find_task("sst2")
    examples = read_split(task, folder / "glue", "validation")
    assert encode_split(task, examples, model).rows.max_length == 32
    assert encode_split(task, examples, model, teacher=short).rows.max_length == 20
    with pytest.raises(UserError, match="is 30, the model has 20 positions"):
        encode_split(task, examples, model, teacher=short, max_length=30)


# The head that a model begins with


def test_a_regression_does_not_begin_with_the_head_of_classes(tmp_path):
    labels = ("a", "b", "c")
    classifier = SequenceClassifier(tiny.architecture(num_layers=1), labels, tiny.tokenizer())
    save_model(classifier, tmp_path / "classifier")
    kept = start_model(tmp_path / "classifier", "classification", labels)
    np.testing.assert_array_equal(kept.head.weights[0], classifier.head.weights[0])
    made = start_model(tmp_path / "classifier", "regression", ())
    assert (made.problem, len(made.labels)) == ("regression", 1)
    assert made.head.output_dense.kernel.shape == (16, 1)
    save_model(made, tmp_path / "regression")
    again = start_model(tmp_path / "regression", "regression", ())
    np.testing.assert_array_equal(again.head.weights[0], made.head.weights[0])
    write(tmp_path / "STS-B" / "dev.tsv", row("index", "sentence1", "sentence2", "score"))
    with pytest.raises(UserError, match="its head is for single_label, stsb is a regression"):
        evaluate_task(tmp_path / "classifier", "stsb", tmp_path)


@pytest.mark.parametrize(
    ("model", "task", "message"),
    [
        (
            "bert",
            "sst2",
            r"bert: is a masked language model that was not fine-tuned; `tf-distilbert "
            r"finetune --task sst2 --model .*bert --data .*glue --output DIR` makes a model of the",
        ),
        ("bert", "ax", r"`tf-distilbert finetune --task mnli --model"),
        (
            "run/model",
            "squad",
            r"model: was fine-tuned for sequence_classification, not for question",
        ),
    ],
)
def test_what_was_not_fine_tuned_is_not_evaluated(folder, scores, model, task, message):
    with pytest.raises(UserError, match=message):
        evaluate_task(folder / model, task, folder / "glue")


def test_an_evaluation_says_how_far_it_is_if_asked(folder, scores, capsys):
    model, data = folder / "run" / "model", folder / "glue"
    evaluate_task(model, "sst2", data, batch_size=16)
    assert capsys.readouterr() == ("", "")
    evaluate_task(model, "sst2", data, batch_size=16, progress=True)
    assert capsys.readouterr() == ("", "evaluating sst2: 4 batches\n")  # of 60 sentences


def test_the_layers_of_a_new_head_differ():
    head = SequenceClassifier(tiny.architecture(), tuple("abc"), tiny.tokenizer()).head
    first, second = (np.ravel(layer.kernel) for layer in (head.transform, head.output_dense))
    assert np.abs(first[: second.size] - second).max() > 0.01


def test_a_share_of_the_training_data_can_be_held_back(folder):
    config = configure(folder, "share", validation_share=0.2, train={"epochs": 1})
    scores = finetune(config)
    assert scores.keys() == {"held_out"}
    first = json.loads((folder / "share" / "log.jsonl").read_text().splitlines()[0])
    assert first["kind"] == "validation" and "accuracy" in first
