"""What students are called: in tables, in folders, and what is refused."""

import pytest

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.students import check_names, name_students


def test_a_single_folder_is_the_student_as_ever():
    assert name_students(["runs/half/model"]) == {"student": "runs/half/model"}
    assert name_students(["half depth=runs/half"]) == {"half depth": "runs/half"}


def test_of_several_each_has_the_name_of_its_folder_or_run():
    folders = ["runs/half/model", "./third/", "hf://distilbert/distilbert-base@v1", "thin=a/b"]
    assert list(name_students(folders)) == ["half", "third", "distilbert-base", "thin"]
    assert list(name_students(folders).values()) == [*folders[:3], "a/b"]
    # Before a slash is no name: this folder's own has an equals sign.
    assert list(name_students(["runs/rate=3", "x"])) == ["rate=3", "x"]


def test_names_get_as_many_parents_as_tell_them_apart():
    folders = ["a/run/model", "b/run", "run=c", "b/other"]
    assert list(name_students(folders)) == ["a-run", "b-run", "run", "other"]
    # Wherever it stands among the students, a folder has the same name.
    assert list(name_students(folders[::-1])) == ["other", "run", "b-run", "a-run"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a=x", "a=y"], "two students have the name a; give one of them another$"),
        (["runs/a", "b", "runs/a/model"], "the student .*runs/a is given twice; leave one out$"),
        (["=x", "y"], "the student '=x': write NAME=DIR, or the folder alone$"),
        (["x="], "the student 'x=': write NAME=DIR"),
    ],
)
def test_students_that_cannot_be_named_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        name_students(given)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["teacher"], "'teacher' is that of another row, 'teacher'"),
        (["a", "a, int8"], "'a, int8' is that of another row"),
        (["half depth", "half-depth"], "'half-depth' is that of another row, 'half depth'"),
        (["../a"], "use letters, digits, spaces and"),
        (["a|b"], "use letters, digits, spaces and"),
        (["a "], "use letters, digits, spaces and"),
        ([""], "use letters, digits, spaces and"),
    ],
)
def test_names_that_cannot_be_a_row_and_a_folder_are_refused(names, message):
    with pytest.raises(UserError, match=message):
        check_names(names, ["teacher", "a, int8"])
    check_names(["a", "half depth", "3.5 (old)", "Größe"], ["teacher", "a, int8"])
