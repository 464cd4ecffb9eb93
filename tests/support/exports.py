"""Models, and their exports by the command line, that the tests of exports share."""

import pytest

from support import tiny
from support.commands import run
from support.task_model import task_model
from tf_distilbert.model_files.folder import save_model

TASKS = (
    *("masked_lm", "sequence_classification", "token_classification"),
    *("question_answering", "encoder", "embedding"),
)
PACKAGES = {
    "saved_model": (),
    "litert": ("ai_edge_litert",),
    "onnx": ("tf2onnx", "onnxruntime"),
    "openvino": ("tf2onnx", "openvino"),
    "keras_nlp": (),
}
# OpenVINO reads the ONNX file: one of its five is enough for every day.
CASES = [
    pytest.param(task, name, marks=[pytest.mark.long] * (name == "openvino" and i > 0))
    for i, task in enumerate(TASKS)
    for name in PACKAGES
    if name != "keras_nlp" or task == "masked_lm"
]
LONG = " ".join(tiny.SENTENCES)  # more than 32 tokens


def call(*arguments):
    assert run("export", *arguments) == 0


def need(format_name):
    for package in PACKAGES[format_name]:
        pytest.importorskip(package)


def exported_below(root, task, format_name="saved_model", family="distilbert"):
    """Give a model folder and its export by the command line, made when first asked for."""
    need(format_name)
    folder = root / f"{task}-{family}"
    model, output = folder / "model", folder / format_name
    if not model.exists():
        save_model(task_model(task, family), model)
    if not output.exists():
        call("--model", model, "--format", format_name, "--output", output)
    # The name is that of the folder above "model", as it is for a run.
    return model, output / folder.name / "1" if format_name == "saved_model" else output


def save_models(root, *tasks):
    """Write a model folder for each task, under its name."""
    for task in tasks:
        save_model(task_model(task), root / task)
    return root


def names_in(folder):
    return {path.name for path in folder.iterdir()}
