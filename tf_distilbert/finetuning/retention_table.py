"""The paper's table 1 for any teacher and students, and a picture of what is retained."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.baseline import Baseline

Scores = Mapping[str, Mapping[str, Sequence[float]]]


NO_SHARE = "-"
"""Stands where a share would say nothing; see `footnote`."""

_NOTHING = Baseline(0.0, 0.0)


def summarise(
    scores: Scores,
    facts: Mapping[str, Mapping[str, Any]],
    baselines: Mapping[str, Baseline] | None = None,
) -> dict[str, Any]:
    """Compute medians, macro scores and retentions.

    Args:
        scores: model to task to the score of each seed; the teacher first.
        facts: model to ``parameters`` and ``milliseconds``, see `measure_models`, and ``held_out``,
            see `held_out_metrics`.
        baselines: task to what is scored without any model; by default 0.

    Returns:
        ``models``: for each its ``tasks`` (``median``, ``lowest``, ``highest``, ``scores``,
        ``retention``: the median by the teacher's; None where the teacher's is not clearly above
        the baseline), the ``macro_score`` (mean of the medians), its ``retention`` (the same, of
        the tasks that have one) and the facts; ``baselines``, those that were given. Scores are in
        percent.
    """
    known = baselines or {}
    teacher = next(iter(scores))
    medians = {
        model: {task: 100 * median(found) for task, found in tasks.items()}
        for model, tasks in scores.items()
    }
    counted = [
        task
        for task, found in medians[teacher].items()
        if known.get(task, _NOTHING).is_passed_by(found / 100)
    ]
    of_counted = {
        m: fmean(found[t] for t in counted) if counted else 0.0 for m, found in medians.items()
    }
    models = {}
    for model, tasks in scores.items():
        models[model] = {
            **facts.get(model, {}),
            "macro_score": fmean(medians[model].values()),
            "retention": of_counted[model] / of_counted[teacher] if counted else None,
            "tasks": {
                task: {
                    "median": medians[model][task],
                    "lowest": 100 * min(found),
                    "highest": 100 * max(found),
                    "scores": [100 * score for score in found],
                    "retention": (
                        medians[model][task] / medians[teacher][task] if task in counted else None
                    ),
                }
                for task, found in tasks.items()
            },
        }
    summary = {"teacher": teacher, "models": models}
    if known:
        summary["baselines"] = {task: 100 * known[task].score for task in known}
    return summary


def footnote(summary: Mapping[str, Any]) -> str | None:
    """Say what `NO_SHARE` means, if it is in the tables of a summary.

    Args:
        summary: from `summarise`.
    """
    of_tasks = summary["models"][summary["teacher"]]["tasks"]
    missing = [task for task, found in of_tasks.items() if found["retention"] is None]
    if not missing:
        return None
    baselines = summary.get("baselines", {})
    listed = ", ".join(f"{task} {baselines.get(task, 0.0):.1f}" for task in missing)
    return (
        f"There is no share ({NO_SHARE}) where the teacher's score is not clearly above that of "
        f"one same answer for all examples ({listed}): it has learnt too little of the task to be "
        'compared with. The column "all" leaves such tasks out.'
    )


def share(value: float | None) -> str:
    """Write a share in percent.

    Example:
        >>> share(0.875), share(None)
        ('87.5 %', '-')
    """
    return NO_SHARE if value is None else f"{100 * value:.1f} %"


def as_markdown(summary: Mapping[str, Any], differences_to: str | None = None) -> str:
    """Write a summary as tables: scores with their spread, then what is retained.

    Args:
        summary: from `summarise`.
        differences_to: a model; adds each macro score's difference to its, as the paper's table 4
            has them.
    """
    models, teacher = summary["models"], summary["teacher"]
    tasks = list(models[teacher]["tasks"])
    seeds = len(next(iter(models[teacher]["tasks"].values()))["scores"])
    lines = [
        f"Median of {seeds} seed{'s' * (seeds > 1)} (lowest to highest), in percent; the score is "
        "the mean of the tasks' medians.",
        "",
        _row(["model", "parameters", "ms", "score", *tasks]),
        _row(["---"] * (4 + len(tasks))),
    ]
    for name, model in models.items():
        cells = [
            f"{t['median']:.1f} ({t['lowest']:.1f}-{t['highest']:.1f})"
            for t in model["tasks"].values()
        ]
        size, time = model.get("parameters"), model.get("milliseconds")
        facts = [f"{size / 1e6:.1f} M" if size else "", f"{time:.1f}" if time else ""]
        lines.append(_row([name, *facts, f"{model['macro_score']:.1f}", *cells]))
    others = [name for name in models if name != teacher]
    lines += ["", f"Share of the score of {teacher}:", ""]
    lines += [_row(["model", "all", *tasks]), _row(["---"] * (2 + len(tasks)))]
    for name in others:
        model = models[name]
        shares = [model["retention"], *(t["retention"] for t in model["tasks"].values())]
        lines.append(_row([name, *map(share, shares)]))
    if note := footnote(summary):
        lines += ["", note]
    if differences_to:
        lines += ["", f"Difference of the score to that of {differences_to}:", ""]
        lines += [_row(["variant", "score", "difference"]), _row(["---"] * 3)]
        base = models[differences_to]["macro_score"]
        for name in others:
            score = models[name]["macro_score"]
            lines.append(_row([name, f"{score:.2f}", f"{score - base:+.2f}"]))
    lines += _held_out_table({name: model.get("held_out") for name, model in models.items()})
    return "\n".join(lines) + "\n"


def _held_out_table(found: Mapping[str, Mapping[str, float] | None]) -> list[str]:
    names = list(dict.fromkeys(name for metrics in found.values() for name in metrics or ()))
    if not names:
        return []
    rows = [
        _row([model, *(f"{metrics[name]:.4f}" if name in metrics else "" for name in names)])
        for model, metrics in found.items()
        if metrics
    ]
    titles = ["model", *(name.replace("_", " ") for name in names)]
    head = ["", "On held-out text, as the runs that made them measured:", ""]
    return [*head, _row(titles), _row(["---"] * len(titles)), *rows]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if TYPE_CHECKING:
    from matplotlib.figure import Figure

INSTALL_HINT = "pip install 'tf_distilbert[report]'"


def check_matplotlib() -> None:
    """See that pictures can be drawn, before anything takes time.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise UserError(f"the picture needs matplotlib: {INSTALL_HINT}") from None


def draw_retention(summary: Mapping[str, Any], path: Path) -> None:
    """Draw each task's median with its spread for every model.

    Args:
        summary: from `summarise`.
        path: of the picture; its ending says which kind.
    """
    retention_figure(summary).savefig(path, dpi=150)


def retention_figure(summary: Mapping[str, Any]) -> "Figure":
    """Give the picture, not yet drawn, in the colours that matplotlib is set to."""
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    models = summary["models"]
    tasks = list(models[summary["teacher"]]["tasks"])
    names = ["score", *tasks]
    width = 0.8 / len(models)
    size = 3 + 1.2 * len(names), 3.5 + 0.3 * len(models)  # a line of the legend for each model
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    for i, (name, model) in enumerate(models.items()):
        of_tasks = [model["tasks"][task] for task in tasks]
        heights = [model["macro_score"], *(found["median"] for found in of_tasks)]
        below = [0.0, *(found["median"] - found["lowest"] for found in of_tasks)]
        above = [0.0, *(found["highest"] - found["median"] for found in of_tasks)]
        places = [place + (i - (len(models) - 1) / 2) * width for place in range(len(names))]
        spread = {"yerr": (below, above), "ecolor": rcParams["text.color"], "capsize": 2}
        axes.bar(places, heights, width, label=name, **spread)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("median, lowest and highest (%)")
    figure.legend(loc="outside lower center", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
