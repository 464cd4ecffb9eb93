"""Tasks from tensorflow-datasets: its builders' features, and data sets of the same structure."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.examples import QuestionExample, TextExample
from tf_distilbert.finetuning.splits import TFDS, read_split, with_labels
from tf_distilbert.finetuning.tasks import TASKS, find_task

THERE = [task for task in TASKS if task.builder]


@pytest.fixture
def loaded(monkeypatch):
    """Let tfds.load give records in the structure of the real builder's features."""
    calls = []

    def serve(records):
        def load(name, split, shuffle_files):
            calls.append((name, split, shuffle_files))
            features = tfds.builder(name, data_dir="/nonexistent").info.features
            stored = [features.serialize_example(record) for record in records]
            dataset = tf.data.Dataset.from_tensor_slices(stored)
            return dataset.map(features.deserialize_example)

        monkeypatch.setattr(tfds, "load", load)
        return calls

    return serve


@pytest.mark.parametrize("task", THERE, ids=lambda task: task.name)
def test_the_builders_have_what_is_read(task):
    features = tfds.builder(task.builder, data_dir="/nonexistent").info.features
    assert set(task.features) <= set(features)
    if task.kind == "classification":
        known = {"neg": "negative", "pos": "positive"}
        assert tuple(known.get(name, name) for name in features["label"].names) == task.labels
    if task.kind == "regression":
        assert features["label"].np_dtype == np.float32
    if task.kind == "question_answering":
        assert {"id", "title", "context", "question", "answers"} <= set(features)
        assert {"text", "answer_start"} <= set(features["answers"].feature)
        assert ("is_impossible" in features) == (task.name == "squad-v2")


def test_single_texts(loaded):
    calls = loaded(
        [{"sentence": "é a", "label": 1, "idx": 7}, {"sentence": "b", "label": 0, "idx": 3}]
    )
    assert read_split(find_task("cola"), "tfds", "validation") == [
        TextExample("7", ("é a",), 1),
        TextExample("3", ("b",), 0),
    ]
    assert calls == [("glue/cola", "validation", False)]


def test_pairs_in_their_order_and_without_labels(loaded):
    calls = loaded([{"hypothesis": "b", "premise": "a", "label": -1, "idx": 0}])
    assert read_split(find_task("mnli"), TFDS, "test_mismatched") == [
        TextExample("0", ("a", "b"), None)
    ]
    assert read_split(find_task("ax"), TFDS, "test")[0].texts == ("a", "b")
    assert calls == [("glue/mnli", "test_mismatched", False), ("glue/ax", "test", False)]


def test_scores(loaded):
    record = {"sentence1": "a", "sentence2": "b", "idx": 1}
    loaded([record | {"label": 2.5}, record | {"label": 0.0}, record | {"label": -1.0}])
    examples = read_split(find_task("stsb"), TFDS, "test")
    assert [example.label for example in examples] == [2.5, 0.0, None]


def test_reviews(loaded):
    calls = loaded([{"text": "a", "label": 1}, {"text": "b", "label": 0}])
    assert read_split(find_task("imdb"), TFDS, "test") == [
        TextExample("0", ("a",), 1),
        TextExample("1", ("b",), 0),
    ]
    assert calls == [("imdb_reviews", "test", False)]


def record(name, *answers, start=None, **others):
    context = "🙂 Rome is in Italy"
    starts = [context.index(a) if start is None else start for a in answers]
    made = {"text": list(answers), "answer_start": starts}
    return {
        "id": name,
        "title": "T",
        "context": context,
        "question": "Q?",
        "answers": made,
        **others,
    }


def test_questions(loaded):
    calls = loaded([record("x", "Rome", "in Italy"), record("y", "Rome", start=5)])
    expected = QuestionExample(
        "x", "Q?", "🙂 Rome is in Italy", "T", ("Rome", "in Italy"), (2, 10), False
    )
    told = []
    assert read_split(find_task("squad"), TFDS, "train", told.append) == [expected]
    assert told == [
        "tfds:squad/v1.1#train: 1 of 2 questions are left out, for their answers do not stand "
        "where answer_start says: y"
    ]
    assert len(read_split(find_task("squad"), TFDS, "validation", pytest.fail)) == 2
    assert calls == [("squad/v1.1", "train", False), ("squad/v1.1", "validation", False)]


def test_questions_without_answer(loaded):
    plausible = {"text": ["Rome"], "answer_start": [2]}
    records = [
        record("x", "Rome", is_impossible=False, plausible_answers=plausible),
        record("y", is_impossible=True, plausible_answers=plausible),
    ]
    calls = loaded(records)
    x, y = read_split(find_task("squad-v2"), TFDS, "train", pytest.fail)
    assert (x.answers, x.is_impossible) == (("Rome",), False)
    assert (y.answers, y.starts, y.is_impossible) == ((), (), True)
    assert calls == [("squad/v2.0", "train", False)]


# --- bad input ---


def test_tasks_that_are_not_there():
    for name in ("classification", "token-classification", "regression"):
        task = find_task(name)
        with pytest.raises(UserError, match=rf"^{name}: is not in tensorflow-datasets; name the f"):
            read_split(task, TFDS, "train")
    assert with_labels(find_task("classification"), TFDS).labels == ()


def test_data_that_cannot_be_loaded(monkeypatch):
    def load(name, split, shuffle_files):
        raise ConnectionError("no route to host\nmore lines")

    monkeypatch.setattr(tfds, "load", load)
    message = (
        r"^tfds:glue/rte#train: cannot be loaded \(no route to host\); run `tfds build glue/rte` w"
    )
    with pytest.raises(UserError, match=message):
        read_split(find_task("rte"), TFDS, "train")


def test_an_empty_split(monkeypatch):
    empty = tf.data.Dataset.from_tensor_slices({"sentence": [], "label": [], "idx": []})
    monkeypatch.setattr(tfds, "load", lambda name, split, shuffle_files: empty)
    with pytest.raises(UserError, match=r"^sst2: its split validation in tfds has no example"):
        read_split(find_task("sst2"), TFDS, "validation")


def test_another_versions_features(monkeypatch):
    other = tf.data.Dataset.from_tensor_slices({"text": ["a"], "label": [1]})
    monkeypatch.setattr(tfds, "load", lambda name, split, shuffle_files: other)
    with pytest.raises(
        UserError, match=r"^tfds:glue/sst2#train: has no feature 'sentence'; install"
    ):
        read_split(find_task("sst2"), TFDS, "train")


def test_squad_in_1_1_without_answer(loaded):
    loaded([record("x")])
    with pytest.raises(
        UserError, match=r"^tfds:squad/v1\.1#validation: question x has no answer, "
    ):
        read_split(find_task("squad"), TFDS, "validation")
