"""Student against teacher: size, speed, quality, and layer by layer how near the two are."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from tf_distilbert.distillation.student import even_layer_map
from tf_distilbert.evaluation.masked_lm import measure
from tf_distilbert.finetuning.model_facts import LENGTH, measure_models
from tf_distilbert.losses.per_token import cosine_loss
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.report.run_models import HeldOut, RunModels
from tf_distilbert.report.table import Table

_ROUNDS = 5
_BYTES = 4  # of a weight in float32

_FORMS = {
    "layers": ",d",
    "hidden size": ",d",
    "parameters": ",d",
    "MB in float32": ",.1f",
    f"ms for a text of {LENGTH} tokens": ",.2f",
    "masked-LM loss": ".4f",
    "perplexity": ",.2f",
    "masked-LM accuracy": ".2%",
}
_OF_BOTH = {
    "agreement": ("same top answer as the teacher", ".2%"),
    "kl_divergence": ("KL divergence from the teacher", ".4f"),
    "cosine": ("cosine of the last hidden states", ".4f"),
    "retention": ("share of the teacher's accuracy", ".2%"),
}


def measurements_table(models: RunModels) -> Table:
    """Measure the model of a run, and its teacher if it is there.

    Speed is that of the encoders, in turns, on this machine; quality is that on the first held-out
    sequences.
    """
    by_name = {"model": (models.model, str(models.run.model))}
    if models.teacher is not None:
        assert models.run.teacher is not None  # it was loaded from there
        by_name["teacher"] = models.teacher, models.run.teacher
    speeds = measure_models({name: path for name, (_, path) in by_name.items()}, _ROUNDS)
    metrics = {}
    if models.held_out is not None:
        metrics = measure(models.model, models.teacher, models.held_out.batches())
    facts = {
        name: _size(model)
        | {f"ms for a text of {LENGTH} tokens": speeds[name]["milliseconds"]}
        | _quality(metrics, "teacher_" if name == "teacher" else "")
        for name, (model, _) in by_name.items()
    }
    own, theirs = facts["model"], facts.get("teacher", {})
    rows = [_row(name, form, own.get(name), theirs.get(name)) for name, form in _FORMS.items()]
    for key, (name, form) in _OF_BOTH.items():
        if key in metrics:
            rows.append((name, [f"{metrics[key]:{form}}", "", ""]))
    rows = [row for row in rows if any(row[1])]
    columns = ["", "student" if models.run.teacher else "model"]
    if theirs:
        columns += ["teacher", "student / teacher"]
    caption = f"{models.run.name}: size, speed and quality"
    return Table(caption, columns, [(name, cells[: len(columns) - 1]) for name, cells in rows])


def _size(model: keras.Model) -> dict[str, float]:
    number = model.count_params()
    return {
        "layers": model.architecture.num_layers,
        "hidden size": model.architecture.hidden_size,
        "parameters": number,
        "MB in float32": number * _BYTES / 1e6,
    }


def _quality(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    names = {"loss": "masked-LM loss", "perplexity": "perplexity", "accuracy": "masked-LM accuracy"}
    return {n: metrics[prefix + key] for key, n in names.items() if prefix + key in metrics}


def _row(name: str, form: str, own: Any, theirs: Any) -> tuple[str, list[str]]:
    cells = ["" if value is None else f"{value:{form}}" for value in (own, theirs)]
    both = own is not None and theirs
    return name, [*cells, f"{own / theirs:.2f}" if both else ""]


_NUM_BATCHES = 2


def layer_pairs(
    student: Architecture, teacher: Architecture, layer_map: Sequence[int] | None
) -> list[tuple[int, int]]:
    """Tell which outputs are compared: 0 are the embeddings, then layers from 1.

    A student's layer is compared with the one that it was begun from, or would have been.

    Args:
        student, teacher: their shapes.
        layer_map: the teacher's layer, from 0, that each of the student's was begun from; by
            default `even_layer_map` chooses.
    """
    layers = layer_map or even_layer_map(teacher.num_layers, student.num_layers)
    return [(0, 0), *((i + 1, layer + 1) for i, layer in enumerate(layers))]


def layer_cosines(
    student: keras.Model,
    teacher: keras.Model,
    held_out: HeldOut,
    pairs: Sequence[tuple[int, int]],
) -> list[float]:
    """Compute the mean cosine of hidden states over the real tokens of some held-out sequences.

    Args:
        student, teacher: of equal hidden sizes.
        held_out: the sequences.
        pairs: from `layer_pairs`.
    """
    sums, count = np.zeros(len(pairs)), 0.0
    for inputs, _, _ in held_out.batches(_NUM_BATCHES).as_numpy_iterator():
        ours, theirs = (_hidden_states(model, inputs) for model in (student, teacher))
        real = ops.cast(inputs["padding_mask"], "float32")
        for i, (own, other) in enumerate(pairs):
            cosines = 1.0 - cosine_loss(ours[own], theirs[other])
            sums[i] += float(ops.sum(cosines * real))
        count += float(ops.sum(real))
    return (sums / count).tolist()


def _hidden_states(
    model: keras.Model, inputs: dict[str, np.ndarray]
) -> Sequence[keras.KerasTensor]:
    return model.hidden_states(tree.map_structure(ops.convert_to_tensor, inputs))
