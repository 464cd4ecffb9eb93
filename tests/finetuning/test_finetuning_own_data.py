"""The user's own CSV, TSV, JSON Lines and CoNLL, and IMDb's folders and tables."""

import csv
import json
from dataclasses import replace

import pytest

from support.task_files import write
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.examples import TextExample, TokenExample
from tf_distilbert.finetuning.splits import read_split, with_labels
from tf_distilbert.finetuning.tasks import find_task

CLASSES = find_task("classification")
PAIRS = find_task("pair-classification")
NUMBERS = find_task("regression")
TOKENS = find_task("token-classification")


def jsonl(*rows):
    return [json.dumps(row) for row in rows]


def refused(task, data, split, message):
    with pytest.raises(UserError, match=message) as error:
        read_split(task, data, split)
    assert "\n" not in str(error.value)


TRAIN = {
    "train.csv": ["text,label", '"a ""b"", c",good', "d,bad"],
    "train.tsv": ["text\tlabel", 'a "b", c\tgood', "d\tbad"],
    "train.jsonl": jsonl({"text": 'a "b", c', "label": "good"}, {"label": "bad", "text": "d"}),
}


@pytest.mark.parametrize("name", TRAIN)
@pytest.mark.parametrize("pack", ["", ".gz", ".xz"])
def test_the_same_examples_in_each_format(tmp_path, name, pack):
    write(tmp_path / f"{name}{pack}", *TRAIN[name])
    assert read_split(CLASSES, tmp_path, "train") == [
        TextExample("0", ('a "b", c',), 1),
        TextExample("1", ("d",), 0),
    ]
    assert with_labels(CLASSES, tmp_path).labels == ("bad", "good")


def test_all_splits_have_the_classes_of_the_training_data(tmp_path):
    write(tmp_path / "train.csv", "text,label", "a,2", "b,10", "c,x")
    write(tmp_path / "dev.tsv", "label\ttext", "2\ta")
    write(tmp_path / "test.jsonl", *jsonl({"text": "a"}, {"text": "b"}))
    assert with_labels(CLASSES, tmp_path).labels == ("10", "2", "x")  # sorted as text
    assert read_split(CLASSES, tmp_path, "validation") == [TextExample("0", ("a",), 1)]
    assert [e.label for e in read_split(CLASSES, tmp_path, "test")] == [None, None]
    # Those of a model instead.
    other = replace(CLASSES, labels=("x", "2"))
    assert with_labels(other, tmp_path) == other
    assert read_split(other, tmp_path, "validation")[0].label == 1


def test_a_test_split_may_have_labels(tmp_path):
    write(tmp_path / "train.csv", "text,label", "a,0", "b,1")
    write(tmp_path / "test.csv", "text,label", "a,1")
    assert read_split(CLASSES, tmp_path, "test")[0].label == 1


def test_columns_by_name(tmp_path):
    task = find_task("pair-classification", text="q", text_pair="p", label="same", id="n")
    write(tmp_path / "train.csv", "n,same,p,q", "x7,yes,second,first", "x8,no,c,d")
    assert read_split(task, tmp_path, "train") == [
        TextExample("x7", ("first", "second"), 1),
        TextExample("x8", ("d", "c"), 0),
    ]


def test_pairs_by_default(tmp_path):
    write(tmp_path / "train.csv", "text_pair,text,label", "b,a,1", "d,c,0")
    assert read_split(PAIRS, tmp_path, "train")[0] == TextExample("0", ("a", "b"), 1)


def test_regressions(tmp_path):
    write(tmp_path / "train.csv", "text,other,label", "a,b,2.5", "c,d,-1e3")
    assert [e.label for e in read_split(NUMBERS, tmp_path, "train")] == [2.5, -1000.0]
    pairs = find_task("regression", text_pair="other")
    assert read_split(pairs, tmp_path, "train")[0] == TextExample("0", ("a", "b"), 2.5)
    write(tmp_path / "dev.jsonl", *jsonl({"text": "a", "label": 3}))
    assert read_split(NUMBERS, tmp_path, "validation")[0].label == 3.0


def test_quoted_fields_span_lines(tmp_path):
    lines = ["text,label", '"one', 'two, ""three""",a', "", "x,b"]
    write(tmp_path / "train.csv", *lines)
    texts = [e.texts for e in read_split(CLASSES, tmp_path, "train")]
    assert texts == [('one\ntwo, "three"',), ("x",)]


def test_fields_longer_than_pythons_limit(tmp_path):
    text = "word " * 1000
    write(tmp_path / "train.csv", "text,label", f'"{text}",a', "x,b")
    usual = csv.field_size_limit(100)
    try:
        assert read_split(CLASSES, tmp_path, "train")[0].texts == (text,)
        assert csv.field_size_limit() == 100  # others' limit is as it was
    finally:
        csv.field_size_limit(usual)


def test_whole_numbers_are_labels_in_json(tmp_path):
    write(tmp_path / "train.jsonl", *jsonl({"text": "a", "label": 1}, {"text": "b", "label": 0}))
    assert [e.label for e in read_split(CLASSES, tmp_path, "train")] == [1, 0]


# --- tokens ---

SENTENCES = [
    TokenExample("0", ("Ada", "Lovelace", "wrote"), (0, 1, 2)),
    TokenExample("1", ("Yes",), (2,)),
]
TOKEN_FILES = {
    "train.jsonl": jsonl(
        {"words": ["Ada", "Lovelace", "wrote"], "labels": ["B-PER", "I-PER", "O"]},
        {"words": ["Yes"], "labels": ["O"]},
    ),
    "train.conll": ["-DOCSTART- O", "", "Ada B-PER", "Lovelace I-PER", "wrote O", "", "", "Yes\tO"],
    "train.txt": ["Ada NNP x B-PER", "Lovelace NNP x I-PER", "wrote VB x O", " ", "Yes UH x O", ""],
    "train.csv": ["words,labels", "Ada Lovelace wrote,B-PER I-PER O", "Yes,O"],
    "train.tsv": ["labels\twords", "B-PER I-PER O\tAda Lovelace wrote", "O\tYes"],
}


@pytest.mark.parametrize("name", TOKEN_FILES)
@pytest.mark.parametrize("pack", ["", ".gz"])
def test_token_classification_in_each_format(tmp_path, name, pack):
    write(tmp_path / f"{name}{pack}", *TOKEN_FILES[name])
    assert with_labels(TOKENS, tmp_path).labels == ("B-PER", "I-PER", "O")
    assert read_split(TOKENS, tmp_path, "train") == SENTENCES


def test_tokens_without_labels(tmp_path):
    write(tmp_path / "train.conll", *TOKEN_FILES["train.conll"])
    write(tmp_path / "test.conll", "Ada", "wrote", "", "Yes")
    assert read_split(TOKENS, tmp_path, "test") == [
        TokenExample("0", ("Ada", "wrote"), None),
        TokenExample("1", ("Yes",), None),
    ]


def test_columns_of_tokens(tmp_path):
    task = find_task("token-classification", words="tokens", labels="tags", id="name")
    rows = {"tokens": ["a", "b"], "tags": ["X", "Y"], "name": 5}
    write(tmp_path / "train.jsonl", *jsonl(rows))
    assert read_split(task, tmp_path, "train") == [TokenExample("5", ("a", "b"), (0, 1))]


def test_labels_of_tokens_as_numbers(tmp_path):
    write(tmp_path / "train.jsonl", *jsonl({"words": ["a", "b"], "labels": [1, 0]}))
    assert read_split(TOKENS, tmp_path, "train")[0].labels == (1, 0)


# --- bad input ---


def test_missing_files(tmp_path):
    refused(CLASSES, tmp_path, "train", r": has no file train with one of \.csv \.tsv \.jsonl; the")
    write(tmp_path / "train.csv", "text,label", "a,1", "b,0")
    message = r": has no file validation or dev with one of .*; there is train\.csv$"
    refused(CLASSES, tmp_path, "validation", message)
    write(tmp_path / "dev.csv", "text,label", "a,1")
    write(tmp_path / "validation.jsonl", *jsonl({"text": "a", "label": "1"}))
    refused(CLASSES, tmp_path, "validation", r"has validation\.jsonl and dev\.csv; leave one of t")


def test_missing_columns(tmp_path):
    path = write(tmp_path / "train.csv", "review,stars", "a,1", "b,2")
    message = rf"^{path}: has no column 'label'; its columns are 'review', 'stars': name the right"
    refused(CLASSES, tmp_path, "train", message)
    task = replace(CLASSES, labels=("1", "2"))
    refused(task, tmp_path, "train", r"has no column 'text', 'label'; its columns")
    refused(replace(task, id="n", texts=("review",), label="stars"), tmp_path, "train", "'n'; its")
    write(tmp_path / "dev.csv", "text", "a")
    refused(task, tmp_path, "validation", r"dev\.csv: has no column 'label'")
    write(tmp_path / "test.csv", "label", "a")
    refused(task, tmp_path, "test", r"test\.csv: has no column 'text'")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['"a, b,1', "c,2"], r"train\.csv: line 2 has broken quoting \(unexpected end of data\)"),
        (["a,1", '"b" c,2', "d,1"], r"train\.csv: line 3 has broken quoting \(',' expected after"),
        (['"a', 'b",1', '"c,2'], r"train\.csv: line 4 has broken quoting"),
        (["a\rb,1"], r"train\.csv: line 2 has broken quoting \(new-line character seen"),
        (["a,1", "b,2,3"], r"train\.csv: line 3 has 3 values where there are 2 columns; mend"),
        (["a,1", "b"], r"train\.csv: line 3 has 1 values where there are 2 columns; mend"),
        (["a,1", "b,"], r"train\.csv: line 3: the label is ''; write a text or a whole number"),
        (["a,1", "b,1"], r"train\.csv: the only label is '1'; a classification needs two or more"),
        ([], r"train\.csv: there is no label; a classification needs two or more"),
    ],
)
def test_broken_csv(tmp_path, lines, message):
    write(tmp_path / "train.csv", "text,label", *lines)
    refused(CLASSES, tmp_path, "train", message)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"text": "a", "label": "1"', "x"], r"train\.jsonl: line 1 is not JSON \(.*\); mend"),
        (jsonl({"text": "a", "label": "1"}, [1]), r"train\.jsonl: line 2 is no JSON object; each"),
        (
            jsonl({"text": "a", "label": "1"}, {"text": "b"}),
            r"line 2 has no 'label', it has 'text'",
        ),
        (
            jsonl({"text": "a", "label": True}),
            r"line 1: the label is True; write a text or a whole",
        ),
        (jsonl({"text": "a", "label": None}), r"line 1: the label is None; write a text or a who"),
        (jsonl({"text": "a", "label": 0.5}), r"line 1: the label is 0\.5; write a text or a whole"),
        (
            jsonl({"text": 5, "label": "1"}, {"text": "", "label": "2"}),
            r"line 1: 'text' is no text",
        ),
        (
            jsonl({"text": "\ud800", "label": "1"}, {"text": "", "label": "2"}),
            r"'text' is no text;",
        ),
        ([], r"train\.jsonl: is empty; it must begin with the names of its columns"),
    ],
)
def test_broken_json_lines(tmp_path, lines, message):
    write(tmp_path / "train.jsonl", *lines)
    refused(CLASSES, tmp_path, "train", message)


def test_labels_that_training_did_not_have(tmp_path):
    write(tmp_path / "train.csv", "text,label", "a,good", "b,bad")
    write(tmp_path / "dev.csv", "text,label", "a,good", '"b', 'c",fair')
    refused(CLASSES, tmp_path, "validation", r"dev\.csv: line 3: label 'fair' is none of bad, good")
    many = replace(CLASSES, labels=tuple(f"l{number:02}" for number in range(30)))
    refused(many, tmp_path, "train", r"line 2: label 'good' is none of l00, .*, l19 and 10 more")


@pytest.mark.parametrize("value", ["nan", "1,5", ""])
def test_scores_that_are_none(tmp_path, value):
    write(tmp_path / "dev.tsv", "text\tlabel", "a\t1", f"b\t{value}")
    refused(
        NUMBERS, tmp_path, "validation", rf"dev\.tsv: line 3: the score is '{value}', no finite"
    )


@pytest.mark.parametrize("value", [float("nan"), True, None, "x", [1]])
def test_scores_in_json_that_are_none(tmp_path, value):
    write(tmp_path / "dev.jsonl", *jsonl({"text": "a", "label": value}))
    refused(NUMBERS, tmp_path, "validation", r"dev\.jsonl: line 1: the score is .*, no finite numb")


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        (
            "dev.conll",
            ["a O", "b"],
            r"dev\.conll: line 2 has no label where the lines before it ha",
        ),
        (
            "dev.conll",
            ["a", "b O"],
            r"dev\.conll: line 2 has a label where the lines before it have",
        ),
        (
            "dev.conll",
            ["", "a"],
            r"dev\.conll: line 2 has no label; write a word and its label a li",
        ),
        (
            "dev.conll",
            ["a O", "", "", "a O", "b B"],
            r"dev\.conll: line 5: label 'B' is none of O, X",
        ),
        ("dev.csv", ["words,labels", "a b,O"], r"dev\.csv: line 2 has 2 words and 1 labels; give"),
        ("dev.jsonl", jsonl({"words": ["a"], "labels": ["O", "O"]}), r"has 1 words and 2 labels"),
        (
            "dev.jsonl",
            jsonl({"words": [1], "labels": ["O"]}),
            r"'words' is no list of texts; write",
        ),
        (
            "dev.jsonl",
            jsonl({"words": ["a"], "labels": 3}),
            r"'labels' is no list of labels; write",
        ),
        ("dev.jsonl", jsonl({"words": ["a"], "labels": ["B"]}), r"line 1: label 'B' is none of O"),
        ("dev.conll", [], r"^token-classification: its split validation in .* has no example"),
    ],
)
def test_broken_tokens(tmp_path, name, lines, message):
    write(tmp_path / name, *lines)
    refused(replace(TOKENS, labels=("O", "X")), tmp_path, "validation", message)


def test_an_empty_split(tmp_path):
    write(tmp_path / "train.csv", "text,label", "a,good", "b,bad")
    write(tmp_path / "dev.csv", "text,label")
    refused(
        CLASSES, tmp_path, "validation", r"^classification: its split validation in .* has no e"
    )


# --- IMDb ---

IMDB = find_task("imdb")


def test_the_folders_of_imdb(tmp_path):
    for name, text in (("pos/0_9", "good"), ("pos/10_7", "fine"), ("neg/2_1", "bad<br />bad"),
                       ("neg/10_2", "poor"), ("unsup/0_0", "x")):  # fmt: skip
        write(tmp_path / f"aclImdb/test/{name}.txt", text)
    for data in (tmp_path, tmp_path / "aclImdb"):
        examples = read_split(IMDB, data, "test")
        assert [e.id for e in examples] == ["neg/2_1", "neg/10_2", "pos/0_9", "pos/10_7"]
        assert [e.label for e in examples] == [0, 0, 1, 1]
        assert examples[0].texts == ("bad<br />bad\n",)


def test_tables_of_imdb(tmp_path):
    write(tmp_path / "imdb_train.tsv.xz", "id\tlabel\trating\ttext", 'neg/0\t0\t3\ta "b')
    assert read_split(IMDB, tmp_path, "train") == [TextExample("neg/0", ('a "b',), 0)]
    write(tmp_path / "test.tsv", "label\ttext", "1\ta")
    assert read_split(IMDB, tmp_path, "test") == [TextExample("0", ("a",), 1)]


def test_bad_imdb(tmp_path):
    refused(IMDB, tmp_path, "test", r": has neither test\.tsv or imdb_test\.tsv nor a fold")
    write(tmp_path / "test.tsv", "label\ttext", "2\ta")
    refused(IMDB, tmp_path, "test", r"test\.tsv: line 2: label '2' is none of 0, 1")
    write(tmp_path / "imdb/train/pos/0_9.txt", "café", encoding="latin-1")
    refused(IMDB, tmp_path, "train", r"pos/0_9\.txt: is not UTF-8 \(byte 4\); convert the file")
    (tmp_path / "imdb/test").mkdir()
    refused(IMDB, tmp_path, "test", r"^imdb: its split test in .* has no example")


def test_real_imdb(shared):
    examples = read_split(IMDB, shared / "data", "train")
    assert len(examples) == 25_000
    assert sum(example.label for example in examples) == 12_500
    assert all((example.label == 1) == example.id.startswith("pos/") for example in examples)
