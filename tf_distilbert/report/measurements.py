"""Student against teacher: size, speed, quality."""

from collections.abc import Mapping
from typing import Any

import keras

from tf_distilbert.evaluation import measure
from tf_distilbert.finetuning.model_facts import LENGTH, measure_models
from tf_distilbert.report.run_models import RunModels
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
    figures = {}
    if models.held_out is not None:
        figures = measure(models.model, models.teacher, models.held_out.batches())
    facts = {
        name: _size(model)
        | {f"ms for a text of {LENGTH} tokens": speeds[name]["milliseconds"]}
        | _quality(figures, "teacher_" if name == "teacher" else "")
        for name, (model, _) in by_name.items()
    }
    own, theirs = facts["model"], facts.get("teacher", {})
    rows = [_row(name, form, own.get(name), theirs.get(name)) for name, form in _FORMS.items()]
    for key, (name, form) in _OF_BOTH.items():
        if key in figures:
            rows.append((name, [f"{figures[key]:{form}}", "", ""]))
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


def _quality(figures: Mapping[str, float], prefix: str) -> dict[str, float]:
    names = {"loss": "masked-LM loss", "perplexity": "perplexity", "accuracy": "masked-LM accuracy"}
    return {n: figures[prefix + key] for key, n in names.items() if prefix + key in figures}


def _row(name: str, form: str, own: Any, theirs: Any) -> tuple[str, list[str]]:
    cells = ["" if value is None else f"{value:{form}}" for value in (own, theirs)]
    both = own is not None and theirs
    return name, [*cells, f"{own / theirs:.2f}" if both else ""]
