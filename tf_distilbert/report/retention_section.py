"""What a student keeps on tasks, and what each part of the recipe is worth, if it was measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.retention_picture import retention_figure
from tf_distilbert.finetuning.retention_table import (
    LEGEND,
    Rows,
    difference_table,
    footnote,
    score_table,
    share_table,
    spread_caption,
)
from tf_distilbert.finetuning.variants import whole_variant
from tf_distilbert.json_file import read_json
from tf_distilbert.report.picture import as_inline_svg, style
from tf_distilbert.report.table import Table

FILE = "retention.json"


@dataclass(frozen=True)
class RetentionSection:
    """One retention output.

    Attributes:
        folder: where it is.
        picture: scores against latencies, medians and spreads, SVG.
        tables: scores with sizes and latencies, shares, and of an ablation differences.
        notes: what stands in the tables, and what they leave out, and why.
    """

    folder: Path
    picture: str
    tables: Sequence[Table]
    notes: Sequence[str]


def find_retention(folder: Path) -> Path | None:
    """Find the retention output that belongs to a run: in its folder, or that which it is part of.

    Args:
        folder: a run directory or a retention output.
    """
    places = [folder, folder / "retention"]
    if folder.absolute().parent.name == "students":  # a variant of an ablation
        places.append(folder.absolute().parent.parent)
    return next((place for place in places if (place / FILE).exists()), None)


def retention_section(folder: Path, key: str) -> RetentionSection:
    """Read a retention output.

    Args:
        folder: that `retention.json` is in.
        key: of the picture.

    Raises:
        UserError: the file is broken.
    """
    summary = read_json(folder / FILE)
    try:
        tables, notes = _tables(summary), [LEGEND, *filter(None, [footnote(summary)])]
        with style():
            picture = as_inline_svg(retention_figure(summary), _in_words(summary), key)
    except (KeyError, TypeError, AttributeError, StopIteration):
        raise UserError(f"{folder / FILE}: is not what `retention` writes; make it again") from None
    return RetentionSection(folder, picture, tables, notes)


def _tables(summary: dict[str, Any]) -> list[Table]:
    tables = [
        _table(spread_caption(summary), score_table(summary)),
        _table(f"Share of the score of {summary['teacher']}", share_table(summary)),
    ]
    whole = whole_variant(summary["models"])
    if whole:
        caption = f"Ablation: difference of the score to {whole}"
        tables.append(_table(caption, difference_table(summary, whole)))
    return tables


def _table(caption: str, found: Rows) -> Table:
    return Table(caption, found.columns, list(found.rows.items()))


def _in_words(summary: dict[str, Any]) -> str:
    scores = [f"{name} {_figures(model)}" for name, model in summary["models"].items()]
    return f"Scores on all tasks, in percent: {', '.join(scores)}. The table has each task's."


def _figures(model: dict[str, Any]) -> str:
    time = model.get("text_milliseconds")
    return f"{model['macro_score']:.1f}" + (f" at {time:.1f} ms a text" if time else "")
