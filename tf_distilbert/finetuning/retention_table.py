"""The paper's table 1 for any teacher, students and exports: scores, shares, sizes, latencies."""

from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import fmean, median
from typing import Any, NamedTuple

from tf_distilbert.finetuning.baseline import Baseline
from tf_distilbert.finetuning.model_facts import LENGTH

Scores = Mapping[str, Mapping[str, Sequence[float]]]


class Rows(NamedTuple):
    """A table as text.

    Attributes:
        columns: headings, that of the row headings first.
        rows: heading to cells.
    """

    columns: Sequence[str]
    rows: Mapping[str, Sequence[str]]


NO_SHARE = "-"
"""Stands where a share would say nothing; see `footnote`."""

_NOTHING = Baseline(0.0, 0.0)


def summarise(
    scores: Scores,
    facts: Mapping[str, Mapping[str, Any]],
    baselines: Mapping[str, Baseline] | None = None,
    zero_shot: Collection[str] = (),
) -> dict[str, Any]:
    """Compute medians, macro scores and retentions.

    Args:
        scores: row to task to the score of each seed; the teacher first.
        facts: row to ``parameters`` and ``milliseconds``, see `measure_models`, ``bytes`` and
            ``text_milliseconds``, see `measure_costs`, and ``held_out``, see `held_out_metrics`.
        baselines: task to what is scored without any model; by default 0.
        zero_shot: the tasks on which nothing was fine-tuned, of one score each.

    Returns:
        ``models``: for each its ``tasks`` (``median``, ``lowest``, ``highest``, ``scores``,
        ``retention``: the median by the teacher's; None where the teacher's is not clearly above
        the baseline), the ``macro_score`` (mean of the medians), its ``retention`` (the same, of
        the tasks that have one) and the facts; ``baselines`` and ``zero_shot``, if they were given.
        Scores are in percent.
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
    if zero_shot:
        summary["zero_shot"] = list(zero_shot)
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
        'compared with. The columns "share" and "all" leave such tasks out.'
    )


def share(value: float | None) -> str:
    """Write a share in percent.

    Example:
        >>> share(0.875), share(None)
        ('87.5 %', '-')
    """
    return NO_SHARE if value is None else f"{100 * value:.1f} %"


_FACTS: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "parameters": ("parameters", lambda number: f"{number / 1e6:.1f} M"),
    "bytes": ("MB", lambda size: f"{size / 1e6:.1f}"),
    "text_milliseconds": ("ms a text", lambda time: f"{time:.1f}"),
}
"""Fact to its column's heading, and how it is written."""

LEGEND = (
    "The score is the mean of the tasks' medians, the share that of the teacher's; MB are those of "
    f"the weights on the disk, ms those of one text of {LENGTH} tokens, from the string to the "
    "logits."
)
"""What stands in `score_table`."""


def spread_caption(summary: Mapping[str, Any]) -> str:
    """Say what the cells of the tasks hold.

    Args:
        summary: from `summarise`.
    """
    tasks, zero_shot = summary["models"][summary["teacher"]]["tasks"], _zero_shot(summary)
    tuned = [len(found["scores"]) for task, found in tasks.items() if task not in zero_shot]
    if not tuned:
        return "Without fine-tuning, in percent"
    seeds = f"{tuned[0]} seed{'s' * (tuned[0] > 1)}"
    others = f"; {', '.join(zero_shot)} without fine-tuning" if zero_shot else ""
    return f"Median of {seeds}, lowest and highest, in percent{others}"


def score_table(summary: Mapping[str, Any]) -> Rows:
    """Put what decides side by side: size, latency, score, share, and each task with its spread.

    A fact that no model has makes no column.

    Args:
        summary: from `summarise`.
    """
    models, zero_shot = summary["models"], _zero_shot(summary)
    facts = [name for name in _FACTS if any(model.get(name) for model in models.values())]
    titles = [_FACTS[name][0] for name in facts]
    columns = ["model", *titles, "score", "share", *models[summary["teacher"]]["tasks"]]
    rows = {
        row: [
            *(_FACTS[name][1](model[name]) if model.get(name) else "" for name in facts),
            f"{model['macro_score']:.1f}",
            share(model["retention"]),
            *(_spread(found, task in zero_shot) for task, found in model["tasks"].items()),
        ]
        for row, model in models.items()
    }
    return Rows(columns, rows)


def share_table(summary: Mapping[str, Any]) -> Rows:
    """Give each student's shares of the teacher's scores.

    Args:
        summary: from `summarise`.
    """
    columns = ["model", "all", *summary["models"][summary["teacher"]]["tasks"]]
    rows = {
        row: [share(model["retention"]), *(share(t["retention"]) for t in model["tasks"].values())]
        for row, model in _students(summary).items()
    }
    return Rows(columns, rows)


def difference_table(summary: Mapping[str, Any], to: str) -> Rows:
    """Give each student's difference of the score to that of one of them.

    Args:
        summary: from `summarise`.
        to: its row.

    Source: Sanh et al. 2019, table 4.
    """
    base = summary["models"][to]["macro_score"]
    rows = {
        row: [f"{model['macro_score']:.2f}", f"{model['macro_score'] - base:+.2f}"]
        for row, model in _students(summary).items()
    }
    return Rows(["variant", "score", "difference"], rows)


def held_out_table(summary: Mapping[str, Any]) -> Rows:
    """Give what the models' own runs measured on held-out text, of those that have any.

    Args:
        summary: from `summarise`.
    """
    found = {
        row: model["held_out"] for row, model in summary["models"].items() if model.get("held_out")
    }
    names = list(dict.fromkeys(name for metrics in found.values() for name in metrics))
    rows = {
        row: [f"{metrics[name]:.4f}" if name in metrics else "" for name in names]
        for row, metrics in found.items()
    }
    return Rows(["model", *(name.replace("_", " ") for name in names)], rows)


def as_markdown(summary: Mapping[str, Any], differences_to: str | None = None) -> str:
    """Write a summary as tables: scores with their spread, then what is retained.

    Args:
        summary: from `summarise`.
        differences_to: a model; adds each macro score's difference to its, as the paper's table 4
            has them.
    """
    lines = [f"{spread_caption(summary)}. {LEGEND}", "", *_lines(score_table(summary))]
    lines += ["", f"Share of the score of {summary['teacher']}:", "", *_lines(share_table(summary))]
    if note := footnote(summary):
        lines += ["", note]
    if differences_to:
        table = difference_table(summary, differences_to)
        lines += ["", f"Difference of the score to that of {differences_to}:", "", *_lines(table)]
    held_out = held_out_table(summary)
    if held_out.rows:
        caption = "On held-out text, as the runs that made them measured:"
        lines += ["", caption, "", *_lines(held_out)]
    return "\n".join(lines) + "\n"


def _students(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {row: m for row, m in summary["models"].items() if row != summary["teacher"]}


def _zero_shot(summary: Mapping[str, Any]) -> Sequence[str]:
    return summary.get("zero_shot", ())


def _spread(task: Mapping[str, Any], alone: bool) -> str:
    if alone:
        return f"{task['median']:.1f}"
    return f"{task['median']:.1f} ({task['lowest']:.1f} to {task['highest']:.1f})"


def _lines(table: Rows) -> list[str]:
    rows = [table.columns, ["---"] * len(table.columns)]
    rows += [[name, *cells] for name, cells in table.rows.items()]
    return [f"| {' | '.join(cells)} |" for cells in rows]
