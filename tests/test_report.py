"""The report: its values are the log's and the models', and everyone can read it."""

import io
import json
import math
import re
import shutil
from dataclasses import replace
from itertools import pairwise

import chromium
import numpy as np
import pytest
import tiny
from commands import run as command
from html_page import Page
from rich.console import Console

from tf_distilbert.config import DistillConfig, PretrainConfig
from tf_distilbert.config_file import dump_config, parse_config
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.finetune_config import FinetuneConfig
from tf_distilbert.finetuning.retention_table import summarise
from tf_distilbert.logs import read_log
from tf_distilbert.mask_filling import fill_mask
from tf_distilbert.model_folder import load_model, save_model
from tf_distilbert.report.blanks import answer, choose_blanks
from tf_distilbert.report.curves import Curve, Line, curves_of
from tf_distilbert.report.reporter import write_report
from tf_distilbert.report.run import Run, name_runs
from tf_distilbert.report.run_models import RunModels
from tf_distilbert.train import distill

matplotlib = pytest.importorskip("matplotlib", reason="needs the extra `report`")
pytest.importorskip("matplotlib.image")
pytest.importorskip("jinja2", reason="needs the extra `report`")
QUIET = Console(quiet=True)
SCORES = {"teacher": {"sst2": [0.9, 0.8]}, "triple loss": {"sst2": [0.8, 0.82]}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run in ``run``, with teacher and text beside it."""
    folder = tmp_path_factory.mktemp("report")
    save_model(tiny.model(num_layers=2), folder / "teacher")
    tiny.write_text(folder / "text.txt", documents=12)
    distill(parse_config(DistillConfig, tiny.run_settings(folder, "run")), QUIET)
    retention = summarise(SCORES, {})
    (folder / "run" / "retention").mkdir()
    (folder / "run" / "retention" / "retention.json").write_text(json.dumps(retention))
    return folder


@pytest.fixture(scope="module")
def path(folder):
    return write_report([folder / "run"], console=QUIET)


@pytest.fixture(scope="module")
def page(path):
    return Page(path.read_text("utf-8"))


def without_model(folder, tmp_path, name="unfinished"):
    """A copy of the run as it was before its end."""
    copy = shutil.copytree(folder / "run", tmp_path / name)
    shutil.rmtree(copy / "model")
    shutil.rmtree(copy / "retention")
    return copy


def report(tmp_path, *folders):
    return Page(write_report(folders, tmp_path / "report.html", QUIET).read_text("utf-8"))


# Values


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
    assert f"mlm_accuracy {last['mlm_accuracy']:.4g}" in cells["last held-out figures"]
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
    assert head == ["model", "all", "sst2"]
    assert rows["triple loss"] == ["81.0", "81.0 (80.0 to 82.0)"]
    assert page.table("Share of the score")[1]["triple loss"] == ["95.3 %", "95.3 %"]
    assert page.table("Ablation")[0] == ["variant", "score", "difference"]


def test_long_logs_are_thinned_in_tables_alone():
    steps = list(range(1, 1001))
    curve = Curve("loss", "Loss", [Line(0, "training", steps, [1.0 / s for s in steps])])
    table = curve.table()
    assert len(table.rows) == 50 and table.caption == "Loss: values (50 of 1000 steps)"
    assert table.rows[0] == ("1", ["1"]) and table.rows[-1] == ("1,000", ["0.001"])
    assert curve.description == ("Loss by step. training: from 1 at step 1 to 0.001 at step 1000.")


# Runs of which something is missing


def test_a_run_in_progress_with_a_torn_log(folder, tmp_path):
    copy = without_model(folder, tmp_path)
    lines = (copy / "log.jsonl").read_text().splitlines()
    (copy / "log.jsonl").write_text("\n".join(lines[:4]) + '\n{"step": 6, "kind": "tra')
    page = report(tmp_path, copy)
    assert page.table("What each run is")[1]["state"][0].startswith("not finished, 3 of 6 steps")
    assert page.table("What each run is")[1]["versions"] == ["written down when the run ends"]
    assert "There is no model yet" in page.root.text
    assert list(page.table("Masked-LM loss")[1]) == ["0", "2", "3"]
    assert not page.all("ol")


def test_a_run_that_has_logged_nothing(folder, tmp_path):
    copy = without_model(folder, tmp_path)
    (copy / "log.jsonl").unlink()
    page = report(tmp_path, copy)
    assert "There is no report in the log yet." in page.root.text
    assert not page.all("svg")


def test_figures_that_are_not_finite_are_said(folder, tmp_path):
    copy = without_model(folder, tmp_path)
    lines = [
        {"step": step, "kind": "train", "time": 1.0, "loss": loss}
        for step, loss in ((1, 2.0), (2, math.nan), (3, math.inf))
    ]
    (copy / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, rows = report(tmp_path, copy).table("Loss, the weighted sum")
    assert rows == {"1": ["2"], "2": ["not finite"], "3": ["not finite"]}


def test_a_teacher_that_is_gone_takes_little_with_it(folder, tmp_path):
    copy = shutil.copytree(folder / "run", tmp_path / "run")
    shutil.copytree(folder / "run-data", tmp_path / "run-data")
    config = (copy / "config.yaml").read_text().replace(str(folder / "teacher"), "/gone/teacher")
    (copy / "config.yaml").write_text(config)
    page = report(tmp_path, copy)
    assert "The teacher cannot be loaded (/gone/teacher: no such model folder" in page.root.text
    head, rows = page.table("run: size, speed and quality")
    assert head == ["", "student"] and "masked-LM accuracy" in rows
    [shown] = [e for e in page.all("ol") if e.attributes.get("class") == "examples"]
    assert [dt.text for dt in shown.all("li")[0].all("dt")] == ["hidden word", "student run"]
    assert "Layers are compared where" in page.root.text


def test_held_out_text_that_is_gone(folder, tmp_path):
    copy = shutil.copytree(folder / "run", tmp_path / "run")  # without run-data
    page = report(tmp_path, copy)
    assert "There is no held-out text, or it is no longer where the run had it" in page.root.text
    _, rows = page.table("run: size, speed and quality")
    assert "parameters" in rows and "masked-LM loss" not in rows


def write_run(folder, config, *lines):
    folder.mkdir()
    (folder / "config.yaml").write_text(dump_config(replace(config, output=str(folder))))
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_pretraining(folder, tmp_path):
    values = tiny.run_settings(folder, "unused") | {"data": {"text": ["a.txt"], "vocabulary": 99}}
    del values["teacher"]
    config = parse_config(PretrainConfig, values)
    line = {"step": 2, "kind": "train", "time": 1.0, "mlm_loss": 3.5}
    run = write_run(tmp_path / "teacher", config, line)
    save_model(tiny.model(), run / "model")
    page = report(tmp_path, run)
    assert page.table("What each run is")[1]["made"] == ["pretrained from scratch"]
    head, rows = page.table("teacher: size, speed and quality")
    assert head == ["", "model"] and rows["layers"] == ["4"]
    assert page.table("Masked-LM loss")[1] == {"2": ["3.5"]}


def test_a_fine_tuning(tmp_path):
    values = {"task": "sst2", "model": "student", "data": "GLUE", "output": "unused"}
    config = parse_config(FinetuneConfig, values)
    lines = [
        {"step": 2, "kind": "train", "time": 1.0, "task_loss": 0.5, "accuracy": 0.7},
        {"step": 2, "kind": "validation", "time": 2.0, "task_loss": 0.6, "f1": 0.8},
    ]
    run = write_run(tmp_path / "sst2", config, *lines)
    (run / "scores.json").write_text('{"validation": {"score": 0.9, "accuracy": 0.9}}')
    page = report(tmp_path, run)
    _, rows = page.table("What each run is")
    assert rows["made"] == ["fine-tuned on sst2 from student"] and rows["loss"] == ["labels"]
    assert rows["scores on validation"] == ["score 0.9, accuracy 0.9"]
    assert page.table("F1")[1] == {"2": ["0.8"]}
    assert page.table("Loss of the labels")[1] == {"2": ["0.5", "0.6"]}


# Several


def test_several_runs_are_overlaid_and_compared(folder, tmp_path):
    first, second = (without_model(folder, tmp_path, name) for name in ("first", "second"))
    config = (second / "config.yaml").read_text()
    (second / "config.yaml").write_text(config.replace("cosine_weight: 1.0", "cosine_weight: 0.5"))
    reports = read_log(second, "train")
    (second / "log.jsonl").write_text(
        "".join(json.dumps(report | {"mlm_loss": 0.25}) + "\n" for report in reports)
    )
    page = report(tmp_path, first, second)
    assert page.all("h1")[0].text == "Report on first, second"
    head, rows = page.table("Settings in which the runs differ")
    assert head == ["setting", "first", "second"]
    assert rows == {"loss.cosine_weight": ["1.0", "0.5"]}
    head, rows = page.table("Masked-LM loss")
    assert head == ["step", "first, training", "first, held out", "second, training"]
    assert {cells[2] for step, cells in rows.items() if int(step) in (2, 3, 4, 6)} == {"0.25"}
    [picture] = [svg for svg in page.all("svg") if "Masked-LM loss" in str(svg.attributes)]
    assert (
        "second, training: from 0.25 at step 2 to 0.25 at step 6."
        in picture.attributes["aria-label"]
    )
    strokes = {e.attributes.get("style", "") for e in picture.all("path")}
    for color in ("var(--series-1)", "var(--series-2)"):
        assert any(f"stroke: {color}" in style for style in strokes)
    assert not any("var(--series-3)" in style for style in strokes)


def test_several_runs_go_into_the_current_folder(folder, tmp_path, monkeypatch):
    runs = [without_model(folder, tmp_path, name) for name in ("first", "second")]
    monkeypatch.chdir(tmp_path)
    assert write_report(runs, console=QUIET).absolute() == tmp_path / "report.html"


def test_runs_of_one_name_are_told_apart(tmp_path):
    folders = [tmp_path / name for name in ("a/run", "b/run", "c")]
    assert name_runs(folders) == ["a/run", "b/run", "c"]


def test_an_ablation_is_shown_whole(folder, tmp_path):
    output = tmp_path / "ablation"
    (output / "students").mkdir(parents=True)
    for name in ("triple-loss", "without-cosine"):
        without_model(folder, output / "students", name)
    (output / "retention.json").write_text(json.dumps(summarise(SCORES, {})))
    page = report(tmp_path, output)
    assert page.table("What each run is")[0] == ["", "triple-loss", "without-cosine"]
    assert page.table("Ablation")[1] == {}
    variant = report(tmp_path, output / "students" / "triple-loss")
    assert "triple loss" in variant.table("Median of 2 seeds")[1]


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


# Reading it


def test_it_needs_no_other_file_and_no_network(path):
    text = path.read_text("utf-8")
    assert "http:" not in text and "https:" not in text and "//" not in re.sub(r"/+tmp", "", text)
    assert not re.search(r"<(script|link|img|iframe|object)\b|@import|\bsrc=", text)
    assert set(re.findall(r"url\((.)", text)) <= {"#"}


def test_every_picture_has_words_and_values(page):
    pictures = page.all("svg")
    spoken = [svg for svg in pictures if svg.attributes.get("role") == "img"]
    assert len(spoken) >= 10
    assert all(len(svg.attributes["aria-label"]) > 30 for svg in spoken)
    silent = [svg for svg in pictures if svg not in spoken]
    assert all(svg.attributes["aria-hidden"] == "true" and svg.parent.text for svg in silent)
    for figure in page.all("figure"):
        tables = figure.all("table") or figure.parent.all("table")
        assert figure.all("h3") and tables


def test_headings_nest(page):
    levels = [int(heading.tag[1]) for heading in page.all("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_ids_are_unique_and_what_is_pointed_at_is_there(page):
    elements = list(page.root)
    ids = [e.attributes["id"] for e in elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    pointed = [e.attributes["href"][1:] for e in elements if "href" in e.attributes]
    pointed += [e.attributes["aria-labelledby"] for e in page.all("section")]
    for element in elements:
        pointed += re.findall(r"url\(#([^)]*)\)", " ".join(map(str, element.attributes.values())))
    assert set(pointed) <= set(ids) and len(pointed) > 20


def test_a_screen_reader_and_a_keyboard_get_along(page):
    [html] = page.all("html")
    assert html.attributes["lang"] == "en" and page.all("title")[0].text == "Report on run"
    assert len(page.all("main")) == 1
    first = next(element for element in page.all("body")[0] if element.tag == "a")
    assert first.attributes["href"] == "#content"
    for table in page.all("table"):
        assert table.all("caption")[0].text
        assert all(cell.attributes.get("scope") in ("col", "row") for cell in table.all("th"))
        # What can be scrolled can be reached.
        assert table.parent.attributes["tabindex"] == "0" and table.parent.attributes["aria-label"]


def test_names_are_text_and_no_tags(folder, tmp_path):
    copy = without_model(folder, tmp_path, "<b>&amp; run")
    text = write_report([copy], console=QUIET).read_text("utf-8")
    assert "<b>&amp; run" not in text and "&lt;b&gt;&amp;amp; run" in text
    assert Page(text).all("h1")[0].text == "Report on <b>&amp; run"


def test_the_same_run_makes_the_same_page(folder, tmp_path):
    copy = without_model(folder, tmp_path)
    first, second = (write_report([copy], console=QUIET).read_bytes() for _ in range(2))
    assert first == second


def luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_a_known_pair():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_a_contrast_of_4_5_and_lines_one_of_3(path, scheme):
    style = re.search(r"<style>(.*?)</style>", path.read_text("utf-8"), re.DOTALL)[1]
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    colors = dict(re.findall(r"--([\w-]+): (#\w{6});", dark if scheme == "dark" else light))
    assert len(colors) == 16
    for background in ("page", "raised"):
        for text in ("text", "faint", "link", "right"):
            assert contrast(colors[text], colors[background]) >= 4.5, (text, background)
        for number in range(1, 9):
            assert contrast(colors[f"series-{number}"], colors[background]) >= 3
    assert contrast(colors["text"], colors["mark"]) >= 4.5
    # No colour but those is in the page.
    rules = re.sub(r"--[\w-]+: #\w{6};", "", style)
    assert not re.search(r"#[0-9a-f]{3,6}\b", rules)
    drawn = " ".join(re.findall(r"<svg.*?</svg>", path.read_text("utf-8"), re.DOTALL))
    assert not re.search(r"(fill|stroke): #", drawn)


# In a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not chromium.PROGRAM:
        pytest.skip(chromium.NEEDS)
    with chromium.Chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_it_looks_right(browser, path, width, dark):
    browser.open(path, width=width, height=844, dark=dark)
    assert browser.evaluate("document.documentElement.scrollWidth") == width  # nothing sticks out
    columns = browser.evaluate(
        "new Set([...document.querySelectorAll('#curves .plot')]"
        ".map(plot => plot.getBoundingClientRect().left)).size"
    )
    assert columns == (1 if width == 390 else 3)
    smallest = browser.evaluate(
        "Math.min(...[...document.querySelectorAll('.plot svg text')]"
        ".map(text => text.getBoundingClientRect().height))"
    )
    assert smallest >= 9  # the pictures' words can be read on a phone
    browser.evaluate("document.querySelector('#curves').scrollIntoView()")
    # A picture of the window: mostly background, and lines in the colour of the first run.
    pixels = matplotlib.image.imread(io.BytesIO(browser.screenshot()), format="png")[..., :3]
    assert pixels.shape[:2] == (844, width)
    page, series = ("#12161c", "#6cb2ff") if dark else ("#ffffff", "#0b62c4")
    share = {
        color: np.mean(np.abs(pixels - matplotlib.colors.to_rgb(color)).max(-1) < 0.02)
        for color in (page, series)
    }
    assert share[page] > 0.6 and 1e-4 < share[series] < 0.1
    assert browser.requests == [path.as_uri()] * len(browser.requests)


def test_in_a_browser_it_works_from_the_keyboard(browser, path):
    browser.open(path, width=1280, height=844)
    focused = []
    for _ in range(14):
        browser.press_tab()
        focused.append(browser.evaluate("document.activeElement.innerText.split('\\n')[0]"))
        visible = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert visible != "none"
    assert focused[:3] == ["Skip to the content", "Summary", "Student and teacher"]
    assert any(text.startswith("All settings of run") for text in focused)


def test_in_a_browser_a_screen_reader_gets_words_for_pictures(browser, path, page):
    browser.open(path, width=1280, height=844)
    found = browser.accessible()
    wanted = [svg.attributes["aria-label"] for svg in page.all("svg") if "role" in svg.attributes]
    assert sorted(name for role, name in found if role == "image") == sorted(wanted)
    assert [name for role, name in found if role == "heading"][:2] == ["Report on run", "Summary"]
    assert ("navigation", "Sections") in found
