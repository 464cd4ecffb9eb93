"""The table of faults tried and losses suffered."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Row:
    """One kind of fault.

    Attributes:
        fault: what was done.
        tried: how often.
        losses: runs that did not end as they would have without.
        remark: what is worth knowing.
        found: all that was not as it should be.
    """

    fault: str
    tried: int = 0
    losses: int = 0
    remark: str = ""
    found: list[str] = field(default_factory=list)

    def count(self, wrong: Sequence[str], times: int = 1) -> None:
        """Count a run, and what was wrong with it."""
        self.tried += times
        self.losses += bool(wrong)
        self.found += wrong
        for each in wrong:
            self.note(f"LOSS: {each}")

    def note(self, text: str) -> None:
        """Say how far it is."""
        print(f"{self.fault}: {text}", file=sys.stderr, flush=True)


def table(rows: Sequence[Row]) -> str:
    """Write the rows as Markdown."""
    lines = ["| fault | times tried | losses | remark |", "|---|---:|---:|---|"]
    for row in rows:
        remark = "; ".join([*([row.remark] if row.remark else []), *row.found]).replace("|", "/")
        lines.append(f"| {row.fault} | {row.tried} | {row.losses} | {remark} |")
    tried, losses = sum(row.tried for row in rows), sum(row.losses for row in rows)
    return "\n".join([*lines, f"| all | {tried} | {losses} | |"])
