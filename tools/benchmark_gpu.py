"""One update of a distillation on an NVIDIA GPU: ours on JAX beside the recipe in PyTorch.

    python tools/benchmark_gpu.py [--json FILE] [--only NAME ...] [--rounds N] [--tiny]

It needs JAX and Keras, and PyTorch if that is to take part: no TensorFlow, no transformers, and not
this package, which is taken from the checkout. BERT-base to DistilBERT, bfloat16, dropout on, no
padding. Each competitor is a process of its own; those that make the same update are timed in
turns. Not all fits into 8 minutes: those groups that there is no time for are left out, and
``--only '*/masked/*'`` asks for them alone.

Time is that of 20 updates in a row, of which the last alone is waited for. Memory is the most that
the engine had handed out on the device by the end of the first 20, whatever it tried out while it
compiled included.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from gpu_competitors import FULL, TINY, Groups, Sizes, chosen_groups, competitor_groups
from gpu_report import entries, print_group, print_machine

from tf_distilbert.benchmark.flops import IN_A_ROW
from tf_distilbert.benchmark.report import (
    check_json_path,
    describe_machine,
    progress_sayer,
    write_result,
)
from tf_distilbert.benchmark.timing import Measurement, measure
from tf_distilbert.benchmark.worker import Competitor, WorkerFailure, WorkerProcess
from tf_distilbert.errors import UserError

ROOT = Path(__file__).parent.parent
# A group whose start and turns are not to be expected to end in time is left out.
_MINUTES = 8.0
_TURNS = 5


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description="Measure a distillation step on a GPU.")
    parser.add_argument("--json", metavar="FILE", help="write everything here, too")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="competitors; * stands for anything"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each competitor")
    parser.add_argument("--minutes", type=float, default=_MINUTES, help="begin no more after them")
    parser.add_argument("--log", metavar="FILE", help="what the competitors' processes print")
    parser.add_argument("--tiny", action="store_true", help="tiny models, on a processor, too")
    args = parser.parse_args()
    sizes = TINY if args.tiny else FULL
    try:
        for path in (args.json, args.log):
            check_json_path(path)
        groups = chosen_groups(competitor_groups(sizes, args.log), args.only)
    except (UserError, ValueError) as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory() as cache:
        _prepare_environment(cache)
        result = benchmark(groups, sizes, args.rounds or sizes.rounds, args.minutes, args.json)
    return 0 if any(entry["quartiles"] for entry in result["competitors"]) else 1


def benchmark(
    groups: Groups, sizes: Sizes, rounds: int, minutes: float, json_path: str | None
) -> dict[str, Any]:
    """Measure all groups, and print each as soon as it is done.

    Args:
        groups: competitors by the name of their group.
        sizes: what they compute.
        rounds: turns of each.
        minutes: see `_MINUTES`.
        json_path: file that is written after each group.

    Returns:
        What the JSON file holds.
    """
    say, clock = progress_sayer(), Clock(60 * minutes)
    result: dict[str, Any] = {
        "kind": "gpu",
        "machine": describe_machine(),
        "settings": {"rounds": rounds, "steps": sizes.steps, "tiny": sizes is TINY},
        "engines": {name: _products(name, sizes.products, say) for name in ("jax", "torch")},
        "competitors": [],
    }
    print_machine(result)
    peak = max(engine["flops_per_second"] or 0 for engine in result["engines"].values()) or None
    for name, group in groups.items():
        say(name)
        found = entries(group, measure_group(group, rounds, clock, say), peak)
        print_group(name, found)
        result["competitors"] += found
        write_result(json_path, result)
    return result


def measure_group(
    group: list[Competitor], rounds: int, clock: "Clock", say: Callable[[str], None]
) -> list[Measurement]:
    """Time those who can take part; of the others, say why not.

    Args:
        group: competitors.
        rounds: turns of each.
        clock: knows whether there is time for them.
        say: takes lines on what goes on.

    Returns:
        One measurement for each, in order.
    """
    reasons = {c.name: f"{' and '.join(c.missing)} not installed" for c in group if c.missing}
    able = [c for c in group if not c.missing]
    if not clock.has_time_for(len(able)):
        reasons |= dict.fromkeys((c.name for c in able), "not begun: the time is up; use --only")
        able = []
    with clock.counting(len(able)):
        measured = measure(able, rounds, warm_up=1, say=say)
    found = {measurement.name: measurement for measurement in measured}
    return [found.get(c.name) or Measurement(c.name, failure=reasons[c.name]) for c in group]


class Clock:
    """Tells whether there is time for more, from what the slowest so far took."""

    def __init__(self, seconds: float) -> None:
        self._end, self._slowest = time.monotonic() + seconds, 0.0

    def has_time_for(self, number: int) -> bool:
        """Whether so many competitors can be expected to end in time."""
        return time.monotonic() + number * self._slowest < self._end

    @contextlib.contextmanager
    def counting(self, number: int) -> Iterator[None]:
        """Count what so many competitors take."""
        start = time.monotonic()
        yield
        self._slowest = max(self._slowest, (time.monotonic() - start) / max(number, 1))


def _products(engine: str, sizes: tuple[int, ...], say: Callable[[str], None]) -> dict[str, Any]:
    """Measure an engine's matrix peak, and let it say what it runs on."""
    arguments = {"sizes": sizes}
    competitor = Competitor(engine, f"flops:{engine}_device_products", arguments, (engine,))
    found: dict[str, Any] = {"flops_per_second": None, "failure": None}
    if competitor.missing:
        return {**found, "failure": f"{engine} not installed"}
    say(f"matrix peak by {engine}")
    try:
        with WorkerProcess(competitor) as worker:
            for size in worker.cases:
                found |= worker.run(size)["value"]
                seconds = min(worker.run(size, _TURNS)["seconds"])
                rate = IN_A_ROW * 2 * int(size) ** 3 / seconds
                found["flops_per_second"] = max(found["flops_per_second"] or 0.0, rate)
    except WorkerFailure as failure:
        found["failure"] = str(failure)
    return found


def _prepare_environment(cache: str) -> None:
    """Set what all competitors' processes need, where the caller has not set it."""
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    # Several processes share the device: none may take most of its memory at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # They compile much that is the same, and try out the same products.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", cache)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


if __name__ == "__main__":
    sys.exit(main())
