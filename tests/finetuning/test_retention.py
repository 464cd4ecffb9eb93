"""The retention table: its numbers, and the command that makes it."""

import json

import pytest
import yaml

from support import tiny
from support.capitals import sentences
from support.task_files import row, write
from tf_distilbert.cli.main import main
from tf_distilbert.distillation.student import build_student
from tf_distilbert.finetuning.retention_table import as_markdown, summarise
from tf_distilbert.finetuning.trials import VARIANTS
from tf_distilbert.model_files.folder import save_model

SCORES = {
    "teacher": {"a": [0.5, 0.9, 0.8], "b": [0.4, 0.4, 0.4]},
    "student": {"a": [0.6, 0.7, 0.76], "b": [0.1, 0.5, 0.3]},
}


def test_medians_spreads_and_shares_are_those_of_a_hand():
    facts = {"teacher": {"parameters": 2e6, "milliseconds": 3.0}}
    facts["student"] = {"held_out": {"mlm_loss": 4.25, "mlm_accuracy": 0.3}}
    found = summarise(SCORES, facts)
    teacher, student = found["models"]["teacher"], found["models"]["student"]
    assert teacher["macro_score"] == pytest.approx((80 + 40) / 2)
    assert student["macro_score"] == pytest.approx((70 + 30) / 2)
    assert student["retention"] == pytest.approx(50 / 60)
    a = student["tasks"]["a"]
    assert (a["median"], a["lowest"], a["highest"]) == pytest.approx((70, 60, 76))
    assert a["retention"] == pytest.approx(7 / 8)
    text = as_markdown(found, differences_to="student")
    assert "| teacher | 2.0 M | 3.0 | 60.0 | 80.0 (50.0-90.0) | 40.0 (40.0-40.0) |" in text
    assert "| student | 83.3 % | 87.5 % | 75.0 % |" in text
    assert "| student | 50.00 | +0.00 |" in text
    assert text.endswith(
        "| model | mlm loss | mlm accuracy |\n| --- | --- | --- |\n| student | 4.2500 | 0.3000 |\n"
    )


def test_a_teacher_that_knows_nothing_has_no_share():
    found = summarise({"teacher": {"a": [0.0]}, "student": {"a": [0.1]}}, {})
    assert found["models"]["student"]["retention"] is None
    assert "| student | - | - |" in as_markdown(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("retention")
    teacher = tiny.model(seed=1, num_layers=2)
    save_model(teacher, folder / "teacher")
    save_model(build_student(teacher), folder / "student")
    for split, number, seed in (("train", 64, 1), ("dev", 32, 2)):
        rows = (row(text, str(label)) for text, label in sentences(number, seed))
        write(folder / "glue" / "SST-2" / f"{split}.tsv", row("sentence", "label"), *rows)
    return folder


def arguments(folder, output, *more):
    return [
        *("retention", "--teacher", folder / "teacher", "--student", folder / "student"),
        *("--tasks", "SST-2", "--data", folder / "glue", "--output", folder / output),
        *("--seeds", "2", *more, "train.steps=4", "train.epochs=null"),
        *("train.global_batch_size=8", "train.precision=float32"),
    ]


@pytest.mark.slow
def test_the_command_writes_table_figures_and_picture_and_goes_on(folder, capsys):
    pytest.importorskip("matplotlib")
    words = arguments(folder, "table", "--learning-rates", "1e-3,1e-4")
    assert main(list(map(str, words))) == 0
    printed = capsys.readouterr().out
    output = folder / "table"
    assert printed.strip() == (output / "retention.md").read_text().strip()
    found = json.loads((output / "retention.json").read_text())
    assert list(found["models"]) == ["teacher", "student"]
    assert len(found["models"]["student"]["tasks"]["sst2"]["scores"]) == 2
    assert (output / "retention.png").read_bytes()[:4] == b"\x89PNG"
    made = sorted(output.rglob("scores.json"))
    assert len(made) == 2 * (2 + 2)  # two models: two searches, two seeds
    times = [path.stat().st_mtime_ns for path in made]
    assert main(list(map(str, words))) == 0  # nothing is fine-tuned again
    assert [path.stat().st_mtime_ns for path in made] == times
    again = json.loads((output / "retention.json").read_text())
    for model in ("teacher", "student"):
        assert again["models"][model]["tasks"] == found["models"][model]["tasks"]


@pytest.mark.long
def test_the_ablation_distils_every_variant(folder):
    pytest.importorskip("matplotlib")
    text = tiny.write_text(folder / "text.txt")
    config = {
        "teacher": str(folder / "teacher"),
        "output": "unused",
        "data": {"text": str(text), "validation": str(text), "sequence_length": 32},
        "train": {"steps": 2, "global_batch_size": 8, "precision": "float32"},
    }
    (folder / "distill.yaml").write_text(yaml.safe_dump(config))
    words = arguments(folder, "ablation", "--ablation", folder / "distill.yaml")
    words[words.index("--seeds") + 1] = "1"
    student = words.index("--student")
    del words[student : student + 2]  # it is the variant of the whole recipe
    assert main(list(map(str, words))) == 0
    found = json.loads((folder / "ablation" / "retention.json").read_text())
    assert list(found["models"]) == ["teacher", *VARIANTS]
    held_out = found["models"]["masked LM alone"]["held_out"]
    assert 0 < held_out["teacher_agreement"] <= 1
    assert "| without cosine |" in (folder / "ablation" / "retention.md").read_text()


def test_what_is_missing_is_said_before_anything_is_trained(folder, capsys):
    pytest.importorskip("matplotlib")
    for more, message in (
        (["--learning-rates", "fast"], "--learning-rates is 'fast'; give numbers"),
        (["--data", str(folder / "none")], "no such folder; name the folder of the data"),
    ):
        assert main(list(map(str, arguments(folder, "refused", *more)))) == 2
        errors = capsys.readouterr().err
        assert message in errors and errors.count("\n") == 1
        assert not (folder / "refused").exists()
    words = arguments(folder, "refused")
    del words[3:5]
    assert main(list(map(str, words))) == 2
    assert "give a student, or the configuration of an ablation" in capsys.readouterr().err
