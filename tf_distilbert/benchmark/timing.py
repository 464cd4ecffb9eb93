"""Competitors timed in turns, so that a noisy minute of the machine falls on all of them.

All that fit into memory are built, warmed up and then run round by round, one at a time. Where not
all fit, they are timed in groups, and one of them, the anchor, is timed again in each: what is
compared with it is compared within a group.
"""

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from tf_distilbert.benchmark.worker import (
    Competitor,
    WorkerFailure,
    WorkerProcess,
    available_memory,
)

# A new process starts only where so many times the largest so far is free: it will take as much
# itself, those that wait hold less than they will need in their turns, and others work here, too.
_HEADROOM = 2.0


@dataclass
class Measurement:
    """What was found out about one competitor.

    Attributes:
        name: the competitor's.
        rounds: of each case the seconds of the calls of each round.
        first_value: what the first call of the first case gave, e.g. a loss.
        peak_bytes: memory of its process.
        failure: why there is no more, if it failed.
        baselines: the anchor's rounds in the group of this one.
    """

    name: str
    rounds: dict[str, list[list[float]]] = field(default_factory=dict)
    first_value: Any = None
    peak_bytes: int | None = None
    failure: str | None = None
    baselines: dict[str, list[list[float]]] = field(default_factory=dict)

    def quartiles(self, case: str) -> tuple[float, float, float] | None:
        """Give first quartile, median and third quartile of the seconds of a call."""
        return quartiles(self.rounds.get(case, []))

    def ratio(self, case: str) -> float | None:
        """How many times faster than the anchor in the same group."""
        own, anchor = self.quartiles(case), quartiles(self.baselines.get(case, []))
        return anchor[1] / own[1] if own and anchor else None


def quartiles(rounds: list[list[float]]) -> tuple[float, float, float] | None:
    """Give the quartiles of all seconds of all rounds; None if there are none."""
    seconds = [one for turn in rounds for one in turn]
    if len(seconds) < 2:
        return (seconds[0],) * 3 if seconds else None
    first, median, third = statistics.quantiles(seconds, n=4, method="inclusive")
    return first, median, third


def measure(
    competitors: Sequence[Competitor],
    rounds: int,
    *,
    warm_up: int = 2,
    calls: int = 1,
    at_least_seconds: float = 0.0,
    anchor: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Measurement]:
    """Time all competitors.

    Args:
        competitors: in the order of the table.
        rounds: how often each has its turn with each case.
        warm_up: calls before the first round, which do not count.
        calls: the fewest calls of a turn.
        at_least_seconds: how long a turn lasts at least.
        anchor: the name of the one that takes part in every group, if it is among them.
        say: takes lines on what goes on.

    Returns:
        One measurement for each, in order.
    """
    measurements = {c.name: Measurement(c.name) for c in competitors}
    waiting = sorted(competitors, key=lambda c: c.name != anchor)
    turn = {"calls": calls, "at_least_seconds": at_least_seconds}
    with ExitStack() as anchor_stack:
        kept: dict[str, WorkerProcess] = {}
        while waiting:
            with ExitStack() as stack:
                group = dict(kept)
                while waiting and (len(group) == len(kept) or _another_fits(measurements)):
                    competitor = waiting.pop(0)
                    say(f"{competitor.name}: starts and warms up")
                    owner = anchor_stack if competitor.name == anchor else stack
                    worker = _start(competitor, measurements[competitor.name], warm_up, owner)
                    if worker:
                        group[competitor.name] = worker
                if waiting:
                    say(f"memory is full: {len(waiting)} more in the next group")
                _run_rounds(group, measurements, rounds, turn, anchor, say)
            kept = {name: worker for name, worker in group.items() if name == anchor}
    return list(measurements.values())


def _another_fits(measurements: dict[str, Measurement]) -> bool:
    free, largest = available_memory(), max(m.peak_bytes or 0 for m in measurements.values())
    return free is None or free > _HEADROOM * largest


def _start(
    competitor: Competitor, measurement: Measurement, warm_up: int, stack: ExitStack
) -> WorkerProcess | None:
    try:
        worker = stack.enter_context(WorkerProcess(competitor))
        for case in worker.cases:
            for _ in range(warm_up):
                result = worker.run(case)
                measurement.peak_bytes = result["peak_bytes"]
                if measurement.first_value is None:
                    measurement.first_value = result["value"]
    except WorkerFailure as failure:
        measurement.failure = str(failure)
        return None
    return worker


def _run_rounds(
    group: dict[str, WorkerProcess],
    measurements: dict[str, Measurement],
    rounds: int,
    turn: dict[str, Any],
    anchor: str | None,
    say: Callable[[str], None],
) -> None:
    """Let each have its turns, and note what the anchor took beside them."""
    found: dict[str, dict[str, list[list[float]]]] = {name: {} for name in group}
    cases = list(dict.fromkeys(case for worker in group.values() for case in worker.cases))
    for case in cases:
        for i in range(rounds):
            say(f"{case}: round {i + 1} of {rounds}")
            # To and fro, so that nobody always comes after the same neighbour.
            for name in list(group)[:: 1 if i % 2 == 0 else -1]:
                worker, measurement = group[name], measurements[name]
                if case not in worker.cases or measurement.failure:
                    continue
                try:
                    result = worker.run(case, **turn)
                except WorkerFailure as failure:
                    measurement.failure = str(failure)
                    continue
                found[name].setdefault(case, []).append(result["seconds"])
                measurement.peak_bytes = result["peak_bytes"]
    of_anchor = found.get(anchor, {}) if anchor else {}
    for name, own in found.items():
        measurement = measurements[name]
        for case, seconds in own.items():
            measurement.rounds.setdefault(case, []).extend(seconds)
        # The anchor itself has rounds in every group; beside itself it is neither fast nor slow.
        measurement.baselines = measurement.rounds if name == anchor else of_anchor
