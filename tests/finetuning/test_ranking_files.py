"""The files of a retrieval: what is read from them, and what is refused with its line."""

import json

import pytest

from support.task_files import row, write
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.examples import Passages, QueryExample, TextExample
from tf_distilbert.finetuning.ranking_files import queries_of_pairs
from tf_distilbert.finetuning.splits import read_split
from tf_distilbert.finetuning.tasks import find_task

RETRIEVAL = find_task("retrieval")
FILES = {
    "queries": ["id\ttext", 'q1\twhat is "rome" ?', "q2\tthe sea"],
    "passages": ["id\ttext", "p1\ta city", "p2\tan old city", "p3\twater"],
    "relevant": ["query\tpassage", "q1\tp2", "q2\tp3", "q1\tp1"],
}


def write_files(folder, **changed):
    for stem, lines in {**FILES, **changed}.items():
        write(folder / f"{stem}.tsv", *lines)
    return folder


def test_queries_share_their_passages(tmp_path):
    found = read_split(RETRIEVAL, write_files(tmp_path), "validation")
    passages = Passages(["p1", "p2", "p3"], ["a city", "an old city", "water"])
    assert found == [
        QueryExample("q1", 'what is "rome" ?', {1: 1.0, 0: 1.0}, passages),
        QueryExample("q2", "the sea", {2: 1.0}, passages),
    ]
    assert found[0].passages is found[1].passages


def test_grades_in_any_table(tmp_path):
    """JSON may write ids as numbers; its rows may be without a grade, which is then 1."""
    rows = [{"query": "q2", "passage": 7, "grade": 2}, {"query": "q1", "passage": 8}]
    write(tmp_path / "relevant.jsonl", *map(json.dumps, rows))
    write(tmp_path / "passages.csv.gz", "text,id", '"a, b",7', "c,8")
    write(tmp_path / "queries.tsv", *FILES["queries"])
    found = read_split(RETRIEVAL, tmp_path, "validation")
    assert [query.relevant for query in found] == [{1: 1.0}, {0: 2.0}]
    assert found[0].passages == Passages(["7", "8"], ["a, b", "c"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"queries": [*FILES["queries"], "q1\tagain"]},
            r"queries\.tsv: line 4: the id 'q1' is that of line 2; give each text its own$",
        ),
        (
            {"passages": [*FILES["passages"], "p2\tagain"]},
            r"passages\.tsv: line 5: the id 'p2' is that of line 3",
        ),
        (
            {"relevant": [*FILES["relevant"], "q3\tp1"]},
            r"relevant\.tsv: line 5: 'q3' is no id of queries\.tsv; mend the line$",
        ),
        (
            {"relevant": [*FILES["relevant"], "q1\tp4"]},
            r"relevant\.tsv: line 5: 'p4' is no id of passages\.tsv; mend the line$",
        ),
        (
            {"relevant": [*FILES["relevant"], "q1\tp2"]},
            r"relevant\.tsv: line 5: names this passage for this query again; remove the line$",
        ),
        (
            {"queries": [*FILES["queries"], "q3\tthe sun"]},
            r"queries\.tsv: line 4: the query 'q3' has no relevant passage in relevant\.tsv; add",
        ),
        (
            {"queries": ["id\ttext", "q1\t  "]},
            r"queries\.tsv: line 2: the text is empty; write one, or remove the line$",
        ),
        ({"passages": ["id\ttext", "p1\t"]}, r"passages\.tsv: line 2: the text is empty"),
        ({"passages": ["id\ttext", "\ta"]}, r"passages\.tsv: line 2: 'id' is empty; write an id$"),
        ({"queries": ["id\ttext"]}, r"queries\.tsv: has no row; write an id and a text a line$"),
        ({"queries": ["a\ttext", "q1\tx"]}, r"queries\.tsv: has no column 'id'; its columns are"),
        *(
            (
                {"relevant": ["query\tpassage\tgrade", f"q1\tp2\t{grade}"]},
                rf"relevant\.tsv: line 2: the grade is '{grade}'; write a number above 0, or remov",
            )
            for grade in ("0", "-1", "nan", "inf", "good", "")
        ),
    ],
)
def test_what_is_wrong_is_named_by_file_and_line(tmp_path, changed, message):
    with pytest.raises(UserError, match=message) as error:
        read_split(RETRIEVAL, write_files(tmp_path, **changed), "validation")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    (write_files(tmp_path) / "relevant.tsv").unlink()
    with pytest.raises(UserError, match=r"has no file relevant with one of \.csv \.tsv \.jsonl"):
        read_split(RETRIEVAL, tmp_path, "validation")


def test_pairs_to_learn_from(tmp_path):
    write(tmp_path / "train.tsv", "text\ttext_pair", "a\tb", "c\td")
    assert read_split(RETRIEVAL, tmp_path, "train") == [
        TextExample("0", ("a", "b"), None),
        TextExample("1", ("c", "d"), None),
    ]
    write(tmp_path / "train.tsv", row("n", "q", "negative", "p"), row("x", "a", "not", "b"))
    task = find_task("retrieval", text="q", text_pair="p", id="n")
    expected = [TextExample("x", ("a", "b", "not"), None)]
    assert read_split(task, tmp_path, "train") == expected
    write(tmp_path / "train.tsv", row("n", "q", "hard", "p"), row("x", "a", "not", "b"))
    task = find_task("retrieval", text="q", text_pair="p", id="n", negative="hard")
    assert read_split(task, tmp_path, "train") == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a\t \tc", r"train\.tsv: line 2: 'text_pair' is empty; write a text, or remove the line$"),
        ("a\tb\t", r"train\.tsv: line 2: 'negative' is empty"),
        ("a\tb\tb", r"train\.tsv: line 2: the negative is the passage itself; mend the line$"),
    ],
)
def test_pairs_that_teach_nothing(tmp_path, line, message):
    write(tmp_path / "train.tsv", "text\ttext_pair\tnegative", line)
    with pytest.raises(UserError, match=message):
        read_split(RETRIEVAL, tmp_path, "train")


def test_pairs_are_measured_among_their_own_passages():
    pairs = [("a", "x", "y"), ("b", "y", "z"), ("a", "z", "x")]
    found = queries_of_pairs([TextExample(str(n), pair, None) for n, pair in enumerate(pairs)])
    passages = Passages(["0", "1", "2"], ["x", "y", "z"])
    assert found == [
        QueryExample("0", "a", {0: 1.0, 2: 1.0}, passages),
        QueryExample("1", "b", {1: 1.0}, passages),
    ]
