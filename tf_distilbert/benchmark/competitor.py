"""Who takes part in a benchmark, who would if a package were installed, and who is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from tf_distilbert.errors import UserError

INSTALL_HINT = "pip install 'tf_distilbert[benchmark]'"


@dataclass(frozen=True)
class Competitor:
    """One line of the table.

    Attributes:
        name: what ``--only`` calls it.
        workload: ``module:function`` below `tf_distilbert.benchmark`; called in a process of its
            own, it gives the cases to be timed: name to a function without arguments.
        arguments: of that function; JSON can write them.
        needs: packages that it imports and that may be missing.
        facts: what the table and the JSON file say of it besides what is measured.
        environment: variables of that process.
        log: file to which what that process prints is added; nowhere by default.
    """

    name: str
    workload: str
    arguments: dict[str, Any]
    needs: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    log: str | None = None

    @property
    def missing(self) -> list[str]:
        """The packages that are needed and not installed."""
        return [package for package in self.needs if find_spec(package) is None]


def choose(
    competitors: Sequence[Competitor], only: Sequence[str] | None = None
) -> tuple[list[Competitor], dict[str, str]]:
    """Find out who takes part.

    Args:
        competitors: all that there are.
        only: names; all by default.

    Returns:
        Those who can, and of the others name to reason.

    Raises:
        UserError: a name is unknown, or one that was asked for lacks a package.
    """
    names = [competitor.name for competitor in competitors]
    unknown = [name for name in only or () if name not in names]
    if unknown:
        raise UserError(f"--only {unknown[0]}: no such competitor; use {', '.join(names)}")
    chosen = [c for c in competitors if not only or c.name in only]
    reasons = {
        c.name: f"{' and '.join(c.missing)} not installed; {INSTALL_HINT}"
        for c in chosen
        if c.missing
    }
    if only and reasons:
        name, reason = next(iter(reasons.items()))
        raise UserError(f"--only {name}: {reason}")
    return [c for c in chosen if c.name not in reasons], reasons
