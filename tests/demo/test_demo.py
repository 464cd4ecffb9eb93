"""The demo without its page: who can be compared, what is shown, what is timed, which port."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from support import tiny
from support.task_model import LABELS, task_model
from tf_distilbert.demo import comparison
from tf_distilbert.demo.answer_table import MOST_CLASSES, Answers, AnswerTable, read_answers
from tf_distilbert.demo.comparison import (
    MOST_CALLS,
    Comparison,
    compare,
    comparison_html,
    error_html,
)
from tf_distilbert.demo.form import form_fields, read_form
from tf_distilbert.demo.model_pair import ModelPair
from tf_distilbert.errors import UserError
from tf_distilbert.exports.prediction import Predictor
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.serving.embedding import embed
from tf_distilbert.serving.served_model import ServedModel


def served(task, labels=(), problem=""):
    return ServedModel(task, "bert", tiny.tokenizer(), 32, True, tuple(labels), problem)


def pair_of(teacher, student=None):
    models = (SimpleNamespace(served=each) for each in (teacher, student or teacher))
    return ModelPair(*models, "TEACHER", "STUDENT")


# Who can be compared


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    settings = {
        "masked_lm": tiny.model(num_layers=2),
        "roberta": tiny.roberta(num_layers=2),
        "classes": task_model("sequence_classification"),
        "same_classes": task_model("sequence_classification", labels=LABELS[::-1]),
        "other_classes": task_model("sequence_classification", labels=["bad", "good", "best"]),
        "regression": task_model("sequence_classification", labels=["x"], problem="regression"),
        "labels": task_model("token_classification"),
        "question_answering": task_model("question_answering"),
        "encoder": task_model("encoder"),
        "vectors": task_model("embedding", "bert"),
        "other_vectors": tiny.encoder("embedding", seed=9, pooling="max"),
    }
    for name, model in settings.items():
        save_model(model, folder / name)
    return folder


@pytest.mark.parametrize(
    ("teacher", "student", "message"),
    [
        ("masked_lm", "classes", "is for sequence_classification, of the teacher .* masked_lm; "),
        ("classes", "other_classes", r"its labels are bad, best, good, .* bad, good, so so; give"),
        ("classes", "regression", "its problem is regression, of the teacher .* single_label; "),
        ("masked_lm", "roberta", r"its mask is <mask>, of the teacher .* \[MASK\]; give two"),
        ("encoder", "encoder", "is for encoder, whose answers are vectors; give a model for one"),
        ("masked_lm", "nowhere", "no such model folder"),
    ],
)
def test_models_that_cannot_be_compared_are_refused(folders, teacher, student, message):
    at_fault = folders / student
    with pytest.raises(UserError, match=f"^{re.escape(str(at_fault))}: {message}") as caught:
        ModelPair.load(str(folders / teacher), str(folders / student))
    assert "\n" not in str(caught.value)


def test_the_same_classes_in_another_order_can_be_compared(folders):
    pair = ModelPair.load(str(folders / "classes"), str(folders / "same_classes"))
    found = compare(pair, {"text": "paris is old"})
    # The same weights, so each class has the probability of the one at its place.
    [_, probabilities] = found.answers.tables
    cells = {name: (theirs, own) for name, theirs, own in probabilities.rows}
    assert cells["bad"] == cells["good"][::-1] and len(set(cells["bad"])) == 2


def test_the_nearest_texts_come_first(folders):
    names = ("vectors", "other_vectors")
    pair = ModelPair.load(*(str(folders / name) for name in names))
    texts = ["rome is old", "the sun and the moon", "paris is new ?"]
    found = compare(pair, {"text": "paris is old", "texts": "\n".join([*texts, " ", ""])})
    [table] = found.answers.tables
    assert [row[0] for row in table.rows] == ["1", "2", "3"]
    for column, name in enumerate(names, start=1):
        query, *others = embed(["paris is old", *texts], folders / name).astype("float64")
        lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(query)
        cosines = dict(zip(texts, others @ query / lengths, strict=True))
        expected = sorted(cosines, key=cosines.get, reverse=True)
        assert [row[column] for row in table.rows] == [f"{t} {cosines[t]:.3f}" for t in expected]
    with pytest.raises(UserError, match=r"^texts: is empty; write something$"):
        compare(pair, {"text": "paris", "texts": " \n"})


@pytest.mark.parametrize("task", ["masked_lm", "question_answering"])
def test_a_compiled_folder_answers_as_it_does_step_by_step(folders, task):
    compiled, plain = Predictor(folders / task, compiled=True), Predictor(folders / task)
    assert compiled.is_one_graph and not plain.is_one_graph
    for texts in (["paris is [MASK]"], ["rome", "the [MASK] and the [MASK] of paris", ""]):
        requests = [
            {"question": "the city ?", "context": text}
            if task == "question_answering"
            else {"text": text}
            for text in texts
        ]
        found, expected = (list(model.predict(requests)) for model in (compiled, plain))
        assert str(found) == str(expected) or _numbers(found) == pytest.approx(_numbers(expected))


def _numbers(answers):
    return [float(x) for x in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", str(answers))]


def test_a_tokenizer_outside_of_graphs_is_answered_in_steps(folders):
    pair = ModelPair.load(str(folders / "roberta"), str(folders / "roberta"))
    found = compare(pair, {"text": "the <mask>"})
    assert found.is_one_graph == (False, False)
    assert "<td>steps</td><td>steps</td>" in comparison_html(found)


@pytest.fixture(scope="module")
def pair(folders):
    """A masked language model that is its own student."""
    return ModelPair.load(str(folders / "masked_lm"), str(folders / "masked_lm"))


# What is shown


def test_words_for_masks():
    teacher = {"tokens": [["a", "b"], ["c", "d"]], "scores": [[0.5, 0.25], [0.9, 0.05]]}
    student = {"tokens": [["a", "x"], ["d", "c"]], "scores": [[0.4, 0.3], [0.8, 0.1234]]}
    found = read_answers(pair_of(served("masked_lm")), {"text": "..."}, teacher, student)
    assert found == Answers(
        "The same first word at 1 of 2 masks.",
        (
            AnswerTable(
                "[MASK] 1", (("1", "a 50.0 %", "a 40.0 %"), ("2", "b 25.0 %", "x 30.0 %")), True
            ),
            AnswerTable(
                "[MASK] 2", (("1", "c 90.0 %", "d 80.0 %"), ("2", "d 5.0 %", "c 12.3 %")), True
            ),
        ),
    )


def test_classes_stand_in_the_teachers_order():
    teacher, student = (
        served("sequence_classification", "ab"),
        served("sequence_classification", "ba"),
    )
    found = read_answers(
        pair_of(teacher, student),
        {"text": "..."},
        {"label": "b", "probabilities": [0.25, 0.75]},
        {"label": "a", "probabilities": [0.125, 0.875]},
    )
    assert found.agreement == "They say different classes."
    assert found.tables[0].rows == (("says", "b", "a"),)
    assert found.tables[1].rows == (("b", "75.0 %", "12.5 %"), ("a", "25.0 %", "87.5 %"))


def test_of_many_classes_the_teachers_first_are_shown():
    names = [f"class {i}" for i in range(MOST_CLASSES + 5)]
    answer = {"label": names[-1], "probabilities": [i / 1000 for i in range(len(names))]}
    pair = pair_of(served("sequence_classification", names))
    found = read_answers(pair, {"text": "..."}, answer, answer)
    assert found.agreement == f"Both say {names[-1]}."
    assert found.tables[1].caption == f"Probabilities, {MOST_CLASSES} of {len(names)} classes"
    assert [row[0] for row in found.tables[1].rows] == names[: -MOST_CLASSES - 1 : -1]


def test_several_labels_and_a_regression():
    pair = pair_of(served("sequence_classification", "abc", "multi_label"))
    answers = [{"label": "a", "probabilities": p} for p in ([0.9, 0.4, 0.1], [0.8, 0.6, 0.2])]
    found = read_answers(pair, {"text": "..."}, *answers)
    assert found.agreement == "The same yes (above 50 %) or no for 2 of 3 classes."
    pair = pair_of(served("sequence_classification", "x", "regression"))
    found = read_answers(pair, {"text": "..."}, {"value": 2.5}, {"value": 2.75})
    expected = AnswerTable("Value", (("value", "2.500", "2.750"),))
    assert found == Answers("They differ by 0.250.", (expected,))


def test_words_have_the_label_of_their_first_piece():
    text = "Speakers in Paris"
    teacher = {
        "tokens": ["speak", "##er", "##s", "in", "paris"],
        "start": [0, 5, 7, 9, 12],
        "end": [5, 7, 8, 11, 17],
        "labels": ["O", "LOC", "LOC", "O", "LOC"],
        "scores": [0.5, 0.6, 0.7, 0.8, 0.9],
    }
    student = teacher | {"labels": ["PER", "O", "O", "O", "LOC"]}
    pair = pair_of(served("token_classification", ("O", "LOC", "PER")))
    found = read_answers(pair, {"text": text}, teacher, student)
    rows = (
        ("Speakers", "O 50.0 %", "PER 50.0 %"),
        ("in", "O 80.0 %", "O 80.0 %"),
        ("Paris", "LOC 90.0 %", "LOC 90.0 %"),
    )
    assert found == Answers("The same label for 2 of 3 words.", (AnswerTable("Words", rows),))


def test_words_that_one_tokenizer_does_not_have():
    pair = pair_of(served("token_classification", "OX"))
    names = ("tokens", "start", "end", "labels", "scores")
    teacher = dict(zip(names, (["ab"], [0], [2], ["X"], [0.5]), strict=True))
    student = dict(zip(names, (["a", "b"], [0, 1], [1, 2], ["X", "O"], [1.0, 1.0]), strict=True))
    found = read_answers(pair, {"text": "ab"}, teacher, student)
    assert found.agreement == "The same label for 0 of 3 words."
    assert found.tables[0].rows == (
        ("a", "", "X 100.0 %"),
        ("ab", "X 50.0 %", ""),
        ("b", "", "O 100.0 %"),
    )


def test_answers_to_questions():
    teacher = {"answer": "the Spree", "start": 3, "end": 12, "score": 0.5, "no_answer": -2.0}
    student = {"answer": "", "start": 0, "end": 0, "score": 0.25, "no_answer": 1.5}
    found = read_answers(pair_of(served("question_answering")), {}, teacher, student)
    assert found.agreement == "They give different answers."
    [table] = found.tables
    assert table.rows[:3] == (
        ("answer", "the Spree", ""),
        ("characters", "3 to 12", "0 to 0"),
        ("probability", "50.0 %", "25.0 %"),
    )
    assert table.rows[3][1:] == ("-2.00", "1.50")


def test_nothing_of_a_text_is_taken_as_markup():
    answers = Answers("<b>", (AnswerTable("<i>", (("<script>", "&", '"'),)),))
    page = comparison_html(Comparison(answers, (0.02, 0.005), 7, (True, False)))
    assert not re.search("<(b|i|script)>", page)
    assert "&lt;script&gt;" in page and "<td>&amp;</td>" in page
    assert "<td>20.00</td><td>5.00</td>" in page and "takes 0.25 of the teacher" in page
    assert "<td>one graph</td><td>steps</td>" in page and "the median of 7 calls" in page
    assert error_html("<b>") == '<p role="alert">&lt;b&gt;</p>'


# What is asked, and timed


def test_a_form_for_every_task():
    names = {
        task: [field.name for field in form_fields(served(task))]
        for task in ("masked_lm", "sequence_classification", "question_answering")
    }
    assert names == {
        "masked_lm": ["text"],
        "sequence_classification": ["text", "text_pair"],
        "question_answering": ["question", "context"],
    }
    fields = form_fields(served("sequence_classification"))
    assert read_form(fields, ["a", " "]) == {"text": "a"}
    assert read_form(fields, ["", "b"]) == {"text": "", "text_pair": "b"}


class Slow:
    """A model whose calls take as long as they are told, by a clock of their own."""

    is_one_graph = True

    def __init__(self, clock, *seconds):
        self.served = served("question_answering")
        self.clock, self.seconds, self.calls = clock, list(seconds), 0

    def predict(self, requests):
        assert requests == [{"question": "?", "context": "x"}]
        self.clock.now += self.seconds[min(self.calls, len(self.seconds) - 1)]
        self.calls += 1
        yield {"answer": "", "start": 0, "end": 0, "score": 0.0, "no_answer": 0.0}


def timed(monkeypatch, teacher, student):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(comparison.time, "perf_counter", lambda: clock.now)
    pair = ModelPair(Slow(clock, *teacher), Slow(clock, *student), "TEACHER", "STUDENT")
    return compare(pair, {"question": "?", "context": "x"}), pair


def test_the_latency_is_the_median_without_the_first_call(monkeypatch):
    odd = [9.0, 0.5, 0.01, 0.02, 0.03, 0.02, 0.02, 0.01]
    found, pair = timed(monkeypatch, odd, [9.0, 0.015625])
    assert found.seconds == pytest.approx((0.02, 0.015625)) and found.calls == MOST_CALLS == 7
    assert pair.teacher.calls == pair.student.calls == MOST_CALLS + 1


def test_slow_models_are_called_less_often(monkeypatch):
    found, pair = timed(monkeypatch, [2.0], [1.5])
    assert (found.calls, pair.teacher.calls, pair.student.calls) == (1, 2, 2)
    assert found.seconds == (2.0, 1.5)
    assert "the median of one call" in comparison_html(found)


def test_what_cannot_be_answered_is_said(pair):
    for text, message in (
        ("paris", r"'paris': has no \[MASK\] to fill"),
        (" \n", "text: is empty; write something"),
        ("the " * 40 + "[MASK]", "the teacher reads 0 of the text's 1 masks: it takes 32 tokens"),
        ("[MASK] the [MASK]" + " a" * 40 + "[MASK]", "reads 2 of the text's 3 masks"),
    ):
        with pytest.raises(UserError, match=message):
            compare(pair, {"text": text})


# Where it listens


def test_without_gradio_the_extra_is_named(refused, monkeypatch, folders):
    monkeypatch.setitem(__import__("sys").modules, "gradio", None)
    models = ("--teacher", folders / "masked_lm", "--student", folders / "masked_lm")
    refused("demo", *models, message=r"^gradio: .* 'tf_distilbert\[demo\]'")


def test_what_is_shown_is_what_the_models_answer(folders, pair):
    found = compare(pair, {"text": "paris is [MASK]"})
    [answer] = Predictor(folders / "masked_lm").predict([{"text": "paris is [MASK]"}])
    words = [row[1].split()[0] for row in found.answers.tables[0].rows]
    assert words == answer["tokens"][0] and len(words) == 5
    assert found.answers.agreement == "The same first word at 1 of 1 masks."
    assert all(teacher == student for _, teacher, student in found.answers.tables[0].rows)
