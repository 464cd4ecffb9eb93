"""The report of a run: its values are the log's and the models'; what cannot be one is refused."""

import re
import shutil

import numpy as np
import pytest

from support import tiny
from support.commands import run as command
from support.html_page import Page
from support.reports import QUIET, finish_run, without_model
from tf_distilbert.errors import UserError
from tf_distilbert.evaluation.fill_mask import fill_mask
from tf_distilbert.evaluation.masked_lm import evaluate
from tf_distilbert.model_files.folder import load_model
from tf_distilbert.report.curves import Curve, Line, curves_of
from tf_distilbert.report.examples import answer, choose_blanks
from tf_distilbert.report.reporter import write_report
from tf_distilbert.report.run import Run
from tf_distilbert.report.run_models import RunModels
from tf_distilbert.runs.logs import read_log

pytest.importorskip("matplotlib", reason="needs the extra `report`")
pytest.importorskip("jinja2", reason="needs the extra `report`")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return finish_run(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def path(folder):
    return write_report([folder / "run"], console=QUIET)


@pytest.fixture(scope="module")
def page(path):
    return Page(path.read_text("utf-8"))


def test_it_is_in_the_run_unless_said_otherwise(folder, path):
    assert path == folder / "run" / "report.html"


def test_every_figure_of_the_log_is_in_the_page(folder, page):
    train, validation = (read_log(folder / "run", kind) for kind in ("train", "validation"))
    names = {name for report in train for name in report} - {"step", "kind", "time"}
    assert names >= {"loss", "mlm_accuracy", "teacher_agreement", "gradient_norm", "padding_share"}
    titles = {curve.name: curve.title for curve in curves_of([Run.open(folder / "run", "run")])}
    assert titles.keys() == names - {"skipped_updates", "skipped_sequences"}  # there were none
    for name, title in titles.items():
        head, rows = page.table(f"{title}: values")
        for i, reports in enumerate((train, validation)):
            found = {
                int(step): float(cells[i].replace(",", ""))
                for step, cells in rows.items()
                if i < len(cells) and cells[i]
            }
            wanted = {r["step"]: r[name] for r in reports if name in r}
            assert found.keys() == wanted.keys(), name
            assert found == pytest.approx(wanted, rel=1e-5, abs=1e-9), name
    assert head == ["step", "training"]  # the last one has no held-out values


def test_the_summary_says_what_was_made_of_what(folder, page):
    _, rows = page.table("What each run is")
    cells = {name: cell for name, [cell] in rows.items()}
    assert cells["made"] == f"distilled from {folder / 'teacher'}"
    assert cells["state"].startswith("finished, 6 of 6 steps")
    assert cells["text"] == cells["held out"] == str(folder / "text.txt")
    assert cells["batch"] == "4 sequences of 32 tokens at most"
    assert cells["loss"] == "5 x distillation + 2 x masked LM + 1 x cosine, temperature 2"
    assert "tensorflow 2." in cells["versions"] and "python 3." in cells["versions"]
    last = read_log(folder / "run", "validation")[-1]
    assert f"mlm_accuracy {last['mlm_accuracy']:.4g}" in cells["last held-out metrics"]
    [settings] = page.all("pre")
    assert "distillation_weight: 5.0" in settings.text


def test_size_and_quality_are_those_of_the_models(folder, page):
    head, rows = page.table("run: size, speed and quality")
    assert head == ["", "student", "teacher", "student / teacher"]
    student, teacher = load_model(folder / "run" / "model"), load_model(folder / "teacher")
    counts = student.count_params(), teacher.count_params()
    assert rows["parameters"] == [*(f"{n:,}" for n in counts), f"{counts[0] / counts[1]:.2f}"]
    assert rows["layers"] == ["1", "2", "0.50"]
    assert all(float(cell) > 0 for cell in rows["ms for a text of 128 tokens"])
    # So little is held out that all of it is measured, masked as the run masked it.
    last = read_log(folder / "run", "validation")[-1]
    assert float(rows["masked-LM loss"][0]) == pytest.approx(last["mlm_loss"], abs=1e-3)
    shown = float(rows["same top answer as the teacher"][0].rstrip("%"))
    assert shown == pytest.approx(100 * last["teacher_agreement"], abs=0.1)
    cosine = float(rows["cosine of the last hidden states"][0])
    assert cosine == pytest.approx(1 - last["cosine_loss"], abs=1e-3)
    # The student's layer began as the teacher's first.
    assert float(page.table("Cosine with the teacher")[1]["0"][0]) < 1


def test_the_teacher_has_a_line_where_the_student_has_its_accuracy(folder, page):
    teacher = load_model(folder / "teacher")
    found = evaluate(teacher, str(folder / "text.txt"), sequence_length=32)
    for title, wanted in (("Masked-LM accuracy", "accuracy"), ("Masked-LM loss", "loss")):
        head, rows = page.table(f"{title}: values")
        assert head == ["step", "training", "held out", "teacher"]
        [shown] = {float(cells[2]) for cells in rows.values()}
        assert shown == pytest.approx(found[wanted], rel=1e-4)
        [picture] = [svg for svg in page.all("svg") if title in str(svg.attributes)]
        assert re.search(r"teacher: [\d.]+ at every step\.$", picture.attributes["aria-label"])
    [key] = [ul for ul in page.all("ul") if "mean since" in ul.text]
    assert "teacher, on held-out text" in key.text


def test_cosines_are_those_of_numpy(folder, page):
    models = RunModels.load(Run.open(folder / "run", "run"))
    own, other, count = np.zeros(2), [(0, 0), (1, 1)], 0
    for inputs, _, _ in models.held_out.batches().as_numpy_iterator():
        mask = inputs["padding_mask"]
        states = [
            np.array(m.hidden_states(inputs)[i])
            for i in (0, 1)
            for m in (models.model, models.teacher)
        ]
        for i, (a, b) in enumerate((states[:2], states[2:])):
            norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
            own[i] += ((a * b).sum(-1) / norms)[mask].sum()
        count += mask.sum()
    _, rows = page.table("Cosine with the teacher")
    shown = [float(rows[str(i)][0]) for i in range(len(other))]
    np.testing.assert_allclose(shown, own / count, rtol=1e-4)


def test_examples_show_what_the_models_answer(folder, page):
    models = RunModels.load(Run.open(folder / "run", "run"))
    blanks = choose_blanks(models.held_out.records, models.model.tokenizer)
    assert len(blanks) == 8
    whole = [f"{blank.before}[MASK]{blank.after}" for blank in blanks]
    text = (
        " ".join((folder / "text.txt").read_text().split())
        .replace(" .", ".")
        .replace(" an ", " [UNK] ")
    )
    for blank, sentence in zip(blanks, whole, strict=True):
        original = sentence.replace("[MASK]", blank.word).strip("… ")
        assert original in text and blank.word in tiny.WORDS
    uncut = [i for i, sentence in enumerate(whole) if "…" not in sentence]
    assert uncut
    for model in (models.model, models.teacher):
        answers = answer(model, model.tokenizer, blanks)
        wanted = fill_mask(model, [whole[i] for i in uncut], top_k=3)
        for i, [guesses] in zip(uncut, wanted, strict=True):
            assert [g.token for g in answers[i]] == [g.token for g in guesses]
            assert [g.probability for g in answers[i]] == pytest.approx(
                [g.probability for g in guesses], abs=1e-5
            )
    [shown] = [e for e in page.all("ol") if e.attributes.get("class") == "examples"]
    items = shown.all("li")
    assert [item.all("dt")[i].text for item in items[:1] for i in range(3)] == [
        *("hidden word", "teacher", "student run")
    ]
    answers = answer(models.teacher, models.model.tokenizer, blanks)
    for item, blank, [best, *_] in zip(items, blanks, answers, strict=True):
        hidden, teacher, _ = item.all("dd")
        assert hidden.text == blank.word
        assert teacher.text.startswith(best.token) and f"{best.probability:.0%}" in teacher.text
        assert ("right" in teacher.text.split(",")[0]) == (best.token == blank.word)


def test_retention_and_ablation_are_there(page):
    head, rows = page.table("Median of 2 seeds")
    assert head == ["model", "score", "share", "sst2"]
    assert rows["triple loss"] == ["81.0", "95.3 %", "81.0 (80.0 to 82.0)"]
    assert page.table("Share of the score")[1]["triple loss"] == ["95.3 %", "95.3 %"]
    assert page.table("Ablation")[0] == ["variant", "score", "difference"]


def test_long_logs_are_thinned_in_tables_alone():
    steps = list(range(1, 1001))
    curve = Curve("loss", "Loss", [Line(0, "training", steps, [1.0 / s for s in steps])])
    table = curve.table()
    assert len(table.rows) == 50 and table.caption == "Loss: values (50 of 1000 steps)"
    assert table.rows[0] == ("1", ["1"]) and table.rows[-1] == ("1,000", ["0.001"])
    assert curve.description == ("Loss by step. training: from 1 at step 1 to 0.001 at step 1000.")


# What is refused


def test_what_is_no_run_is_refused(folder, tmp_path, refused):
    refused("report", tmp_path / "none", message=r"none: no such folder; give a run directory$")
    refused("report", tmp_path, message=r"holds no run \(no config\.yaml\); give a run directory$")
    missing = tmp_path / "none" / "r.html"
    message = r"r\.html: cannot be written; give a file in a folder that exists$"
    refused("report", folder / "run", "--output", missing, message=message)
    run = without_model(folder, tmp_path)
    (run / "config.yaml").write_text("colour: red\n")
    refused("report", run, message=r"config\.yaml: unknown key colour")
    shutil.copy(folder / "run" / "config.yaml", run)
    (run / "retention.json").write_text('{"models": 3, "teacher": "t"}')
    refused("report", run, message=r"is not what `retention` writes", after_start=True)


def test_a_missing_package_is_named(folder, refused, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = r"a report needs matplotlib: pip install 'tf_distilbert\[report\]'$"
    refused("report", folder / "run", message=message)


def test_the_command_says_where_it_is(folder, tmp_path, capsys):
    copy = without_model(folder, tmp_path)
    assert command("report", copy, "--output", tmp_path / "page.html") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'page.html'}\n"


def test_an_error_leaves_the_old_report(folder, tmp_path):
    copy = without_model(folder, tmp_path)
    (copy / "report.html").write_text("old")
    (copy / "retention.json").write_text("{}")
    with pytest.raises(UserError):
        write_report([copy], console=QUIET)
    assert (copy / "report.html").read_text() == "old"
