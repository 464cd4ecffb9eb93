"""What a student keeps on tasks, and what each part of the recipe is worth, if it was measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.retention_table import footnote, retention_figure, share
from tf_distilbert.json_file import read_json
from tf_distilbert.report.picture import as_inline_svg, style
from tf_distilbert.report.table import Table

FILE = "retention.json"
_WHOLE = "triple loss"  # as `finetuning.trials` names it


@dataclass(frozen=True)
class RetentionSection:
    """One retention output.

    Attributes:
        folder: where it is.
        picture: medians and spreads, SVG.
        tables: scores, shares, and of an ablation differences.
        note: what the tables leave out, and why.
    """

    folder: Path
    picture: str
    tables: Sequence[Table]
    note: str | None


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
        tables, note = _tables(summary), footnote(summary)
        with style():
            picture = as_inline_svg(retention_figure(summary), _in_words(summary), key)
    except (KeyError, TypeError, AttributeError, StopIteration):
        raise UserError(f"{folder / FILE}: is not what `retention` writes; make it again") from None
    return RetentionSection(folder, picture, tables, note)


def _tables(summary: dict[str, Any]) -> list[Table]:
    models, teacher = summary["models"], summary["teacher"]
    tasks = list(models[teacher]["tasks"])
    seeds = len(next(iter(models[teacher]["tasks"].values()))["scores"])
    scores = [
        (
            name,
            [f"{model['macro_score']:.1f}"]
            + [
                f"{t['median']:.1f} ({t['lowest']:.1f} to {t['highest']:.1f})"
                for t in model["tasks"].values()
            ],
        )
        for name, model in models.items()
    ]
    others = {name: model for name, model in models.items() if name != teacher}
    shares = [
        (name, [share(model["retention"]), *(share(t["retention"]) for t in _of(model))])
        for name, model in others.items()
    ]
    caption = f"Median of {seeds} seed{'s' * (seeds > 1)}, lowest and highest, in percent"
    tables = [
        Table(caption, ["model", "all", *tasks], scores),
        Table(f"Share of the score of {teacher}", ["model", "all", *tasks], shares),
    ]
    if _WHOLE in models:
        base = models[_WHOLE]["macro_score"]
        rows = [
            (name, [f"{model['macro_score']:.2f}", f"{model['macro_score'] - base:+.2f}"])
            for name, model in others.items()
            if name not in (_WHOLE, "student")
        ]
        columns = ["variant", "score", "difference"]
        tables.append(Table(f"Ablation: difference of the score to {_WHOLE}", columns, rows))
    return tables


def _of(model: dict[str, Any]) -> list[dict[str, Any]]:
    return list(model["tasks"].values())


def _in_words(summary: dict[str, Any]) -> str:
    scores = [f"{name} {model['macro_score']:.1f}" for name, model in summary["models"].items()]
    return f"Scores on all tasks, in percent: {', '.join(scores)}. The table has each task's."
