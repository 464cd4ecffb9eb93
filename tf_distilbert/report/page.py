"""The page: what is in it, and the HTML of it, in one file that needs nothing else."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.retention_picture import INSTALL_HINT
from tf_distilbert.report.examples import Example
from tf_distilbert.report.retention_section import RetentionSection
from tf_distilbert.report.table import Table
from tf_distilbert.version import __version__


@dataclass(frozen=True)
class Plot:
    """A picture with the values that it shows.

    Attributes:
        title: its heading.
        picture: SVG with a description.
        table: the values.
    """

    title: str
    picture: str
    table: Table


@dataclass
class Page:
    """Everything that a report says; what is empty is not shown.

    Attributes:
        title: of the page.
        settings: name of a run to its whole configuration, in YAML.
        summary: what each run is.
        side_by_side: of several runs, what differs between them and what came of it.
        notes: name of a run to what is missing and why.
        measurements: student against teacher, of all runs.
        measured_on: how many held-out sequences quality was measured on, by run.
        curves: of the log.
        curves_key: what a line looks like, and what it is.
        layers: cosines of hidden states.
        layers_key: as that of the curves.
        searches: of each run that searched for layers to begin from, what it tried.
        examples: masked sentences.
        retention: tables of tasks.
    """

    title: str
    settings: dict[str, str]
    summary: Table | None = None
    side_by_side: Table | None = None
    curves: Sequence[Plot] = ()
    curves_key: Sequence[tuple[str, str]] = ()
    notes: dict[str, Sequence[str]] = field(default_factory=dict)
    measurements: Table | None = None
    measured_on: dict[str, int] = field(default_factory=dict)
    layers: Plot | None = None
    layers_key: Sequence[tuple[str, str]] = ()
    searches: Sequence[Table] = ()
    examples: list[Example] = field(default_factory=list)
    retention: list[RetentionSection] = field(default_factory=list)


def check_packages() -> None:
    """See that a page can be made, before anything takes time.

    Raises:
        UserError: a package is not installed.
    """
    for name in ("matplotlib", "jinja2"):
        if importlib.util.find_spec(name) is None:
            raise UserError(f"a report needs {name}: {INSTALL_HINT}")


def render(page: Page) -> str:
    """Write a page as HTML; all text is escaped, but the pictures, which are SVG."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tf_distilbert.report", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    style = files("tf_distilbert.report").joinpath("style.css").read_text("utf-8")
    template = environment.get_template("page.html")
    return template.render(page=page, style=style, version=__version__)
