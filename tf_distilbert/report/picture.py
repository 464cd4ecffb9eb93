"""Pictures drawn by matplotlib, as SVG that stands in a page and takes its colours.

matplotlib is given colours that stand for roles; in the SVG they become the page's variables, so
that one picture is right in light and dark.
"""

import io
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from tf_distilbert.report.curves import Curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_COLORS = 8
"""Series that have a colour of their own; the next ones begin anew with other markers."""

MARKERS = "os^DvPX"

_TEXT, _LINES = "#010203", "#040506"
_SERIES = [f"#0a0b{i:02x}" for i in range(NUM_COLORS)]
_MEANING = {
    _TEXT: "currentColor",
    _LINES: "var(--lines)",
    **{color: f"var(--series-{i + 1})" for i, color in enumerate(_SERIES)},
}
_STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "tf_distilbert",  # the same picture has the same bytes
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.8,
    "axes.edgecolor": _LINES,
    "grid.color": _LINES,
    "xtick.color": _LINES,
    "ytick.color": _LINES,
    "xtick.labelcolor": _TEXT,
    "ytick.labelcolor": _TEXT,
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
}


def draw_curve(curve: Curve) -> str:
    """Draw a curve; see `as_inline_svg`."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.subplots()
        for line in curve.lines:
            every = max(1, len(line.steps) // 8)
            look = _look(line.run, line.kind)
            axes.plot(line.steps, line.values, markevery=every, **look)
        axes.set_xlabel(curve.x_name)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.6g}"))
        return as_inline_svg(figure, curve.description, curve.name)


def draw_key(place: str, run: int | None, kind: str = "training") -> str:
    """Draw what a line looks like, for a key that names it beside.

    Args:
        place: where in the page the key stands.
        run: its number; None for a line of any run.
        kind: of the line; see `Line`.
    """
    import matplotlib
    from matplotlib.figure import Figure

    look = _look(run, kind)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(0.55, 0.2))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.plot([0, 1, 2], [0, 0, 0], markevery=[1], **look)
        axes.set_axis_off()
        return as_inline_svg(figure, "", f"key-{place}-{run}-{kind.replace(' ', '-')}")


_LOOKS: dict[str, dict[str, Any]] = {
    "training": {"markersize": 4, "linestyle": "-", "linewidth": 1.5},
    "held out": {"markersize": 6, "linestyle": "--", "linewidth": 2},
    "teacher": {"linestyle": ":", "linewidth": 2},
}


def _look(run: int | None, kind: str) -> dict[str, Any]:
    if run is None:
        return {"color": _TEXT, "marker": "", **_LOOKS[kind]}
    marker = "" if kind == "teacher" else MARKERS[run % len(MARKERS)]
    return {"color": _SERIES[run % NUM_COLORS], "marker": marker, **_LOOKS[kind]}


def style() -> Any:
    """Give a context in which matplotlib's own colours are the page's."""
    import matplotlib
    from matplotlib.rcsetup import cycler

    return matplotlib.rc_context({**_STYLE, "axes.prop_cycle": cycler(color=_SERIES)})


def as_inline_svg(figure: "Figure", description: str, key: str) -> str:
    """Give a figure as an ``<svg>`` element for HTML.

    Args:
        figure: drawn in `style`.
        description: what is read out in its place; of one that says nothing, none.
        key: other than that of all other pictures of the page, as ids must be.
    """
    file = io.BytesIO()
    figure.savefig(file, format="svg", transparent=True)
    root = ElementTree.fromstring(file.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            # Metadata names other sites; the style would hold for the whole page.
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {
            name.rpartition("}")[2]: _for_page(name, value, key)
            for name, value in element.attrib.items()
        }
    size = root.attrib["viewBox"]
    read_out = {"role": "img", "aria-label": description}
    root.attrib = {"viewBox": size, **(read_out if description else {"aria-hidden": "true"})}
    return ElementTree.tostring(root, encoding="unicode")


def _for_page(name: str, value: str, key: str) -> str:
    if name == "id":
        return f"{key}-{value}"
    if name.endswith("href"):
        return value.replace("#", f"#{key}-", 1)
    value = value.replace("url(#", f"url(#{key}-")
    value = re.sub(r"font: ([\d.]+px)[^;]*", r"font-size: \1", value)
    for color, meaning in _MEANING.items():
        value = value.replace(color, meaning)
    return value
