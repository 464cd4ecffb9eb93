"""The metrics of a log by step, those of several runs together."""

from collections.abc import Sequence
from dataclasses import dataclass

from tf_distilbert.report.measurements import Teacher
from tf_distilbert.report.run import Report, Run
from tf_distilbert.report.table import Table, number

_TITLES = {
    "loss": "Loss, the weighted sum",
    "distillation_loss": "Distillation loss",
    "mlm_loss": "Masked-LM loss",
    "cosine_loss": "Cosine loss",
    "mse_loss": "Squared error of the logits",
    "relation_loss": "KL divergence of attention relations",
    "embedding_loss": "Distance of the vectors of texts",
    "task_loss": "Loss of the labels",
    "hidden_loss": "Squared distance of hidden states",
    "mlm_accuracy": "Masked-LM accuracy",
    "accuracy": "Accuracy",
    "teacher_agreement": "Same top answer as the teacher",
    "gradient_norm": "Gradient norm, before clipping",
    "learning_rate": "Learning rate",
    "tokens_per_second": "Tokens per second",
    "padding_share": "Share of padding",
    "skipped_updates": "Skipped updates",
    "skipped_sequences": "Skipped sequences",
}
_ONLY_IF_ANY = ("skipped_updates", "skipped_sequences")
_NO_FIGURES = ("step", "kind", "time")
_MOST_ROWS = 50


@dataclass(frozen=True)
class Line:
    """One line of a curve.

    Attributes:
        run: number of the run, from 0; None: it is not one's alone.
        label: says which it is.
        steps: ascending.
        values: at the steps.
        kind: ``training``, ``held out``, or ``teacher`` for the teacher's on held-out data, which
            is the same at every step.
    """

    run: int | None
    label: str
    steps: Sequence[int]
    values: Sequence[float]
    kind: str = "training"


@dataclass(frozen=True)
class Curve:
    """One metric of the log, of all runs that have it.

    Attributes:
        name: the log's.
        title: for people.
        lines: at least one.
        x_name: what `steps` are.
    """

    name: str
    title: str
    lines: Sequence[Line]
    x_name: str = "step"

    @property
    def description(self) -> str:
        """Say in words what the picture shows."""
        return f"{self.title} by {self.x_name}. {' '.join(map(self._in_words, self.lines))}"

    def _in_words(self, line: Line) -> str:
        first, last = number(line.values[0]), number(line.values[-1])
        at = f"at {self.x_name} "
        if line.kind == "teacher":
            return f"{line.label}: {first} at every {self.x_name}."
        if len(line.values) == 1:
            return f"{line.label}: {first} {at}{line.steps[0]}."
        return f"{line.label}: from {first} {at}{line.steps[0]} to {last} {at}{line.steps[-1]}."

    def table(self) -> Table:
        """Give the values; of many steps some, spread evenly, the first and the last among them."""
        steps = sorted({step for line in self.lines for step in line.steps})
        chosen = steps
        if len(steps) > _MOST_ROWS:
            spacing = (len(steps) - 1) / (_MOST_ROWS - 1)
            chosen = [steps[round(i * spacing)] for i in range(_MOST_ROWS)]
        found = [dict(zip(line.steps, line.values, strict=True)) for line in self.lines]
        rows = [(f"{step:,}", [number(values.get(step)) for values in found]) for step in chosen]
        some = f" ({len(chosen)} of {len(steps)} steps)" if len(chosen) < len(steps) else ""
        columns = [self.x_name, *(line.label for line in self.lines)]
        return Table(f"{self.title}: values{some}", columns, rows)


def curves_of(runs: Sequence[Run], teachers: Sequence[Teacher] = ()) -> list[Curve]:
    """Give every metric that is in a log: the known ones first, in an order that tells a story.

    Args:
        runs: whose logs they are.
        teachers: have a line of their own where they were measured.
    """
    reports = [report for run in runs for report in [*run.training, *run.validations]]
    found = dict.fromkeys(name for report in reports for name in _figures(report))
    names = [name for name in _TITLES if name in found]
    names += [name for name in found if name not in _TITLES]
    curves = []
    for name in names:
        lines = _lines(runs, name)
        if name in _ONLY_IF_ANY and not any(value for line in lines for value in line.values):
            continue
        title = _TITLES.get(name) or name.replace("_", " ").capitalize()
        curves.append(Curve(name, title, lines + _teacher_lines(lines, teachers, name)))
    return curves


def _teacher_lines(lines: Sequence[Line], teachers: Sequence[Teacher], name: str) -> list[Line]:
    steps = sorted({step for line in lines for step in line.steps})
    return [
        Line(teacher.run, teacher.label, steps, [teacher.logged[name]] * len(steps), "teacher")
        for teacher in teachers
        if name in teacher.logged
    ]


def _figures(report: Report) -> list[str]:
    return [n for n, v in report.items() if n not in _NO_FIGURES and isinstance(v, (int, float))]


def _lines(runs: Sequence[Run], name: str) -> list[Line]:
    lines = []
    for index, run in enumerate(runs):
        prefix = f"{run.name}, " if len(runs) > 1 else ""
        for reports, kind in ((run.training, "training"), (run.validations, "held out")):
            points = {r["step"]: r[name] for r in reports if name in r}
            if points:
                steps = sorted(points)
                values = [points[step] for step in steps]
                lines.append(Line(index, prefix + kind, steps, values, kind))
    return lines
