"""The picture of a retention: quality against latency, and below it every task with its spread."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tf_distilbert.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INSTALL_HINT = "pip install 'tf_distilbert[report]'"

# In points: the marker's area of the largest model, the least that is seen, what lies between a
# marker and its label, and how much further a label may move to find room.
_LARGEST_AREA, _LEAST_AREA, _GAP, _FURTHER = 500.0, 15.0, 3.0, (0.0, 14.0, 28.0, 42.0, 56.0)
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


class Box(NamedTuple):
    """A rectangle: its centre, and half of its width and height, all in the same unit."""

    x: float
    y: float
    half_width: float
    half_height: float

    def overlap(self, other: "Box") -> float:
        """Give the area that two rectangles have in common."""
        width = _common(self.x, self.half_width, other.x, other.half_width)
        return width * _common(self.y, self.half_height, other.y, other.half_height)


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
    """Draw each model's score against its latency, and each task's median with its spread.

    Args:
        summary: from `summarise`.
        path: of the picture; its ending says which kind.
    """
    retention_figure(summary).savefig(path, dpi=150)


def retention_figure(summary: Mapping[str, Any]) -> "Figure":
    """Give the picture, not yet drawn, in the colours that matplotlib is set to.

    Without latencies, which a summary of an earlier version lacks, it has the tasks alone.

    Args:
        summary: from `summarise`.
    """
    from matplotlib.figure import Figure

    models = summary["models"]
    timed = all(m.get("text_milliseconds") and m.get("bytes") for m in models.values())
    columns = 1 if len(models) <= 6 else 2
    legend = 0.25 * -(-len(models) // columns)
    heights = [4.5, 3.0] if timed else [3.0]
    width = max(7.5, 3 + 1.2 * len(models[summary["teacher"]]["tasks"]))
    figure = Figure(figsize=(width, sum(heights) + legend + 0.5), layout="constrained")
    *first, below = figure.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0]
    _draw_tasks(below, summary)
    figure.legend(loc="outside lower center", frameon=False, ncols=columns)
    for axes in first:
        _draw_costs(figure, axes, models)
    return figure


def place_labels(
    markers: Sequence[Box], sizes: Sequence[tuple[float, float]], area: Box
) -> list[Box]:
    """Find for each marker a place for its label that nothing else covers, as near as there is.

    Args:
        markers: where they are.
        sizes: width and height of each one's label.
        area: where labels may be.

    Returns:
        The labels. One that finds no free place is where it covers least.
    """
    labels: list[Box] = []
    for marker, (width, height) in zip(markers, sizes, strict=True):
        places = []
        for further, (right, up) in product(_FURTHER, _DIRECTIONS):
            x = marker.half_width + _GAP + further + width / 2
            y = marker.half_height + _GAP + further + height / 2
            place = Box(marker.x + right * x, marker.y + up * y, width / 2, height / 2)
            outside = width * height - place.overlap(area)
            covered = sum(place.overlap(other) for other in (*labels, *markers))
            places.append((round(outside + covered, 6), place))
        labels.append(min(places, key=lambda found: found[0])[1])  # the first of equal ones
    return labels


def _draw_costs(figure: "Figure", axes: "Axes", models: Mapping[str, Any]) -> None:
    """Draw scores against latencies; a marker's area is the size on the disk."""
    largest = max(model["bytes"] for model in models.values())
    points = [(m["text_milliseconds"], m["macro_score"]) for m in models.values()]
    areas = [max(_LEAST_AREA, _LARGEST_AREA * m["bytes"] / largest) for m in models.values()]
    for i, ((x, y), marker_area) in enumerate(zip(points, areas, strict=True)):
        axes.scatter(x, y, marker_area, color=f"C{i}", linewidths=0)
    # From 0 on, so that half the way is twice as fast.
    axes.set_xlim(0, 1.15 * max(x for x, _ in points))
    lowest, highest = min(y for _, y in points), max(y for _, y in points)
    room = max(1.0, 0.2 * (highest - lowest))  # what is within a point looks alike
    axes.set_ylim(lowest - room, highest + room)
    axes.set_xlabel("ms for one text, from the string to the logits")
    axes.set_ylabel("score (%)")
    axes.spines[["top", "right"]].set_visible(False)
    texts = [f"{row}, {model['bytes'] / 1e6:.1f} MB" for row, model in models.items()]
    _label(figure, axes, points, [area**0.5 / 2 for area in areas], texts)


def _label(
    figure: "Figure",
    axes: "Axes",
    points: Sequence[tuple[float, float]],
    radii: Sequence[float],
    texts: Sequence[str],
) -> None:
    """Write a text beside each point, whose marker has a radius in points of the page."""
    from matplotlib import rcParams
    from matplotlib.text import Text

    line = {"arrowstyle": "-", "linewidth": 0.5, "shrinkA": 0, "color": rcParams["text.color"]}
    labels = [
        axes.annotate(
            text,
            point,
            xytext=(0, 0),
            textcoords="offset points",
            arrowprops={**line, "shrinkB": radius},
            size="small",
            ha="center",
            va="center",
            in_layout=False,
        )
        for text, point, radius in zip(texts, points, radii, strict=True)
    ]
    figure.draw_without_rendering()  # after which it is known where everything is
    scale = 72 / figure.dpi  # from pixels to points of the page
    centres = scale * axes.transData.transform(points)
    markers = [Box(x, y, r, r) for (x, y), r in zip(centres, radii, strict=True)]
    extents = [Text.get_window_extent(label) for label in labels]
    sizes = [(scale * extent.width, scale * extent.height) for extent in extents]
    inside = axes.get_window_extent()
    middle = scale * (inside.x0 + inside.x1) / 2, scale * (inside.y0 + inside.y1) / 2
    area = Box(*middle, scale * inside.width / 2, scale * inside.height / 2)
    places = place_labels(markers, sizes, area)
    for label, marker, place in zip(labels, markers, places, strict=True):
        label.set_position((place.x - marker.x, place.y - marker.y))


def _draw_tasks(axes: "Axes", summary: Mapping[str, Any]) -> None:
    """Draw a bar for each model and task, and the spread of its seeds."""
    from matplotlib import rcParams

    models, colors = summary["models"], len(rcParams["axes.prop_cycle"])
    tasks = list(models[summary["teacher"]]["tasks"])
    names = ["score", *tasks]
    width = 0.8 / len(models)
    for i, (name, model) in enumerate(models.items()):
        of_tasks = [model["tasks"][task] for task in tasks]
        heights = [model["macro_score"], *(found["median"] for found in of_tasks)]
        below = [0.0, *(found["median"] - found["lowest"] for found in of_tasks)]
        above = [0.0, *(found["highest"] - found["median"] for found in of_tasks)]
        places = [place + (i - (len(models) - 1) / 2) * width for place in range(len(names))]
        spread = {"yerr": (below, above), "ecolor": rcParams["text.color"], "capsize": 2}
        hatch = "///" if i >= colors else ""  # of the next round of colours
        look = {"color": f"C{i}", "hatch": hatch, "edgecolor": rcParams["axes.facecolor"]}
        axes.bar(places, heights, width, label=name, linewidth=0, **look, **spread)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("median, lowest and highest (%)")
    axes.spines[["top", "right"]].set_visible(False)


def _common(a: float, half_a: float, b: float, half_b: float) -> float:
    return max(0.0, min(a + half_a, b + half_b) - max(a - half_a, b - half_b))
