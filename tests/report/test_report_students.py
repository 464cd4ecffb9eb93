"""Reports of students of other shapes and tokens than their teacher, and of other objectives."""

import json
import re
import shutil
from functools import cache

import numpy as np
import pytest
from safetensors.numpy import load_file

from support import reference, tiny
from support.reports import QUIET, report
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.folder import load_model, save_model
from tf_distilbert.report.examples import choose_blanks
from tf_distilbert.report.layers import search_table
from tf_distilbert.report.measurements import Measured, measurements_table
from tf_distilbert.report.run import Run
from tf_distilbert.report.run_models import RunModels
from tf_distilbert.runs.logs import read_log
from tf_distilbert.runs.train import distill

pytest.importorskip("matplotlib", reason="needs the extra `report`")
pytest.importorskip("jinja2", reason="needs the extra `report`")

RELATIONS = {"cosine_weight": 0.0, "relation_weight": 1.0}
ALONE = {**RELATIONS, "distillation_weight": 0.0, "mlm_weight": 0.0, "hidden_weight": 0.5}
RUNS = {
    "narrow": ({"hidden_size": 8, "num_layers": 2}, ALONE),
    "wide": (
        {"hidden_size": 32, "num_heads": 4, "num_layers": 3, "initialize_from": "random"},
        RELATIONS,
    ),
    "cut": ({"num_layers": 2, "vocabulary": 25}, {"hidden_weight": 1.0}),
    "auto": ({"num_layers": 3, "layer_map": "auto"}, {}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("students")
    save_model(tiny.model(num_layers=5), folder / "teacher")
    tiny.write_text(folder / "text.txt", documents=12)
    return folder


@pytest.fixture(scope="module")
def run(folder):
    """Give the directory of a finished run by its name; each is made once."""

    @cache
    def make(name):
        student, loss = RUNS[name]
        values = tiny.run_settings(folder, name) | {"student": student, "loss": loss}
        return distill(parse_config(DistillConfig, values), QUIET).parent

    return make


@pytest.fixture(scope="module")
def page_of(folder, run):
    """Give the report of a run by its name."""
    return cache(lambda name: report(folder, run(name)))


@pytest.fixture(scope="module")
def models_of(folder, run):
    """Give a run's student, its teacher as it is in its folder, and the teacher's ids of tokens.

    They are those of the student's tokens, in their order.
    """

    def load(name):
        student, teacher = load_model(run(name) / "model"), load_model(folder / "teacher")
        ids = map(teacher.tokenizer.vocabulary.index, student.tokenizer.vocabulary)
        return student, teacher, np.array(list(ids), np.int32)

    return load


def held_out(folder):
    """Batches of what a run held out, and the sequences themselves."""
    found = RunModels.load(Run.open(folder, "")).held_out
    return found.batches().as_numpy_iterator(), found.records


def by_hand(models, folder):
    """Float64 logits of student and teacher, each over the student's tokens; the masked ones."""
    student, teacher, kept = models
    own, theirs, labels = [], [], []
    for inputs, mask_ids, weights in held_out(folder)[0]:
        used, whole = weights > 0, {**inputs, "token_ids": kept[inputs["token_ids"]]}
        own.append(student(inputs).numpy()[used])
        theirs.append(teacher(whole).numpy()[used][:, kept])
        labels.append(mask_ids[used])
    return [np.concatenate(each).astype(float) for each in (own, theirs)], np.concatenate(labels)


def cosines_by_hand(models, folder, pairs):
    student, teacher, kept = models
    sums, count = np.zeros(len(pairs)), 0
    for inputs, _, _ in held_out(folder)[0]:
        whole = {**inputs, "token_ids": kept[inputs["token_ids"]]}
        own, theirs = student.hidden_states(inputs), teacher.hidden_states(whole)
        real = inputs["padding_mask"].astype(bool)
        for i, (ours, other) in enumerate(pairs):
            states = (np.asarray(state, float) for state in (own[ours], theirs[other]))
            sums[i] += (1 - reference.cosine_loss(*states))[real].sum()
        count += real.sum()
    return sums / count


def examples_of(page):
    [shown] = [e for e in page.all("ol") if e.attributes.get("class") == "examples"]
    return shown.all("li")


def captions_of(page):
    return " ".join(table.all("caption")[0].text for table in page.all("table"))


# Another shape


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (
            "narrow",
            "layers 2 (5), hidden size 8 (16), attention heads 1 (2), feed-forward size 16 (32)",
        ),
        (
            "wide",
            "layers 3 (5), hidden size 32 (16), attention heads 4 (2), feed-forward size 64 (32)",
        ),
        ("cut", "layers 2 (5), vocabulary 25 (47)"),
    ],
)
def test_the_summary_has_what_differs_from_the_teachers_shape(folder, run, page_of, name, shape):
    page = page_of(name)
    own, teacher = (
        sum(tensor.size for tensor in load_file(path / "model.safetensors").values())
        for path in (run(name) / "model", folder / "teacher")
    )
    _, rows = page.table("What each run is")
    assert rows["shape (teacher's)"] == [f"{shape}, parameters {own:,} ({teacher:,})"]
    begins = ", beginning with random weights" if name == "wide" else ""
    assert rows["made"] == [f"distilled from {folder / 'teacher'}{begins}"]
    _, rows = page.table(f"{name}: size, speed")
    assert rows["parameters"] == [f"{own:,}", f"{teacher:,}", f"{own / teacher:.2f}"]
    assert rows["vocabulary"][:2] == ["25" if name == "cut" else "47", "47"]


@pytest.mark.parametrize(("name", "width"), [("narrow", 8), ("wide", 32)])
def test_other_widths_have_no_cosine_and_that_is_said(run, page_of, models_of, name, width):
    page = page_of(name)
    said = f"{name}: Its hidden states are {width} numbers wide, the teacher's 16: they have no"
    assert said in page.root.text
    assert "Cosine" not in captions_of(page)
    (own, theirs), labels = by_hand(models_of(name), run(name))
    _, rows = page.table(f"{name}: size, speed")
    assert "cosine of the last hidden states" not in rows
    kl = reference.distillation_loss(own, theirs, 1.0).mean()
    assert float(rows["KL divergence from the teacher"][0]) == pytest.approx(kl, abs=1e-4)
    loss = reference.masked_lm_loss(own, labels).mean()
    assert float(rows["masked-LM loss"][0]) == pytest.approx(loss, abs=1e-4)
    # The sentences are there, and what both put into them.
    assert [dt.text for dt in examples_of(page)[0].all("dt")][1:] == ["teacher", f"student {name}"]


# Another objective


def test_what_no_log_has_is_measured_or_left_out(run, page_of, models_of):
    """Of a run that compared relations and hidden states, and predicted nothing."""
    page, log = page_of("narrow"), read_log(run("narrow"), "validation")
    assert not {"mlm_loss", "mlm_accuracy", "teacher_agreement"} & log[-1].keys()
    for name, title in {
        "relation_loss": "KL divergence of attention relations",
        "hidden_loss": "Squared distance of hidden states",
    }.items():
        head, rows = page.table(f"{title}: values")
        assert head == ["step", "training", "held out"]
        found = {int(step): float(cells[1]) for step, cells in rows.items() if cells[1]}
        assert found == pytest.approx({r["step"]: r[name] for r in log}, rel=1e-5)
    assert not [h for h in page.all("h3") if "Masked-LM" in h.text or "top answer" in h.text]
    _, rows = page.table("What each run is")
    assert rows["loss"] == ["1 x attention relations + 0.5 x hidden states"]
    last = f"relation_loss {log[-1]['relation_loss']:.4g}"
    assert rows["last held-out metrics"][0].endswith(last)
    (own, theirs), labels = by_hand(models_of("narrow"), run("narrow"))
    _, rows = page.table("narrow: size, speed")
    right = [np.mean(logits.argmax(-1) == labels) for logits in (own, theirs)]
    assert rows["masked-LM accuracy"][:2] == [f"{share:.2%}" for share in right]
    alike = np.mean(own.argmax(-1) == theirs.argmax(-1))
    assert rows["same top answer as the teacher"][0] == f"{alike:.2%}" != "0.00%"


def test_a_ratio_to_nothing_is_left_out(run):
    own, teacher = (
        {"layers": 2, "masked-LM accuracy": 0.5},
        {"layers": 4, "masked-LM accuracy": 0.0},
    )
    table = measurements_table([Measured(0, Run.open(run("narrow"), "n"), own, teacher, {})])
    assert dict(table.rows)["masked-LM accuracy"] == ["50.00%", "0.00%", ""]
    assert dict(table.rows)["layers"] == ["2", "4", "0.50"]


# Other tokens


def test_a_cut_student_is_compared_with_its_teachers_same_tokens(run, page_of, models_of):
    page = page_of("cut")
    assert "cut: It has 25 of the teacher's 47 tokens. Quality, layers and" in page.root.text
    (own, theirs), labels = by_hand(models_of("cut"), run("cut"))
    _, rows = page.table("cut: size, speed")
    losses = [reference.masked_lm_loss(logits, labels).mean() for logits in (own, theirs)]
    shown = [float(cell) for cell in rows["masked-LM loss"][:2]]
    assert shown == pytest.approx(losses, abs=1e-4)
    kl = reference.distillation_loss(own, theirs, 1.0).mean()
    assert float(rows["KL divergence from the teacher"][0]) == pytest.approx(kl, abs=1e-4)
    # The dotted line of the curve is the same.
    head, rows = page.table("Masked-LM loss: values")
    assert head[-1] == "teacher"
    [line] = {float(cells[2]) for cells in rows.values()}
    assert line == pytest.approx(losses[1], rel=1e-4)


def test_layers_and_answers_are_those_of_the_whole_teacher(run, page_of, models_of):
    page, (student, teacher, kept) = page_of("cut"), models_of("cut")
    wanted = cosines_by_hand((student, teacher, kept), run("cut"), [(0, 0), (1, 1), (2, 5)])
    _, rows = page.table("Cosine with the teacher")
    np.testing.assert_allclose([float(rows[str(i)][0]) for i in range(3)], wanted, rtol=1e-4)
    blanks = choose_blanks(held_out(run("cut"))[1], student.tokenizer)
    assert blanks
    for item, blank in zip(examples_of(page), blanks, strict=True):
        inputs = {
            "token_ids": kept[blank.token_ids][None],
            "padding_mask": np.arange(32)[None] < blank.length,
            "mask_positions": np.array([[blank.position]], np.int32),
        }
        probabilities = reference.softmax(teacher(inputs).numpy()[0, 0, kept].astype(float))
        best = probabilities.argmax()
        word = re.escape(teacher.tokenizer.vocabulary[kept[best]])
        answer = rf"{word}( ✓ right)? {probabilities[best]:.0%}"
        assert re.match(answer, item.all("dd")[1].text)


def test_a_teacher_of_other_tokens_is_left_out(run, folder):
    other = shutil.copytree(folder / "teacher", folder / "other")
    words = (other / "vocab.txt").read_text().replace("paris", "london")
    (other / "vocab.txt").write_text(words)
    copy = shutil.copytree(run("cut"), folder / "of-other")
    config = (copy / "config.yaml").read_text()
    changed = config.replace(f"teacher: {folder / 'teacher'}", f"teacher: {other}")
    (copy / "config.yaml").write_text(changed)
    page = report(folder, copy)
    said = (
        "The teacher cannot be compared (teacher (47 tokens) and student (25) have different "
        "vocabularies or tokenizers; their predictions cannot be compared): what needs it is left"
    )
    assert said in page.root.text
    head, rows = page.table("of-other: size, speed")
    assert head == ["", "student"] and "masked-LM loss" in rows


# Layers that were searched for


def test_layers_are_compared_with_those_that_were_taken(folder, run, page_of, models_of):
    [best, *others] = json.loads((run("auto") / "layer_search.json").read_text())["tried"]
    assert best["layers"] != [0, 2, 4] and len(others) == 9
    pairs = [(0, 0), *((i + 1, layer + 1) for i, layer in enumerate(best["layers"]))]
    wanted = cosines_by_hand(models_of("auto"), run("auto"), pairs)
    page = page_of("auto")
    _, rows = page.table("Cosine with the teacher")
    np.testing.assert_allclose([float(rows[str(i)][0]) for i in range(4)], wanted, rtol=1e-4)
    layers = ", ".join(map(str, best["layers"]))
    made = f"distilled from {folder / 'teacher'}, beginning with its layers {layers}"
    assert page.table("What each run is")[1]["made"] == [made]
    head, rows = page.table("auto: layers to begin from, 10 tried")
    assert head == ["rank", "teacher's layers", "same top answer", "cosine loss", "choice"]
    figures = f"{best['agreement']:.2%}", f"{best['cosine_loss']:.4f}"
    assert rows["1"] == [layers, *figures, "taken"]
    assert [cells[0] for cells in rows.values() if cells[3] == "even"] == ["0, 2, 4"]


def write_search(folder, *tried):
    trials = [dict(zip(("layers", "agreement", "cosine_loss"), one, strict=True)) for one in tried]
    (folder / "layer_search.json").write_text(json.dumps({"tried": trials}))


def test_ten_choices_are_shown_and_the_even_one(run, tmp_path):
    """Of a teacher of 12 layers, whose even choice came in last of 13; of a run without a model."""
    copy = shutil.copytree(run("auto"), tmp_path / "auto")
    shutil.rmtree(copy / "model")
    others = [[0, 1, last] for last in range(2, 12)] + [[1, 2, 3], [2, 3, 4]]
    tried = [(layers, 0.9 - i / 20, i / 10) for i, layers in enumerate(others)]
    write_search(copy, *tried, ([0, 6, 11], 0.125, 1.5))
    _, rows = report(tmp_path, copy).table("auto: layers to begin from, 11 of 13 tried")
    assert [*rows] == [*map(str, range(1, 11)), "13"]
    assert rows["1"] == ["0, 1, 2", "90.00%", "0.0000", "taken"]
    assert rows["10"] == ["0, 1, 11", "45.00%", "0.9000", ""]
    assert rows["13"] == ["0, 6, 11", "12.50%", "1.5000", "even"]


def test_the_even_choice_may_be_the_best(run, tmp_path):
    copy = shutil.copytree(run("auto"), tmp_path / "auto")
    write_search(copy, ([0, 2], 0.5, 0.25), ([0, 1], 0.5, 0.5))
    rows = dict(search_table(Run.open(copy, "auto")).rows)
    assert [cells[-1] for cells in rows.values()] == ["taken, even", ""]
    (copy / "layer_search.json").write_text('{"tried": [{"layers": [1]}]}')
    with pytest.raises(UserError, match=r"layer_search\.json: is not what a search of layers"):
        report(tmp_path, copy)


def test_a_search_that_is_gone_leaves_layers_out(folder, run):
    copy = shutil.copytree(run("auto"), folder / "gone")
    (copy / "layer_search.json").unlink()
    page = report(folder, copy)
    said = "Which layers it began from is not written down any more (layer_search.json): layers are"
    assert said in page.root.text
    assert "Cosine with" not in captions_of(page) and "to begin from" not in captions_of(page)
    assert "masked-LM loss" in page.table("gone: size, speed")[1]
