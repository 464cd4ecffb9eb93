"""Make a report: read the runs, load their models, draw, write one file."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.errors import UserError
from tf_distilbert.report.curves import Curve, Line, curves_of
from tf_distilbert.report.examples import Examples
from tf_distilbert.report.measurements import layer_cosines, layer_pairs, measurements_table
from tf_distilbert.report.page import Page, Plot, check_packages, render
from tf_distilbert.report.picture import draw_curve, draw_key
from tf_distilbert.report.retention_section import find_retention, retention_section
from tf_distilbert.report.run import Run, name_runs
from tf_distilbert.report.run_models import NO_MODEL, HeldOut, RunModels
from tf_distilbert.report.summary import differences_table, summary_table


def write_report(
    folders: Sequence[str | Path],
    output: str | Path | None = None,
    console: Console | None = None,
) -> Path:
    """Write a report on one run, or on several side by side, as one HTML file.

    What is missing (a model not made yet, a teacher that is gone) is said in the report; the rest
    is there.

    Args:
        folders: run directories, of any job; of a retention output its ablation's runs are taken.
        output: the file; by default ``report.html``, of one folder in it, of several here.
        console: where progress is shown, by default stderr.

    Returns:
        The file.

    Raises:
        UserError: a folder is no run, a file in it is broken, a package is missing, or the output
            cannot be written.
    """
    check_packages()
    console = console or Console(stderr=True)
    given = list(dict.fromkeys(Path(folder).absolute() for folder in folders))
    run_folders = [run for folder in given for run in _runs_in(folder)]
    names = name_runs(run_folders)
    runs = [Run.open(*pair) for pair in zip(run_folders, names, strict=True)]
    if output is None:
        output = (given[0] if len(given) == 1 else Path()) / "report.html"
    file = Path(output)
    if file.is_dir() or not file.absolute().parent.is_dir():
        raise UserError(f"{file}: cannot be written; give a file in a folder that exists")
    page = Page(
        title=f"Report on {', '.join(folder.name for folder in given)}",
        summary=summary_table(runs),
        differences=differences_table(runs) if len(runs) > 1 else None,
        settings={run.name: yaml.safe_dump(run.settings, sort_keys=False) for run in runs},
        curves_key=_curves_key(runs),
        curves=[_plot(curve) for curve in curves_of(runs)],
    )
    _compare(runs, page, console)
    retentions = dict.fromkeys(filter(None, map(find_retention, given)))
    page.retention = [
        retention_section(path, f"retention-{i}") for i, path in enumerate(retentions)
    ]
    write_atomically(file, render(page).encode())
    return file


def _runs_in(folder: Path) -> list[Path]:
    """Give the folder, or, if it is a retention output, the runs of its ablation."""
    retention = find_retention(folder)
    if (folder / "config.yaml").exists() or retention is None:
        return [folder]
    return sorted(path.parent for path in retention.glob("students/*/config.yaml"))


def _compare(runs: Sequence[Run], page: Page, console: Console) -> None:
    """Add what the models have to say; one run's are in memory at a time."""
    examples, lines = Examples(), list[Line]()
    for index, run in enumerate(runs):
        console.print(f"{run.name}: comparing models", markup=False, soft_wrap=True)
        models = RunModels.load(run)
        if models is None:
            page.notes[run.name] = [NO_MODEL]
            continue
        page.measurements.append(measurements_table(models))
        if models.held_out is not None:
            page.measured_on[run.name] = models.held_out.num_sequences
            examples.add(models, models.held_out)
            if line := _layer_line(models, models.held_out, index):
                lines.append(line)
        if models.notes:
            page.notes[run.name] = models.notes
    page.examples = examples.shown
    if lines:
        page.layers_key = _key("layers", runs)
        page.layers = _plot(Curve("layers", "Cosine with the teacher", lines, "layer"))


def _key(place: str, runs: Sequence[Run]) -> list[tuple[str, str]]:
    return [(draw_key(place, i), run.name) for i, run in enumerate(runs)]


def _curves_key(runs: Sequence[Run]) -> list[tuple[str, str]]:
    training = draw_key("curves", None), "training, mean since the report before"
    held_out = draw_key("curves", None, held_out=True), "held out"
    return [*_key("curves", runs), training, held_out]


def _plot(curve: Curve) -> Plot:
    return Plot(curve.title, draw_curve(curve), curve.table())


def _layer_line(models: RunModels, held_out: HeldOut, index: int) -> Line | None:
    if models.run.verb != "distill" or models.teacher is None:
        return None
    student, teacher = models.model.architecture, models.teacher.architecture
    if student.hidden_size != teacher.hidden_size:
        models.notes.append("Student and teacher have hidden states of different sizes.")
        return None
    pairs = layer_pairs(student, teacher, models.run.settings["student"].get("layer_map"))
    cosines = layer_cosines(models.model, models.teacher, held_out, pairs)
    return Line(index, models.run.name, list(range(len(pairs))), cosines)
