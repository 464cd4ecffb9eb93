"""Make a report: read the runs, load their models, draw, write one file."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.console.lines import say
from tf_distilbert.errors import UserError
from tf_distilbert.report.curves import Curve, Line, curves_of
from tf_distilbert.report.examples import Examples
from tf_distilbert.report.layers import layer_line, search_table
from tf_distilbert.report.measurements import (
    Measured,
    measure_run,
    measurements_table,
    teachers_of,
)
from tf_distilbert.report.page import Page, Plot, check_packages, render
from tf_distilbert.report.picture import draw_curve, draw_key
from tf_distilbert.report.retention_section import find_retention, retention_section
from tf_distilbert.report.run import Run, name_runs
from tf_distilbert.report.run_models import NO_MODEL, RunModels
from tf_distilbert.report.summary import comparison_table, summary_table


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
        settings={run.name: yaml.safe_dump(run.settings, sort_keys=False) for run in runs},
        searches=list(filter(None, map(search_table, runs))),
    )
    measured = _compare(runs, page, console)
    page.summary = summary_table(runs, measured)
    if len(runs) > 1:
        page.side_by_side = comparison_table(runs, measured)
    if measured:
        page.measurements = measurements_table(measured)
    curves = curves_of(runs, teachers_of(measured))
    page.curves = [_plot(curve) for curve in curves]
    has_teacher = any(line.kind == "teacher" for curve in curves for line in curve.lines)
    page.curves_key = _curves_key(runs, has_teacher)
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


def _compare(runs: Sequence[Run], page: Page, console: Console) -> list[Measured]:
    """Add what the models have to say; one run's are in memory at a time.

    Returns:
        What was measured of each run that has a model.
    """
    measured, examples, lines = list[Measured](), Examples(), list[Line]()
    for index, run in enumerate(runs):
        say(console, f"{run.name}: comparing models ({index + 1} of {len(runs)})")
        models = RunModels.load(run)
        if models is None:
            page.notes[run.name] = [NO_MODEL]
            continue
        measured.append(measure_run(index, models))
        if models.held_out is not None:
            page.measured_on[run.name] = models.held_out.num_sequences
            if models.predicts_words:
                examples.add(models, models.held_out)
            if line := layer_line(index, models, models.held_out):
                lines.append(line)
        if models.notes:
            page.notes[run.name] = models.notes
    page.examples = examples.shown
    if lines:
        page.layers_key = _key("layers", runs)
        page.layers = _plot(Curve("layers", "Cosine with the teacher", lines, "layer"))
    return measured


def _key(place: str, runs: Sequence[Run]) -> list[tuple[str, str]]:
    return [(draw_key(place, i), run.name) for i, run in enumerate(runs)]


def _curves_key(runs: Sequence[Run], has_teacher: bool) -> list[tuple[str, str]]:
    kinds = {"training": "training, mean since the report before", "held out": "held out"}
    if has_teacher:
        kinds["teacher"] = "teacher, on held-out text"
    return _key("curves", runs) + [(draw_key("curves", None, k), v) for k, v in kinds.items()]


def _plot(curve: Curve) -> Plot:
    return Plot(curve.title, draw_curve(curve), curve.table())
