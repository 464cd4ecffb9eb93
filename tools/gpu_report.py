"""What was measured on a GPU, as entries of a JSON file and as tables."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from tf_distilbert.benchmark.report import memory_text, number_text, seconds_text
from tf_distilbert.benchmark.timing import Measurement
from tf_distilbert.benchmark.worker import Competitor

Entry = dict[str, Any]

_COLUMNS = ("a step (quartiles)", "tokens/s", "x eager", "x compiled", "of peak", "memory")
_RIVALS = ("eager", "compiled")
_WIDTH = 120


def entries(
    group: Sequence[Competitor], measurements: Sequence[Measurement], peak: float | None
) -> list[Entry]:
    """Say what is known of the competitors of one group.

    Args:
        group: the competitors.
        measurements: of each, in order.
        peak: floating-point operations a second.
    """
    found = [
        _entry(competitor, measurement, peak)
        for competitor, measurement in zip(group, measurements, strict=True)
    ]
    medians = {e["name"].rpartition("/")[2]: e["quartiles"] and e["quartiles"][1] for e in found}
    for entry in found:
        for rival in _RIVALS:
            own, other = entry["quartiles"], medians.get(f"pytorch-{rival}")
            entry[f"times_{rival}"] = other / own[1] if own and other else None
    return found


def print_group(name: str, group: Sequence[Entry]) -> None:
    """Print the table of a group, and why some of it is missing."""
    console = _console()
    table = Table(title=name, title_justify="left")
    table.add_column("competitor", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for entry in group:
        share = entry["share_of_matrix_peak"]
        table.add_row(
            entry["name"].rpartition("/")[2],
            seconds_text(entry["quartiles"]),
            number_text(entry["tokens_per_second"]),
            *(number_text(entry[f"times_{rival}"]) for rival in _RIVALS),
            number_text(100 * share if share else None, " %"),
            memory_text(entry["device_peak_bytes"]),
        )
    console.print(table)
    for entry in group:
        if entry["failure"]:
            line = f"{entry['name']}: {entry['failure']}"
            console.print(line, markup=False, soft_wrap=True)


def print_machine(result: dict[str, Any]) -> None:
    """Print what all tables have in common."""
    engines, versions = result["engines"], result["machine"]["versions"]
    devices = {engine["device"] for engine in engines.values() if "device" in engine}
    named = [f"{name} {versions[name]}" for name in ("jax", "keras", "torch") if versions[name]]
    peaks = [
        f"{name} {engine['flops_per_second'] / 1e12:,.3g}"
        for name, engine in engines.items()
        if engine["flops_per_second"]
    ]
    fused = engines.get("jax", {}).get("fused_attention", "unknown")
    console = _console()
    for line in (
        f"{' / '.join(sorted(devices)) or 'device unknown'}; {', '.join(named)}",
        f"bfloat16 matrix peak in TFLOP/s: {', '.join(peaks) or 'unknown'}",
        f"fused attention of cuDNN in ours, where nothing is dropped in it: {fused}",
        *(f"matrix peak, {n}: {e['failure']}" for n, e in engines.items() if e["failure"]),
    ):
        console.print(line, markup=False, soft_wrap=True)


def _entry(competitor: Competitor, measurement: Measurement, peak: float | None) -> Entry:
    steps = competitor.arguments["steps"]
    quartiles = measurement.quartiles("steps")
    quartiles = quartiles and [seconds / steps for seconds in quartiles]
    values = measurement.first_value or {}
    rate = quartiles and 1 / quartiles[1]
    return {
        "name": competitor.name,
        **competitor.facts,
        "quartiles": quartiles,
        "tokens_per_second": rate and competitor.facts["tokens"] * rate,
        "share_of_matrix_peak": rate and peak and competitor.facts["flops"] * rate / peak,
        "device_peak_bytes": values.get("device_peak_bytes"),
        "host_peak_bytes": measurement.peak_bytes,
        "first_loss": values.get("first_loss"),
        "last_loss": values.get("last_loss"),
        "seconds": [one / steps for turn in measurement.rounds.get("steps", []) for one in turn],
        "failure": measurement.failure,
    }


def _console() -> Console:
    console = Console(highlight=False)
    # In a file or a pipe nothing tells a width; the tables need this one.
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)
