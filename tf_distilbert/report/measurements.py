"""Student against teacher: size, speed, quality, and layer by layer how near the two are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import ops, tree

from tf_distilbert.distillation.student_shape import even_layer_map
from tf_distilbert.evaluation.masked_lm import measure
from tf_distilbert.finetuning.model_facts import LENGTH, measure_models
from tf_distilbert.losses.per_token import cosine_loss
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.report.run import Run
from tf_distilbert.report.run_models import HeldOut, RunModels
from tf_distilbert.report.table import Table, table_of

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
_KEY = (
    *("parameters", f"ms for a text of {LENGTH} tokens"),
    *("masked-LM accuracy", "share of the teacher's accuracy"),
)
_IN_LOGS = {"mlm_loss": "masked-LM loss", "mlm_accuracy": "masked-LM accuracy"}


@dataclass(frozen=True)
class Measured:
    """What was measured of a run's models, by the headings of a table's rows.

    Attributes:
        number: of the run among those of the report, from 0.
        run: whose model it is.
        own: of its model.
        teacher: of its teacher; empty if that is not there.
        both: what compares the two, written out.
    """

    number: int
    run: Run
    own: Mapping[str, float]
    teacher: Mapping[str, float]
    both: Mapping[str, str]


def measure_run(number: int, models: RunModels) -> Measured:
    """Measure the model of a run, and its teacher if it is there.

    Speed is that of the encoders, in turns, on this machine; quality is that on the first held-out
    sequences.

    Args:
        number: of the run among those of the report, from 0.
        models: of the run.
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
    both = {
        name: f"{metrics[key]:{form}}" for key, (name, form) in _OF_BOTH.items() if key in metrics
    }
    return Measured(number, models.run, facts["model"], facts.get("teacher", {}), both)


def measurements_table(measured: Sequence[Measured]) -> Table:
    """Put the models of all runs side by side, each teacher once."""
    students = [_cells(one.own) | dict(one.both) for one in measured]
    teachers = teachers_of(measured)
    columns = students + [_cells(teacher.facts) for teacher in teachers]
    if len(measured) > 1:
        names = [one.run.name for one in measured] + [teacher.label for teacher in teachers]
        caption = "Size, speed and quality of the runs' models"
    else:
        [only] = measured
        names = ["student" if only.run.teacher else "model"]
        caption = f"{only.run.name}: size, speed and quality"
        if only.teacher:
            names += ["teacher", "student / teacher"]
            shared = only.own.keys() & only.teacher.keys()
            columns.append(
                {n: f"{only.own[n] / only.teacher[n]:.2f}" for n in _FORMS if n in shared}
            )
    found = table_of(caption, names, columns)
    order = [*_FORMS, *(name for name, _ in _OF_BOTH.values())]
    return replace(found, rows=sorted(found.rows, key=lambda row: order.index(row[0])))


def key_facts(measured: Measured) -> dict[str, str]:
    """Give the few facts by which runs are compared at first sight."""
    return {
        n: cell for n, cell in (_cells(measured.own) | dict(measured.both)).items() if n in _KEY
    }


@dataclass(frozen=True)
class Teacher:
    """A teacher of one run or of several.

    Attributes:
        run: number of the run among those of the report, from 0; None: all have this one.
        label: says whose it is.
        facts: see `Measured`.
    """

    run: int | None
    label: str
    facts: Mapping[str, float]

    @property
    def logged(self) -> dict[str, float]:
        """Its quality under the names that logs have for the student's."""
        return {name: self.facts[fact] for name, fact in _IN_LOGS.items() if fact in self.facts}


def teachers_of(measured: Sequence[Measured]) -> list[Teacher]:
    """Give each teacher once, and once more where other text gave it other quality."""
    found: dict[object, Teacher] = {}
    for one in measured:
        if one.teacher:
            teacher = Teacher(one.number, f"teacher of {one.run.name}", one.teacher)
            quality = tuple(round(value, 6) for value in teacher.logged.values())
            found.setdefault((one.run.teacher, quality), teacher)
    if len(found) == 1:
        return [replace(teacher, run=None, label="teacher") for teacher in found.values()]
    return list(found.values())


def _cells(facts: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{facts[name]:{form}}" for name, form in _FORMS.items() if name in facts}


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
