"""Runs of models without a masked-LM head: sentence encoders, bare encoders, classifiers."""

import json
import os

import numpy as np
import pytest
from rich.console import Console

from support import tiny
from support.commands import run as run_command
from support.task_model import task_model
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.errors import NotFiniteError, UserError
from tf_distilbert.model_files.folder import load_task_model, save_model
from tf_distilbert.models.sentence_encoder import SentenceEncoder
from tf_distilbert.runs import teacher_vectors, train
from tf_distilbert.runs.logs import read_log
from tf_distilbert.serving.embedding import embed

QUIET = Console(quiet=True)
ALONE = {"distillation_weight": 0.0, "mlm_weight": 0.0, "cosine_weight": 0.0}
VECTORS = ALONE | {"embedding_weight": 1.0}
SETTINGS = {"pooling": "mean", "normalize": True, "max_length": 30, "prompts": {"query": "the "}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embedding")
    save_model(task_model("embedding", "bert", **SETTINGS), folder / "teacher")
    save_model(task_model("encoder", "bert"), folder / "encoder")
    save_model(task_model("sequence_classification", "bert"), folder / "classifier")
    save_model(tiny.model(), folder / "words")
    generator = np.random.default_rng(1)
    lines = [" ".join(generator.choice(tiny.WORDS[:29], 8)) for _ in range(60)]
    (folder / "text.txt").write_text("\n".join(lines + lines[:9]) + "\n")
    return folder


def configure(folder, output, *, loss=VECTORS, student=None, data=None, teacher="teacher", **train):
    values = tiny.run_settings(folder, output, **train)
    values["teacher"] = str(folder / teacher)
    values["data"] |= {"rows": "texts", "sequence_length": 24} | (data or {})
    student = {"num_layers": 1} if student is None else student
    return parse_config(DistillConfig, values | {"loss": loss, "student": student})


def distil(*arguments, console=QUIET, **options):
    return train.distill(configure(*arguments, **options), console)


def test_a_sentence_encoder_becomes_one_of_half_its_depth(folder):
    model = distil(folder, "half", learning_rate=1e-2, steps=40)
    student = load_task_model(model)
    assert isinstance(student, SentenceEncoder) and student.architecture.num_layers == 1
    teacher = load_task_model(folder / "teacher")
    assert student.settings == teacher.settings
    log = read_log(folder / "half", "validation")
    assert log[-1]["embedding_loss"] < 0.5 * log[0]["embedding_loss"]
    assert not any("mlm" in name for entry in log for name in entry)
    # What is logged is what the vectors say.
    text = (folder / "text.txt").read_text().split("\n")[:60]
    ours, theirs = embed(text, student), embed(text, teacher)
    expected = 1 - (ours.astype("float64") * theirs).sum(1).mean()
    assert log[-1]["embedding_loss"] == pytest.approx(expected, rel=0.01)
    provenance = json.loads((model / "provenance.json").read_text())
    assert provenance["validation"]["embedding_loss"] == log[-1]["embedding_loss"]


def test_vectors_are_computed_once(folder, monkeypatch):
    distil(folder, "first")
    [file] = (folder / "first-data").glob("vectors-*.npy")
    vectors = np.load(file)
    teacher = load_task_model(folder / "teacher")
    assert vectors.shape == (60, 16) and vectors.dtype == np.float16
    inputs = teacher_inputs(teacher, folder)
    np.testing.assert_allclose(vectors, np.asarray(teacher(inputs)), atol=6e-4)

    def refuse(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(teacher_vectors, "_compute", refuse)
    distil(folder, "first", steps=8, resume="auto")
    monkeypatch.undo()
    # Damaged on the disk, they are made anew.
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    distil(folder, "first", steps=9, resume="auto")
    np.testing.assert_array_equal(np.load(file), vectors)


def teacher_inputs(teacher, folder):
    ids = [teacher.tokenizer.encode(t) for t in (folder / "text.txt").read_text().split("\n")[:60]]
    rows = np.zeros((60, 24), "int32")
    for row, tokens in zip(rows, ids, strict=True):
        row[: len(tokens)] = tokens
    return {"token_ids": rows, "padding_mask": rows != teacher.tokenizer.pad_id}


def test_another_teacher_has_other_vectors(folder, tmp_path):
    distil(folder, "one")
    other = task_model("embedding", "bert", **SETTINGS | {"pooling": "cls"})
    save_model(other, folder / "other")
    distil(folder, "one-more", teacher="other")
    names = [
        {path.name for path in (folder / f"{run}-data").glob("vectors-*.npy")}
        for run in ("one", "one-more")
    ]
    assert len(names[1]) == 1 and not names[0] & names[1]


def test_texts_in_another_order_have_their_own_vectors(folder, tmp_path):
    lines = (folder / "text.txt").read_text().split("\n")[:60]
    found = []
    for number, some in enumerate((lines, lines[::-1])):
        text = tmp_path / "text.txt"
        text.write_text("\n".join(some) + "\n")
        os.utime(text, (number, number))  # what is prepared is prepared anew
        distil(folder, f"../{tmp_path.name}-{number}", data={"text": [str(text)], "validation": []})
    files = sorted(folder.parent.glob(f"{tmp_path.name}-?-data/vectors-*.npy"))
    found = [np.load(file) for file in files]
    assert len(found) == 2 and files[0].name != files[1].name
    np.testing.assert_allclose(found[0], found[1][::-1], atol=1e-3)
    assert np.abs(found[0] - found[1]).max() > 0.01


def test_vectors_beyond_float16_are_refused(folder):
    teacher = task_model("embedding", "bert", pooling="mean", projection_size=4)
    teacher.head.kernel.assign(1e6 * np.asarray(teacher.head.kernel))
    save_model(teacher, folder / "large")
    with pytest.raises(NotFiniteError, match=r"not finite, or beyond float16's 65,504; its wei"):
        distil(folder, "large-run", teacher="large")
    assert not list((folder / "large-run-data").glob("vectors-*.json"))


@pytest.mark.parametrize("keep", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_narrower_student(folder, keep):
    student = {"hidden_size": 8, "num_layers": 2, "keep_projection": keep}
    model = load_task_model(distil(folder, f"narrow-{keep}", student=student))
    assert model.embedding_size == (16 if keep else 8)
    assert (folder / f"narrow-{keep}" / "model" / "2_Dense").exists() == keep


def test_layers_are_searched_and_tokens_cut(folder):
    student = {"num_layers": 1, "layer_map": "auto", "vocabulary": 34}
    model = load_task_model(distil(folder, "cut", student=student))
    assert model.architecture.vocabulary_size == 34
    search = json.loads((folder / "cut" / "layer_search.json").read_text())
    assert {trial["agreement"] for trial in search["tried"]} == {None}


@pytest.mark.parametrize("rows", ["blocks", pytest.param("texts", marks=pytest.mark.slow)])
@pytest.mark.parametrize("teacher", ["teacher", "encoder", "classifier"])
def test_relations_teach_any_encoder(folder, capsys, teacher, rows):
    console = Console(stderr=True)
    loss = ALONE | {"relation_weight": 1.0, "hidden_weight": 1.0}
    arguments = (folder, f"relations-{teacher}-{rows}")
    model = distil(*arguments, loss=loss, data={"rows": rows}, teacher=teacher, console=console)
    student = load_task_model(model)
    assert student.task == ("embedding" if teacher == "teacher" else "encoder")
    says = "its head, for sequence classification, is left out" in capsys.readouterr().err
    assert says == (teacher == "classifier")


REFUSED = {
    "the default loss": ({"loss": {}, "data": {"rows": "blocks"}}, r"teacher: has no masked-LM h"),
    "blocks": ({"data": {"rows": "blocks"}}, r"^loss\.embedding_weight compares whole texts; give"),
    "hidden words": (
        {"loss": VECTORS | {"mlm_weight": 1.0}},
        r"^loss\.mlm_weight hides words of the texts whose vectors loss\.embedding_weight comp",
    ),
    "packing": ({"data": {"packing": True}}, r"^data\.packing puts several texts into a row"),
    "another loss": ({"loss": VECTORS | {"embedding_loss": "l1"}}, r"^loss\.embedding_loss is"),
    "rows of another kind": ({"data": {"rows": "lines"}}, r"^data\.rows is"),
    "a teacher of words": ({"teacher": "words"}, r"words: predicts words and gives no vectors of"),
    "a length that the teacher does not read": (
        {"data": {"sequence_length": 31}},
        r"^sequence_length is 31, the model reads 30 tokens of a text; use 30 at most$",
    ),
    "a student of another kind": (
        {"student": {"initialize_from": "words"}},
        r"^student\.initialize_from: .*: its head is for masked_lm, not for embedding",
    ),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_distilled(folder, options, message):
    options = dict(options)
    if "student" in options:
        options["student"] = {"initialize_from": str(folder / "words")}
    with pytest.raises(UserError, match=message) as caught:
        distil(folder, "refused", **options)
    assert "\n" not in str(caught.value) and not (folder / "refused").exists()


def test_records_of_blocks_are_no_texts(folder, tmp_path):
    arguments = ["--text", folder / "text.txt", "--tokenizer", folder / "teacher"]
    arguments += ["--output", tmp_path / "blocks", "--sequence-length", "24"]
    assert run_command("prepare", *arguments) == 0
    data = {"text": [], "records": str(tmp_path / "blocks")}
    with pytest.raises(UserError, match=r"has blocks for rows, data\.rows is texts; make them eq"):
        distil(folder, "refused", data=data)
