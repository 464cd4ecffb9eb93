"""Runs whose students have another shape: how they start, that they resume, what they leave."""

import json
import shutil
import signal

import keras
import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file

from support import tiny
from support.devices import strategy_of
from tf_distilbert.backend import devices
from tf_distilbert.config.file import parse_config
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.distillation import student as student_module
from tf_distilbert.errors import Interrupted, UserError
from tf_distilbert.evaluation.masked_lm import evaluate
from tf_distilbert.model_files.folder import load_model, save_model
from tf_distilbert.model_files.keras_nlp_models import named_values
from tf_distilbert.runs import job, monitor, student_start, train
from tf_distilbert.runs.logs import read_log
from tf_distilbert.runs.student_start import tried_layer_maps

QUIET = Console(quiet=True)
SEARCH = "layer_search.json"
RELATIONS = {"cosine_weight": 0.0, "relation_weight": 1.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    sizes = {"hidden_size": 24, "num_heads": 3, "intermediate_size": 40}
    save_model(tiny.model(seed=1, dropout=0.1, attention_dropout=0.1, **sizes), folder / "teacher")
    save_model(tiny.roberta(seed=2, **sizes), folder / "roberta")
    tiny.write_text(folder / "text.txt")
    tiny.write_text(folder / "short.txt", documents=2)
    return folder


def configure(folder, output, student, loss=None, data=None, teacher="teacher", **options):
    values = tiny.run_settings(folder, output, **options)
    values["teacher"] = str(folder / teacher)
    values["data"] |= data or {}
    return parse_config(DistillConfig, values | {"student": student, "loss": loss or {}})


def run(*arguments, **options):
    return train.distill(configure(*arguments, **options), QUIET)


class Started(Exception):
    """A run was about to make its first step."""


@pytest.fixture
def start(folder, monkeypatch, tmp_path):
    """Begin a run; give weights under our names, projections, vocabulary and search."""

    def begin(student, loss=None, **options):
        found = {}

        def stop(distiller, batches, its_job):
            found["weights"] = named_values(distiller.student)
            found["shape"] = distiller.student.architecture
            found["vocabulary"] = distiller.student.tokenizer.vocabulary
            if hasattr(distiller, "hidden_states"):
                found["projections"] = [np.array(v) for v in distiller.hidden_states.weights]
            search = its_job.run.path / SEARCH
            found["search"] = json.loads(search.read_text()) if search.exists() else None
            raise Started

        monkeypatch.setattr(train, "train_to_the_end", stop)
        with pytest.raises(Started):
            run(folder, tmp_path / "run", student, loss, **options)
        assert not (tmp_path / "run").exists()  # nothing was learnt
        return found

    return begin


def teacher_values(folder, name="teacher"):
    return named_values(load_model(folder / name))


def rows_in(part, whole):
    """Where the rows of one are in the other, bit for bit."""
    places = [np.flatnonzero((whole == row).all(-1)) for row in part]
    assert all(len(place) == 1 for place in places)
    return [int(place[0]) for place in places]


def test_the_layers_are_those_of_the_best_map(folder, start, monkeypatch):
    said = []
    monkeypatch.setattr(student_start, "say", lambda console, line: said.append(line))
    found = start({"layer_map": "auto", "num_layers": 2})
    tried = found["search"]["tried"]
    assert len({tuple(trial["layers"]) for trial in tried}) == len(tried) == 6
    scores = [trial["agreement"] - trial["cosine_loss"] for trial in tried]
    assert scores[0] == max(scores) > min(scores)
    first, last = said
    assert first == "choosing what the student starts from" and last.endswith("; 6 choices tried")
    named = ", ".join(map(str, tried[0]["layers"]))
    share, distance = 100 * tried[0]["agreement"], tried[0]["cosine_loss"]
    figures = f"{share:.1f} % same answers, cosine loss {distance:.3f}"
    assert last.startswith(f"starts from the teacher's layers {named}: {figures}")
    theirs = teacher_values(folder)
    for ours, layer in enumerate(tried[0]["layers"]):
        for part in ("query_key_value/kernel", "output_dense/bias", "output_norm/gamma"):
            np.testing.assert_array_equal(
                found["weights"][f"encoder/block_{ours}/{part}"],
                theirs[f"encoder/block_{layer}/{part}"],
            )


NARROW = {"intermediate_size": 12}


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_neurons_are_the_teachers(folder, start, monkeypatch, precision):
    monkeypatch.setattr(devices, "has_bfloat16", lambda: True)
    found, theirs = start(NARROW, precision=precision), teacher_values(folder)
    assert found["search"] is None
    for ours, layer in enumerate([0, 3]):  # half the teacher's, evenly
        kernel = found["weights"][f"encoder/block_{ours}/intermediate/kernel"]
        neurons = rows_in(kernel.T, theirs[f"encoder/block_{layer}/intermediate/kernel"].T)
        assert len(neurons) == 12 and neurons == sorted(neurons) != list(range(12))
        for part in ("intermediate/bias", "output_dense/kernel"):
            np.testing.assert_array_equal(
                found["weights"][f"encoder/block_{ours}/{part}"],
                theirs[f"encoder/block_{layer}/{part}"][neurons],
            )


@pytest.mark.parametrize("teacher", ["teacher", "roberta"])
def test_everything_at_once(folder, start, teacher):
    """The commonest tokens, the best layers, dimensions, heads and neurons."""
    whole = load_model(folder / teacher)
    size = {"teacher": 30, "roberta": 263}[teacher]
    student = {"layer_map": "auto", "num_layers": 3, "hidden_size": 8, "vocabulary": size}
    found = start(student, RELATIONS | {"hidden_weight": 0.5}, teacher=teacher)
    theirs, weights = named_values(whole), found["weights"]
    tokens = [whole.tokenizer.vocabulary.index(token) for token in found["vocabulary"]]
    assert len(tokens) == size and tokens == sorted(tokens)
    np.testing.assert_array_equal(weights["head/output_bias"], theirs["head/output_bias"][tokens])
    table = theirs["encoder/token_table"][tokens]
    dims = rows_in(weights["encoder/token_table"].T, table.T)
    assert len(dims) == 8 and dims == sorted(dims) != list(range(8))
    positions = theirs["encoder/position_table"][:, dims]
    if teacher == "teacher":
        positions = positions + theirs["encoder/segment_table"][0, dims]
    np.testing.assert_array_equal(weights["encoder/position_table"], positions)
    for ours, layer in enumerate(found["search"]["tried"][0]["layers"]):
        kernel = theirs[f"encoder/block_{layer}/query_key_value/kernel"][dims]
        columns = rows_in(weights[f"encoder/block_{ours}/query_key_value/kernel"].T, kernel.T)
        head = columns[0] // 8
        assert columns == [24 * part + 8 * head + i for part in range(3) for i in range(8)]
    shape = found["shape"]
    assert (shape.hidden_size, shape.num_heads, shape.intermediate_size) == (8, 1, 13)
    assert [projection.shape for projection in found["projections"]] == [(8, 24)] * 3


def test_two_devices_start_from_the_same_weights(start, monkeypatch):
    student = {"layer_map": "auto", "num_layers": 2, "hidden_size": 16, "intermediate_size": 9}
    loss = RELATIONS | {"hidden_weight": 1.0}
    alone = start(student, loss)
    monkeypatch.setattr(job, "make_strategy", lambda name: strategy_of(2))
    together = start(student, loss)
    assert together["search"] == alone["search"]
    assert together["weights"].keys() == alone["weights"].keys()
    for name, value in alone["weights"].items():
        np.testing.assert_array_equal(together["weights"][name], value, err_msg=name)
    for one, other in zip(alone["projections"], together["projections"], strict=True):
        np.testing.assert_array_equal(one, other)


def test_workers_must_choose_alike(folder, start, monkeypatch, tmp_path):
    monkeypatch.setattr(student_start, "num_workers", lambda strategy: 3)
    monkeypatch.setattr(student_start, "sum_over_workers", lambda strategy, value: 3.0 * value)
    start(NARROW)
    monkeypatch.setattr(student_start, "sum_over_workers", lambda strategy, value: 3 * value - 1)
    start({})  # which nothing is chosen for
    with pytest.raises(UserError, match=r"^the workers round differently, .* and --resume$"):
        run(folder, tmp_path / "run", NARROW)
    assert not (tmp_path / "run").exists()


def test_a_text_of_few_sequences_is_enough(folder, start):
    few = {"text": [str(folder / "short.txt")]}
    found = start({"layer_map": "auto", "num_layers": 1} | NARROW, data=few)
    assert len(found["search"]["tried"]) == 4


# Whole runs.

NARROWER = RELATIONS | {"hidden_weight": 0.5}
SHAPES = {
    "everything": (
        {"layer_map": "auto", "num_layers": 2, "hidden_size": 8, "vocabulary": 30},
        NARROWER,
    ),
    "searched": ({"layer_map": "auto", "num_layers": 2}, {}),
    "fewer neurons": (NARROW, {}),
    "narrower": ({"hidden_size": 8}, NARROWER),
    "fewer tokens": ({"vocabulary": 30}, {}),
}
PACKED = {"packing": True}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(shape, id=name, marks=[] if name == "everything" else pytest.mark.slow)
        for name, shape in SHAPES.items()
    ],
)
def finished(request, folder):
    student, loss = request.param
    name = f"whole-{request.param_index}"
    return run(folder, name, student, loss, data=PACKED).parent, student, loss


def interrupted_at(monkeypatch, step):
    original = monitor.Monitor.on_train_batch_begin

    def begin(self, *arguments, **options):
        if self.progress.step == step:
            signal.raise_signal(signal.SIGTERM)
        return original(self, *arguments, **options)

    monkeypatch.setattr(monitor.Monitor, "on_train_batch_begin", begin)


def test_resumed_it_ends_with_the_same_bits(folder, finished, monkeypatch):
    whole, student, loss = finished
    name = whole.name.replace("whole", "stopped")
    data = PACKED | {"validation": []}  # which takes time, and changes no weight
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupted_at(patch, 3)
        run(folder, name, student, loss, data=data)
    search = folder / name / SEARCH
    before = search.exists() and (search.read_bytes(), search.stat().st_mtime_ns)
    for function in ("search_layers", "measure_importance"):  # neither is done again
        monkeypatch.setattr(student_module, function, lambda *_: pytest.fail("a second time"))
    run(folder, name, student, loss, data=data, resume="auto")
    ours, theirs = (load_file(p / "model" / "model.safetensors") for p in (folder / name, whole))
    assert ours.keys() == theirs.keys()
    for tensor, value in theirs.items():
        np.testing.assert_array_equal(ours[tensor], value, err_msg=tensor)
    assert search.exists() == (whole / SEARCH).exists() == (student.get("layer_map") == "auto")
    if before:
        assert (search.read_bytes(), search.stat().st_mtime_ns) == before
        assert search.read_bytes() == (whole / SEARCH).read_bytes()


def test_the_model_is_what_was_asked_for(folder, finished):
    whole, student, loss = finished
    model, teacher = load_model(whole / "model"), load_model(folder / "teacher")
    shape = model.architecture
    for name, size in student.items():
        assert name in ("layer_map", "vocabulary") or getattr(shape, name) == size
    assert shape.vocabulary_size == len(model.tokenizer.vocabulary) == student.get("vocabulary", 47)
    first, *_, last = read_log(whole, "validation")
    for name in ("relation", "hidden"):
        key = f"{name}_loss"
        assert (key in last) == bool(loss.get(f"{name}_weight")) and last.get(key, 1) > 0
    assert last["loss"] < first["loss"]
    figures = evaluate(model, str(folder / "text.txt"), teacher, sequence_length=32)
    assert last["mlm_loss"] == pytest.approx(figures["loss"], rel=1e-4)


def test_projections_are_in_checkpoints_alone(finished):
    whole, student, _ = finished
    tensors = load_file(whole / "checkpoints" / "step-00000006" / "tensors.safetensors")
    saved = load_file(whole / "model" / "model.safetensors")
    own = [t for name, t in tensors.items() if name.startswith("model/") and t.dtype == np.float32]
    moments = [name for name in tensors if name.endswith(("/momentum", "/velocity"))]
    assert len(moments) == 2 * len(own)
    # Queries, keys and values are three tensors there, and one here.
    of_student = len(saved) - 2 * 2 * 2
    projections = 2 if "hidden_size" in student else 0
    assert len(own) == of_student + projections
    assert sum(t.size for t in own) == sum(t.size for t in saved.values()) + projections * 8 * 24
    assert not [name for name in saved if "projection" in name]


def test_another_shape_is_refused_on_resumption(folder, finished):
    whole, student, loss = finished
    others = {"layer_map": [0, 1], "hidden_size": 16, "vocabulary": 31, "intermediate_size": 20}
    before = (whole / "config.yaml").read_bytes()
    for key in others.keys() & student.keys():
        message = rf"has student\.{key} {student[key]}, now it is .*; resume with the same settings"
        with pytest.raises(UserError, match=message):
            other = student | {key: others[key]}
            run(folder, whole.name, other, loss, data=PACKED, resume="auto")
    assert (whole / "config.yaml").read_bytes() == before


def test_what_was_tried_can_be_read_and_goes_with_the_run(folder, finished, monkeypatch, tmp_path):
    whole, student, loss = finished
    path = shutil.copytree(whole, tmp_path / "run")
    if "layer_map" not in student:
        assert tried_layer_maps(path) == []
        return
    content = json.loads((path / SEARCH).read_text())["tried"]
    trials = tried_layer_maps(path)
    assert [(list(t.layers), t.agreement, t.cosine_loss) for t in trials] == [
        (trial["layers"], trial["agreement"], trial["cosine_loss"]) for trial in content
    ]
    assert len(trials) == 6

    def stop(distiller, batches, its_job):
        assert its_job.run.path == path and not (path / SEARCH).exists()
        raise Started

    monkeypatch.setattr(train, "train_to_the_end", stop)
    with pytest.raises(Started):
        run(folder, path, student | {"layer_map": None}, loss, data=PACKED, resume="overwrite")


@pytest.mark.parametrize(
    "content", ['{"tried": [{"layers": [0]}]}', '{"found": 1}', '{"tried": 3}', "[]", "{", ""]
)
def test_a_broken_search_is_refused(tmp_path, content):
    (tmp_path / SEARCH).write_text(content)
    with pytest.raises(UserError, match=rf"{SEARCH}: ") as caught:
        tried_layer_maps(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_keras_nlp_preset_as_teacher(folder, start):
    from support.keras_nlp_objects import task

    theirs = task("Bert", num_layers=3)
    theirs.save_to_preset(str(folder / "preset"))
    found = start({"layer_map": "auto", "hidden_size": 8}, RELATIONS, teacher="preset")
    table = keras.ops.convert_to_numpy(theirs.backbone.token_embedding.embeddings)
    assert len(rows_in(found["weights"]["encoder/token_table"].T, table.T)) == 8
    assert len(found["search"]["tried"]) == 3
