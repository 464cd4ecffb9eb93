"""GLUE's official files: every task's columns, splits and labels, and what is wrong with some."""

import pytest

from support.task_files import row, write
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.examples import TextExample
from tf_distilbert.finetuning.splits import read_split
from tf_distilbert.finetuning.tasks import find_task

PAIR = ("index", "sentence1", "sentence2")
STSB = ("index", "genre", "filename", "year", "old_index", "source1", "source2")
STSB += ("sentence1", "sentence2")
QUORA = ("id", "qid1", "qid2", "question1", "question2", "is_duplicate")
MRPC = ("#1 ID", "#2 ID", "#1 String", "#2 String")
MNLI = ("index", "promptID", "pairID", "genre", "sentence1_binary_parse")
MNLI += ("sentence2_binary_parse", "sentence1_parse", "sentence2_parse", "sentence1", "sentence2")
MNLI_TRAIN = (*MNLI, "label1", "gold_label")
MNLI_DEV = (*MNLI, "label1", "label2", "label3", "label4", "label5", "gold_label")
DIAGNOSTIC = ("Lexical Semantics", "Logic", "Knowledge", "Domain", "Premise", "Hypothesis", "Label")

ONE = 'He "left.'
TWO = ("a b .", "c .")
STSB_ROW = ("3", *"xxxxxx", *TWO)
MNLI_ROW = ("9", *"xxxxxxx", *TWO)
NEUTRAL = ("neutral",) * 5

# Task, its folder, split, file, its lines, and index and label of the last one.
CASES = [
    ("cola", "CoLA", "train", "train.tsv", ["g\t0\t*\tX Y.", row("c", "1", "", ONE)], "1", 1),
    ("cola", "CoLA", "validation", "dev.tsv", [row("c", "0", "*", ONE)], "0", 0),
    ("cola", "CoLA", "test", "test.tsv", ["index\tsentence", row("7", ONE)], "7", None),
    ("sst2", "SST-2", "train", "train.tsv", ["sentence\tlabel", row(ONE, "1")], "0", 1),
    ("sst2", "SST-2", "test", "test.tsv", ["index\tsentence", row("3", ONE)], "3", None),
    (
        *("mrpc", "MRPC", "train", "train.tsv"),
        *([row("Quality", *MRPC), row("1", "8", "9", *TWO)], "0", 1),
    ),
    (
        *("mrpc", "MRPC", "test", "test.tsv"),
        *([row("index", *MRPC), row("5", "8", "9", *TWO)], "5", None),
    ),
    (
        *("stsb", "STS-B", "validation", "dev.tsv"),
        *([row(*STSB, "score"), row(*STSB_ROW, "2.600")], "3", 2.6),
    ),
    ("stsb", "STS-B", "test", "test.tsv", [row(*STSB), row(*STSB_ROW)], "3", None),
    ("qqp", "QQP", "train", "train.tsv", [row(*QUORA), row("17", *"12", *TWO, "0")], "17", 0),
    (
        *("qqp", "QQP", "test", "test.tsv"),
        *([row("id", "question1", "question2"), row("4", *TWO)], "4", None),
    ),
    (
        *("mnli", "MNLI", "train", "train.tsv"),
        *([row(*MNLI_TRAIN), row(*MNLI_ROW, "entailment", "neutral")], "9", 1),
    ),
    (
        *("mnli", "MNLI", "validation_matched", "dev_matched.tsv"),
        *([row(*MNLI_DEV), row(*MNLI_ROW, *NEUTRAL, "contradiction")], "9", 2),
    ),
    (
        *("mnli", "MNLI", "validation_mismatched", "dev_mismatched.tsv"),
        *([row(*MNLI_DEV), row(*MNLI_ROW, *NEUTRAL, "entailment")], "9", 0),
    ),
    (
        *("mnli", "MNLI", "test_matched", "test_matched.tsv"),
        *([row(*MNLI), row(*MNLI_ROW)], "9", None),
    ),
    (
        *("mnli", "MNLI", "test_mismatched", "test_mismatched.tsv"),
        *([row(*MNLI), row(*MNLI_ROW)], "9", None),
    ),
    (
        *("qnli", "QNLI", "train", "train.tsv"),
        *([row("index", "question", "sentence", "label"), row("0", *TWO, "not_entailment")], "0"),
        1,
    ),
    (
        *("qnli", "QNLI", "test", "test.tsv"),
        *([row("index", "question", "sentence"), row("6", *TWO)], "6", None),
    ),
    (
        *("rte", "RTE", "validation", "dev.tsv"),
        *([row(*PAIR, "label"), row("4", *TWO, "entailment")], "4", 0),
    ),
    ("wnli", "WNLI", "train", "train.tsv", [row(*PAIR, "label"), row("4", *TWO, "1")], "4", 1),
    ("ax", "diagnostic", "test", "diagnostic.tsv", [row(*PAIR), row("4", *TWO)], "4", None),
    (
        *("ax", "AX", "test", "AX.tsv"),
        *([row("index", "premise", "hypothesis"), row("4", *TWO)], "4", None),
    ),
    (
        *("ax", "diagnostic", "test", "diagnostic-full.tsv"),
        *([row(*DIAGNOSTIC), row("", "", "", "News", *TWO, "neutral")], "0", 1),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[2]}-{case[3]}")
@pytest.mark.parametrize("above", [True, False])
def test_official_layout(tmp_path, case, above):
    name, folder, split, file, lines, index, label = case
    write(tmp_path / folder / file, *lines)
    data = tmp_path if above else tmp_path / folder
    task = find_task(name)
    texts = (ONE,) if name in ("cola", "sst2") else TWO
    assert split in task.splits
    assert read_split(task, data, split)[-1] == TextExample(index, texts, label)


def test_rows_without_agreement_are_left_out(tmp_path):
    rows = [row(*MNLI_ROW, *NEUTRAL, label) for label in ("-", "neutral", "-")]
    write(tmp_path / "dev_matched.tsv", row(*MNLI_DEV), *rows)
    (example,) = read_split(find_task("mnli"), str(tmp_path), "validation_matched")
    assert example == TextExample("9", TWO, 1)


def test_labels_are_numbered_as_in_tensorflow_datasets():
    assert find_task("mnli").labels == ("entailment", "neutral", "contradiction")
    assert find_task("rte").labels == find_task("qnli").labels == ("entailment", "not_entailment")
    assert find_task("wnli").labels == ("not_entailment", "entailment")


def test_the_diagnostic_file_with_labels_is_preferred(tmp_path):
    write(tmp_path / "diagnostic.tsv", row(*PAIR), "0\ta\tb")
    write(tmp_path / "diagnostic-full.tsv", "Premise\tHypothesis\tLabel", "a\tb\tcontradiction")
    assert read_split(find_task("ax"), tmp_path, "test")[0].label == 2


def test_only_newlines_end_lines(tmp_path):
    text = "one\u2028two\x85three\x0bfour\x1cfive\rsix"
    write(tmp_path / "train.tsv", "\ufeffsentence\tlabel", f"{text}\t1\r", "b\t0", "")
    examples = read_split(find_task("sst2"), tmp_path, "train")
    assert [example.texts for example in examples] == [(text,), ("b",)]
    assert [example.label for example in examples] == [1, 0]


@pytest.mark.parametrize("ending", [".gz", ".xz"])
def test_packed_files(tmp_path, ending):
    write(tmp_path / f"dev.tsv{ending}", "sentence\tlabel", "b\t0")
    (example,) = read_split(find_task("sst2"), tmp_path, "validation")
    assert example == TextExample("0", ("b",), 0)


def test_broken_rows_of_qqp_are_left_out_and_told(tmp_path):
    good = "1\t1\t2\ta\tb\t1"
    write(
        tmp_path / "train.tsv", row(*QUORA), good, '"\tWas it?\t0', "2\t3\t4\tc\td\t0", good + "\tx"
    )
    told = []
    examples = read_split(find_task("qqp"), tmp_path, "train", told.append)
    assert [(e.id, e.label) for e in examples] == [("1", 1), ("2", 0)]
    assert told == [
        f"{tmp_path}/train.tsv: 2 rows without the columns of the others left out: 3, 5"
    ]
    write(tmp_path / "dev.tsv", row(*QUORA), *["x"] * 12, good)
    read_split(find_task("qqp"), tmp_path, "validation", told.append)
    assert told[1].endswith(": 12 rows without the columns of the others left out: 2, 3, 4, 5, 6, "
                            "7, 8, 9, 10, 11, ...")  # fmt: skip


def test_nothing_is_told_of_whole_files(tmp_path):
    write(tmp_path / "train.tsv", row(*QUORA), "1\t1\t2\ta\tb\t1")
    read_split(find_task("qqp"), tmp_path, "train", pytest.fail)


# --- bad input ---


def refused(task, data, split, message):
    with pytest.raises(UserError, match=message) as error:
        read_split(find_task(task), data, split)
    assert "\n" not in str(error.value)


def test_a_missing_folder_and_a_missing_file(tmp_path):
    source = r"; GLUE is at https://gluebenchmark\.com/tasks, and --data tfds downloads it$"
    missing = r"/no: no such folder; name the folder of the data of cola"
    refused("cola", tmp_path / "no", "train", missing + source)
    neither = r": has neither train\.tsv nor a folder CoLA/; there is nothing"
    refused("cola", tmp_path, "train", neither + source)
    write(tmp_path / "CoLA/dev.tsv", "x")
    (tmp_path / "CoLA/original").mkdir()
    refused("cola", tmp_path, "train", r"CoLA: has no train\.tsv; there are dev\.tsv, original/; G")
    write(tmp_path / "AX/x", "")
    refused("ax", tmp_path, "test", r"no diagnostic-full\.tsv or diagnostic\.tsv or AX\.tsv; there")
    for number in range(20):
        write(tmp_path / f"QNLI/{number:02}", "")
    refused("qnli", tmp_path, "train", r"there are 00, 01, .*, 11 and 8 more; GLUE")


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        (("index", "sentence1", "label"), "'sentence2'"),
        (("index", "sentence1", "sentence2", "lable"), "'label'"),
    ],
)
def test_a_missing_column(tmp_path, header, missing):
    path = write(tmp_path / "train.tsv", row(*header), row(*["x"] * len(header)))
    found = ", ".join(map(repr, header))
    refused("rte", tmp_path, "train", f"^{path}: has no column {missing}; its columns are {found}:")


def test_a_row_with_other_columns(tmp_path):
    write(tmp_path / "train.tsv", row(*PAIR, "label"), "0\ta\tb\tentailment", "1\ta\tb")
    refused("rte", tmp_path, "train", r"train\.tsv: line 3 has 3 values where there are 4 columns")


def test_a_label_that_is_none(tmp_path):
    write(tmp_path / "train.tsv", row(*PAIR, "label"), "0\ta\tb\tentailment", "1\ta\tb\tmaybe")
    refused("rte", tmp_path, "train", r"train\.tsv: line 3: label 'maybe' is none of entailment, n")
    write(tmp_path / "dev.tsv", "x\t2\t\ta")
    refused("cola", tmp_path, "validation", r"dev\.tsv: line 1: label '2' is none of 0, 1; mend")
    write(tmp_path / "dev.tsv", "sentence\tlabel", "a\t")
    refused("sst2", tmp_path, "validation", r"line 2: the label is ''; write a text or")
    write(tmp_path / "dev.tsv", row(*PAIR, "label"), "0\ta\tb\t-")
    refused("rte", tmp_path, "validation", r"label '-' is none of")  # in MNLI alone it is left out


@pytest.mark.parametrize("score", ["nan", "inf", "-Infinity", "four", ""])
def test_a_score_that_is_none(tmp_path, score):
    header, values = row(*STSB, "score"), "0" + "\tx" * 8
    write(tmp_path / "dev.tsv", header, f"{values}\t1.5", f"{values}\t{score}")
    refused("stsb", tmp_path, "validation", rf"dev\.tsv: line 3: the score is '{score}', no finite")


def test_an_empty_split(tmp_path):
    write(tmp_path / "dev.tsv", "sentence\tlabel")
    refused("sst2", tmp_path, "validation", r"^sst2: its split validation in .* has no example")
    write(tmp_path / "dev.tsv")
    refused("sst2", tmp_path, "validation", r"dev\.tsv: is empty; it must begin with the names")
    refused("cola", tmp_path, "validation", r"^cola: its split validation in .* has no example")


def test_a_split_that_a_task_has_not(tmp_path):
    refused("sst2", tmp_path, "dev", r"^sst2: has no split 'dev'; its splits: train, validation, t")
    refused("mnli", tmp_path, "validation", r"train, validation_matched, validation_mismatched, te")
    refused("ax", tmp_path, "train", r"^ax: has no split 'train'; train a model of mnli; its split")


def test_damaged_files(tmp_path):
    path = write(tmp_path / "train.tsv.gz", "sentence\tlabel", *["a b c\t1"] * 1000)
    path.write_bytes(path.read_bytes()[:-20])
    refused("sst2", tmp_path, "train", r"train\.tsv\.gz: truncated or damaged \.gz file")
    write(tmp_path / "dev.tsv", "sentence\tlabel", "a\t1", "café\t1", encoding="latin-1")
    refused("sst2", tmp_path, "validation", r"dev\.tsv: line 3 is not UTF-8 \(byte 4 of it\)")


# --- the real files ---

# Rows, and those of them with label 1 (STS-B: of 5 exactly), of data/PROVENANCE.md and the counts
# of the official files with Unix's own tools.
REAL = [
    ("cola", "train", 8551, 6023),
    ("cola", "validation", 1043, 721),
    ("sst2", "train", 66349, 37006),
    ("sst2", "validation", 1000, 563),
    ("mrpc", "train", 3668, 2474),
    ("mrpc", "validation", 408, 279),
    ("stsb", "train", 5049, None),
    ("stsb", "validation", 700, None),
    ("qnli", "validation", 5463, 2761),
    ("rte", "train", 2490, 1241),
    ("rte", "validation", 277, 131),
    ("wnli", "train", 635, 312),
    ("wnli", "validation", 71, 31),
]


@pytest.mark.parametrize(("name", "split", "count", "ones"), REAL)
def test_real_files(shared, name, split, count, ones):
    examples = read_split(find_task(name), shared / "data/glue", split)
    assert len(examples) == count
    assert len({example.id for example in examples}) == count
    assert all(text.strip() for example in examples for text in example.texts)
    if ones is not None:
        assert sum(example.label == 1 for example in examples) == ones
    if name == "stsb":
        assert all(0 <= example.label <= 5 for example in examples)
