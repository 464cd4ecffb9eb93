"""SQuAD's official JSON, and what is wrong with some of it."""

import json

import pytest

from support.task_files import squad_file, squad_question
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.examples import QuestionExample
from tf_distilbert.finetuning.splits import read_split
from tf_distilbert.finetuning.tasks import find_task

CONTEXT = "Notre Dame 🙂 is in Paris. Rome is in Italy, they say in Paris."
FIRST, SECOND = find_task("squad"), find_task("squad-v2")


def refused(task, data, split, message):
    with pytest.raises(UserError, match=message) as error:
        read_split(task, data, split, pytest.fail)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("folder", [".", "squad", "squad-v1.1"])
def test_questions_of_1_1(tmp_path, folder):
    questions = [
        squad_question("one", CONTEXT, "Paris", "in Paris"),
        squad_question("two", CONTEXT, "Rome"),
    ]
    for name in ("train-v1.1.json", "dev-v1.1.json"):
        squad_file(tmp_path / folder / name, CONTEXT, *questions)
    for split in ("train", "validation"):
        assert read_split(FIRST, tmp_path, split, pytest.fail) == [
            QuestionExample(
                "one", "What is one?", CONTEXT, "Title", ("Paris", "in Paris"), (19, 16), False
            ),
            QuestionExample("two", "What is two?", CONTEXT, "Title", ("Rome",), (26,), False),
        ]
    assert CONTEXT[19:24] == "Paris"  # characters, whatever bytes the smile has


def test_questions_of_2_0(tmp_path):
    questions = [
        squad_question("one", CONTEXT, "Paris", is_impossible=False),
        squad_question("two", CONTEXT, is_impossible=True, plausible_answers=[{"text": "Rome"}]),
        squad_question("three", CONTEXT, "Rome", is_impossible=True),
    ]
    squad_file(tmp_path / "train-v2.0.json", CONTEXT, *questions)
    one, two, three = read_split(SECOND, tmp_path, "train", pytest.fail)
    assert (one.answers, one.starts, one.is_impossible) == (("Paris",), (19,), False)
    for none in (two, three):
        assert (none.answers, none.starts, none.is_impossible) == ((), (), True)


def test_each_version_reads_its_own_file(tmp_path):
    squad_file(tmp_path / "dev-v1.1.json", CONTEXT, squad_question("one", CONTEXT, "Rome"))
    squad_file(tmp_path / "dev-v2.0.json", CONTEXT, squad_question("two", CONTEXT))
    assert read_split(FIRST, tmp_path, "validation")[0].id == "one"
    assert read_split(SECOND, tmp_path, "validation")[0].id == "two"
    refused(
        FIRST,
        tmp_path,
        "train",
        r": has neither train-v1\.1\.json or train\.json nor a folder squad/ or SQuAD/ or squad-v1"
        r"\.1/; there are dev-v1\.1\.json, .*; SQuAD is at https://rajpurkar\.github\.io",
    )
    squad_file(tmp_path / "train.json", CONTEXT, squad_question("three", CONTEXT, "Rome"))
    assert read_split(FIRST, tmp_path, "train")[0].id == "three"


# --- answers that do not stand where they should ---


def test_questions_whose_answers_do_not_match_are_left_out_and_listed(tmp_path):
    negative = squad_question("minus", CONTEXT, "Paris")
    negative["answers"][0]["answer_start"] = -6  # from the end it would match
    assert CONTEXT[-6:-1] == "Paris"
    questions = [
        squad_question("good", CONTEXT, "Paris"),
        squad_question("shifted", CONTEXT, "Rome", shift=1),
        squad_question("beyond", CONTEXT, "Rome", shift=1000),
        negative,
        squad_question("empty", CONTEXT, ""),
        squad_question("case", CONTEXT, "Rome"),
    ]
    questions[-1]["answers"][0]["text"] = "rome"
    path = squad_file(tmp_path / "train-v1.1.json", CONTEXT, *questions)
    told = []
    examples = read_split(FIRST, tmp_path, "train", told.append)
    assert [example.id for example in examples] == ["good"]
    assert told == [
        f"{path}: 5 of 6 questions are left out, for their answers do not stand where answer_start "
        "says: shifted, beyond, minus, empty, case"
    ]


def test_of_several_answers_those_that_match_are_kept(tmp_path):
    some = squad_question("some", CONTEXT, "Paris", "Rome", "in Italy")
    some["answers"][0]["answer_start"] += 1
    squad_file(tmp_path / "train-v2.0.json", CONTEXT, some, squad_question("none", CONTEXT))
    some, none = read_split(SECOND, tmp_path, "train", pytest.fail)
    assert (some.answers, some.starts) == (("Rome", "in Italy"), (26, 34))
    assert none.answers == ()  # it had none before


def test_many_are_counted_and_not_all_listed(tmp_path):
    wrong = [squad_question(f"w{n:02}", CONTEXT, "Rome", shift=1) for n in range(30)]
    right = squad_question("right", CONTEXT, "Rome")
    squad_file(tmp_path / "train-v1.1.json", CONTEXT, *wrong, right)
    told = []
    assert len(read_split(FIRST, tmp_path, "train", told.append)) == 1
    assert "30 of 31 questions" in told[0] and told[0].endswith(" w18, w19 and 10 more")


def test_scores_do_not_need_offsets(tmp_path):
    squad_file(tmp_path / "dev-v1.1.json", CONTEXT, squad_question("x", CONTEXT, "Rome", shift=1))
    (example,) = read_split(FIRST, tmp_path, "validation", pytest.fail)
    assert (example.answers, example.starts) == (("Rome",), (27,))


def test_if_none_is_left_there_is_no_training_data(tmp_path):
    squad_file(tmp_path / "train-v1.1.json", CONTEXT, squad_question("x", CONTEXT, "Rome", shift=1))
    with pytest.raises(UserError, match=r"^squad: its split train in .* has no example; check"):
        read_split(FIRST, tmp_path, "train", lambda message: None)


# --- other bad input ---


def test_a_question_without_answer_in_1_1(tmp_path):
    squad_file(tmp_path / "dev-v1.1.json", CONTEXT, squad_question("x", CONTEXT))
    refused(FIRST, tmp_path, "validation", r"question x has no answer, .* take the task squad-v2$")


def test_two_questions_of_one_id(tmp_path):
    twice = [squad_question("x", CONTEXT, "Rome"), squad_question("x", CONTEXT, "Paris")]
    squad_file(tmp_path / "dev-v1.1.json", CONTEXT, *twice)
    refused(
        FIRST, tmp_path, "validation", r"dev-v1\.1\.json: two questions have the id x; change o"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"dev-v1\.1\.json: is not JSON \(.*\); fetch it again$"),
        ("[]", r"is not in SQuAD's format, near the beginning: list indices .*; mend it$"),
        ('{"version": "1.1"}', r"is not in SQuAD's format, near the beginning: lacks 'data'; mend"),
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', r"near the beginning: lacks 'context'; mend"),
        ('{"data": []}', r"^squad: its split validation in .* has no example; check the file$"),
    ],
)
def test_files_that_are_not_squads(tmp_path, content, message):
    (tmp_path / "dev-v1.1.json").write_text(content)
    refused(FIRST, tmp_path, "validation", message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answers": None}, r"near question x: 'NoneType' object is not iterable; mend it$"),
        ({"answers": [{"text": "Rome"}]}, r"near question x: lacks 'answer_start'; mend it$"),
        (
            {"answers": [{"text": "Rome", "answer_start": "first"}]},
            r"near question x: invalid literal for int\(\).*'first'; mend it$",
        ),
        ({"question": 5}, r"question x has something else than text; mend it$"),
        ({"question": "\ud800"}, r"question x has something else than text; mend it$"),
    ],
)
def test_questions_that_are_not_squads(tmp_path, change, message):
    broken = squad_question("x", CONTEXT, "Rome") | change
    squad_file(tmp_path / "dev-v1.1.json", CONTEXT, squad_question("a", CONTEXT, "Rome"), broken)
    refused(FIRST, tmp_path, "validation", message)


def test_there_is_no_test_split(tmp_path):
    refused(FIRST, tmp_path, "test", r"^squad: has no split 'test'; its splits: train, validation$")


# --- the real files ---


def test_real_questions(shared):
    for split, count in (("train", 10_822), ("validation", 1_055)):
        examples = read_split(FIRST, shared / "data", split, pytest.fail)
        assert len(examples) == count
        for example in examples:
            for text, start in zip(example.answers, example.starts, strict=True):
                assert example.context[start : start + len(text)] == text
    content = json.loads((shared / "data/squad/dev-v1.1.json").read_text("utf-8"))
    assert examples[-1].id == content["data"][-1]["paragraphs"][-1]["qas"][-1]["id"]
