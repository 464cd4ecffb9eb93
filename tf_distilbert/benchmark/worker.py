"""The process of one competitor: builds its workload, and runs it when it is told to.

One line of JSON in, one line out. Each competitor has a process of its own, so that libraries do
not share thread pools, and so that the peak of its memory is its own.
"""

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from tf_distilbert.benchmark.machine import peak_memory

Cases = dict[str, Callable[[], Any]]


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    cases: Cases = {}
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = {"result": _answer(json.loads(line), cases)}
        except Exception as error:
            traceback.print_exc()  # for the log, if there is one
            reason = next(iter(str(error).splitlines()), "")
            answer = {"error": f"{type(error).__name__}: {reason}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)


def _answer(request: dict[str, Any], cases: Cases) -> dict[str, Any]:
    if "build" in request:
        module, _, function = request["build"].partition(":")
        module = importlib.import_module(f"tf_distilbert.benchmark.{module}")
        cases.update(getattr(module, function)(**request["arguments"]))
        return {"cases": list(cases), "peak_bytes": peak_memory()}
    return _run(cases[request["run"]], request["at_least_seconds"], request["calls"])


def _run(case: Callable[[], Any], at_least_seconds: float, calls: int) -> dict[str, Any]:
    """Time calls one by one: at least so many, and for at least so long."""
    seconds: list[float] = []
    while len(seconds) < calls or sum(seconds) < at_least_seconds:
        start = time.perf_counter()
        value = case()
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "value": value, "peak_bytes": peak_memory()}


if __name__ == "__main__":
    main()
