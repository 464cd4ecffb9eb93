"""Student against teacher: shape, size, speed and quality."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import keras

from tf_distilbert.evaluation.masked_lm import measure
from tf_distilbert.finetuning.model_facts import LENGTH, measure_models
from tf_distilbert.report.run import Run
from tf_distilbert.report.run_models import RunModels
from tf_distilbert.report.table import Table, table_of

_ROUNDS = 5
_BYTES = 4  # of a weight in float32

# What gives a model's shape, beside its attribute of an architecture.
_SHAPE = {
    "layers": "num_layers",
    "hidden size": "hidden_size",
    "attention heads": "num_heads",
    "feed-forward size": "intermediate_size",
    "vocabulary": "vocabulary_size",
}
_FORMS = {
    **dict.fromkeys(_SHAPE, ",d"),
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

    Shape and size are those of the teacher with all its tokens. Speed is that of the encoders, in
    turns, on this machine; quality is that on the first held-out sequences.

    Args:
        number: of the run among those of the report, from 0.
        models: of the run.
    """
    by_name = {"model": (models.model, str(models.run.model))}
    if models.whole_teacher is not None:
        assert models.run.teacher is not None  # it was loaded from there
        by_name["teacher"] = models.whole_teacher, models.run.teacher
    speeds = measure_models({name: path for name, (_, path) in by_name.items()}, _ROUNDS)
    metrics = {}
    if models.held_out is not None and models.predicts_words:
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
            shared = {n for n in only.own if only.teacher.get(n)}  # by 0 nothing can be divided
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


def shape_facts(measured: Measured) -> dict[str, str]:
    """Name what the student's shape has other than the teacher's, which stands in brackets."""
    own, teacher = measured.own, measured.teacher
    differing = [
        f"{name} {own[name]:,d} ({teacher[name]:,d})"
        for name in (*_SHAPE, "parameters")
        if name in teacher and own[name] != teacher[name]
    ]
    return {"shape (teacher's)": ", ".join(differing)} if differing else {}


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
        **{name: getattr(model.architecture, key) for name, key in _SHAPE.items()},
        "parameters": number,
        "MB in float32": number * _BYTES / 1e6,
    }


def _quality(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    names = {"loss": "masked-LM loss", "perplexity": "perplexity", "accuracy": "masked-LM accuracy"}
    return {n: metrics[prefix + key] for key, n in names.items() if prefix + key in metrics}
