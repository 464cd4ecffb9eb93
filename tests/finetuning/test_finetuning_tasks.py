"""Names of tasks, the table of them, and predictions in the official formats."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from support.task_files import row, write
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.examples import (
    Passages,
    QueryExample,
    QuestionExample,
    TextExample,
    TokenExample,
)
from tf_distilbert.finetuning.metrics import score
from tf_distilbert.finetuning.splits import read_split
from tf_distilbert.finetuning.submissions import submission_name, write_predictions
from tf_distilbert.finetuning.tasks import TASKS, find_task

NAMES = ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli", "ax"]
NAMES += ["squad", "squad-v2", "imdb", "classification"]
NAMES += ["pair-classification", "regression", "token-classification"]
NAMES += ["similarity", "retrieval"]


def test_all_tasks_are_there():
    assert [task.name for task in TASKS] == NAMES
    assert [find_task(name) for name in NAMES] == list(TASKS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SST-2", "sst2"),
        ("sst_2", "sst2"),
        ("STS-B", "stsb"),
        ("CoLA", "cola"),
        ("SQuAD", "squad"),
        ("SQuAD-v2", "squad-v2"),
        ("squad_v2", "squad-v2"),
        ("Pair Classification", "pair-classification"),
    ],
)
def test_names_in_any_spelling(name, expected):
    assert find_task(name).name == expected


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *(("cloa", "cola"), ("sst3", "sst2"), ("mlni", "mnli"), ("squad-v3", "squad-v2")),
        *(("clasification", "classification"), ("token-clasification", "token-classification")),
        # Not what is alike by chance, but what is meant.
        *(("ner", "token-classification"), ("NLI", "mnli, qnli or rte"), ("squad-1.1", "squad")),
        *(("sentiment", "sst2, imdb or classification"), ("qa", "squad or squad-v2")),
        *(("sts-benchmark", "stsb or similarity"), ("semantic search", "retrieval")),
        *(("MNLI-m", "mnli"), ("mnli-mm", "mnli"), ("text classification", "classification")),
        *(("", None), ("translation", None), ("tre", None)),
    ],
)
def test_unknown_tasks(name, meant):
    with pytest.raises(UserError) as error:
        find_task(name)
    assert "\n" not in str(error.value)
    said = f"{meant} may be meant; " if meant else ""
    assert str(error.value) == (
        f"unknown task {name!r}; {said}there are cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, "
        "wnli, ax, squad, squad-v2, imdb, and for your own files classification, "
        "pair-classification, regression, token-classification, similarity, retrieval"
    )


def test_every_task_is_whole():
    for task in TASKS:
        assert task.main and set(task.main) <= set(task.metrics)
        assert task.kind in (
            *("classification", "regression", "token_classification", "question_answering"),
            *("similarity", "retrieval"),
        )
        assert len(task.written_labels) in (0, len(task.labels))
        assert len(task.features) == (len(task.texts) if task.builder.startswith(("g", "i")) else 0)
        assert len(task.submissions) == (len(task.test_splits) if task.layout == "glue" else 0)
        assert task.splits[0] == ("test" if task.name == "ax" else "train")


def test_splits():
    assert find_task("mnli").validation_splits == ("validation_matched", "validation_mismatched")
    assert find_task("mnli").test_splits == ("test_matched", "test_mismatched")
    assert find_task("imdb").splits == ("train", "test")
    assert find_task("squad").splits == ("train", "validation")
    assert (find_task("ax").splits, find_task("ax").model_of) == (("test",), "mnli")


def test_columns_are_given_either_way():
    task = find_task("pair-classification", columns={"text": "a", "label": "c", "id": None})
    assert task == find_task("pair-classification", text="a", label="c")
    assert (task.texts, task.label, task.id) == (("a", "text_pair"), "c", "")
    assert find_task("regression", text_pair="b").texts == ("text", "b")
    assert find_task("regression").texts == ("text",)
    tokens = find_task("token-classification", words="w", labels="l")
    assert (tokens.texts, tokens.label) == (("w",), "l")
    assert find_task("similarity", text="a").texts == ("a", "text_pair")
    assert find_task("retrieval", text="a").texts == ("a", "text_pair")
    assert find_task("retrieval", negative="n").texts == ("text", "text_pair", "n")
    assert find_task("cola", columns={"text": None}) == find_task("cola")


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        (
            "classification",
            "text_pair",
            r"^classification: has no column 'text_pair'; name text, la",
        ),
        ("classification", "words", r"'words'; name text, label, id$"),
        ("token-classification", "label", r"has no column 'label'; name words, labels, id$"),
        ("regression", "words", r"name text, text_pair, label, id$"),
        ("similarity", "negative", r"name text, text_pair, label, id$"),
        ("retrieval", "label", r"has no column 'label'; name text, text_pair, negative, id$"),
        ("sst2", "text", r"^sst2: its columns are its official files'; name none$"),
    ],
)
def test_columns_that_a_task_has_not(name, column, message):
    with pytest.raises(UserError, match=message):
        find_task(name, **{column: "x"})


# --- predictions ---


def text_examples(*names):
    return [TextExample(name, ("a",), None) for name in names]


OFFICIAL = {
    "cola": ([1, 0], ["1", "0"]),
    "sst2": ([1, 0], ["1", "0"]),
    "mrpc": ([1, 0], ["1", "0"]),
    "qqp": ([1, 0], ["1", "0"]),
    "wnli": ([1, 0], ["1", "0"]),
    "mnli": ([1, 2], ["neutral", "contradiction"]),
    "ax": ([0, 2], ["entailment", "contradiction"]),
    "qnli": ([1, 0], ["not_entailment", "entailment"]),
    "rte": ([1, 0], ["not_entailment", "entailment"]),
    "stsb": ([2.34567, 4.0], ["2.346", "4.000"]),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_submissions_of_glue(tmp_path, name):
    predictions, written = OFFICIAL[name]
    path = tmp_path / "out.tsv"
    write_predictions(find_task(name), path, np.array(predictions), text_examples("7", "3"))
    expected = f"index\tprediction\n7\t{written[0]}\n3\t{written[1]}\n"
    assert path.read_bytes() == expected.encode()


def test_numbers_of_stsb_stay_in_their_range(tmp_path):
    numbers = np.array([-0.2, 5.3, 5.0, -0.0001], np.float32)
    write_predictions(find_task("stsb"), tmp_path / "a", numbers, text_examples(*"abcd"))
    written = [line.split("\t")[1] for line in (tmp_path / "a").read_text().splitlines()[1:]]
    assert written == ["0.000", "5.000", "5.000", "0.000"]


def test_names_of_submissions():
    names = {submission_name(t, s) for t in TASKS if t.layout == "glue" for s in t.test_splits}
    assert names == {
        *("CoLA.tsv", "SST-2.tsv", "MRPC.tsv", "STS-B.tsv", "QQP.tsv", "MNLI-m.tsv"),
        *("MNLI-mm.tsv", "QNLI.tsv", "RTE.tsv", "WNLI.tsv", "AX.tsv"),
    }
    assert submission_name(find_task("mnli"), "test_mismatched") == "MNLI-mm.tsv"
    assert submission_name(find_task("cola"), "validation") == "cola_validation.tsv"
    assert submission_name(find_task("squad-v2"), "validation") == "squad-v2_validation.json"


def test_predictions_of_a_test_split_keep_its_index(tmp_path):
    write(tmp_path / "test.tsv", row("index", "sentence1", "sentence2"), "5\ta\tb", "4\tc\td")
    task = find_task("rte")
    write_predictions(task, tmp_path / "RTE.tsv", [0, 1], read_split(task, tmp_path, "test"))
    with (tmp_path / "RTE.tsv").open() as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert rows == [["index", "prediction"], ["5", "entailment"], ["4", "not_entailment"]]


SQUAD = [QuestionExample(name, "?", "", "", ("é",), (0,)) for name in ("q1", "q2")]


def test_predictions_of_squad(tmp_path):
    path, texts = tmp_path / "out.json", {"q2": "", "q1": 'É "x"', "other": "x"}
    write_predictions(find_task("squad"), path, texts, SQUAD)
    assert json.loads(path.read_text()) == {"q1": 'É "x"', "q2": ""}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.json"]
    odds = {"q1": -1.5, "q2": 3.0}
    write_predictions(find_task("squad-v2"), path, texts, SQUAD, null_odds=odds)
    assert json.loads((tmp_path / "out_null_odds.json").read_text()) == odds
    assert json.loads(path.read_text()) == {"q1": 'É "x"', "q2": ""}


def test_predictions_of_the_users_own(tmp_path):
    path = tmp_path / "out.tsv"
    task = replace(find_task("classification"), labels=("a\tb", "very good"))
    write_predictions(task, path, [1, 0], text_examples("x\ny", "2"))
    assert path.read_text() == "id\tprediction\nx y\tvery good\n2\ta b\n"
    write_predictions(find_task("regression"), path, np.float32([0.1, -7]), text_examples("0", "1"))
    first, second = (line.split("\t")[1] for line in path.read_text().splitlines()[1:])
    assert (np.float32(first), second) == (np.float32(0.1), "-7.0")
    tokens = replace(find_task("token-classification"), labels=("O", "B-X"))
    examples = [TokenExample("0", ("a", "b"), None), TokenExample("1", ("c",), None)]
    write_predictions(tokens, path, [[1, 0], [0]], examples)
    assert path.read_text() == "id\tprediction\n0\tB-X O\n1\tO\n"
    write_predictions(find_task("imdb"), path, [1, 0], text_examples("pos/0", "neg/0"))
    assert path.read_text() == "id\tprediction\npos/0\t1\nneg/0\t0\n"


def test_rankings_name_passages_by_their_ids(tmp_path):
    passages = Passages(["p 1", "p\t2", "p3"], ["a", "b", "c"])
    queries = [QueryExample(name, "q", {0: 1.0}, passages) for name in ("x", "y")]
    path = tmp_path / "out.tsv"
    write_predictions(find_task("retrieval"), path, np.array([[2, 0], [1, 2]]), queries)
    lines = ["query\tpassage\tplace", "x\tp3\t1", "x\tp 1\t2", "y\tp 2\t1", "y\tp3\t2"]
    assert path.read_text().splitlines() == lines


def test_cosines_of_stsb_are_written_as_they_are(tmp_path):
    task = replace(find_task("stsb"), kind="similarity")
    write_predictions(task, tmp_path / "a", np.array([-0.25, 0.5]), text_examples(*"ab"))
    assert (tmp_path / "a").read_text() == "index\tprediction\na\t-0.25\nb\t0.5\n"


def test_predictions_that_are_not_as_many(tmp_path):
    with pytest.raises(ValueError):
        write_predictions(find_task("cola"), tmp_path / "a", [1], text_examples("0", "1"))
    assert not list(tmp_path.iterdir())


def test_predictions_that_cannot_be_written(tmp_path):
    with pytest.raises(UserError, match=r"no/out\.tsv: cannot be written \(No such file"):
        write_predictions(find_task("cola"), tmp_path / "no/out.tsv", [1], text_examples("0"))


def test_what_is_written_scores_the_same(tmp_path):
    """The file of a split with labels, read back as an official one is."""
    task, random = find_task("mnli"), np.random.default_rng(0)
    labels, predicted = random.integers(0, 3, (2, 50))
    examples = [TextExample(str(n), ("a", "b"), int(label)) for n, label in enumerate(labels)]
    write_predictions(task, tmp_path / "MNLI-m.tsv", predicted, examples)
    with (tmp_path / "MNLI-m.tsv").open() as file:
        read = {r["index"]: r["prediction"] for r in csv.DictReader(file, delimiter="\t")}
    right = sum(read[e.id] == task.labels[e.label] for e in examples)
    assert score(task, predicted, examples) == {"accuracy": right / 50}
