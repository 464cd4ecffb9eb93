"""The retention table as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_distilbert.errors import UserError

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
