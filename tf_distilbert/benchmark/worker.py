"""A competitor, the process of its own that it runs in, and the memory of that process.

Each has a process, so that libraries do not share thread pools, and so that the peak of its memory
is its own. The process builds a workload, and runs it when it is told to: one line of JSON in, one
line out. It starts light: what is imported here is imported in each.
"""

import contextlib
import importlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any


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


# The parent's side.


class WorkerFailure(Exception):
    """Why a competitor gave up; one line."""


class WorkerProcess:
    """A competitor in a process of its own, which ends with the ``with`` block.

    Raises:
        WorkerFailure: what the competitor raised, in any method; the process may be gone.
    """

    def __init__(self, competitor: Competitor) -> None:
        with open(competitor.log or os.devnull, "a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tf_distilbert.benchmark.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **competitor.environment},
            )
        try:
            request = {"build": competitor.workload, "arguments": competitor.arguments}
            self.cases: list[str] = self._ask(request)["cases"]
        except BaseException:
            self.close()
            raise

    def run(self, case: str, calls: int = 1, at_least_seconds: float = 0.0) -> dict[str, Any]:
        """Time a case: ``seconds`` of each call, the last one's ``value``, and ``peak_bytes``."""
        return self._ask({"run": case, "calls": calls, "at_least_seconds": at_least_seconds})

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):  # a request that nobody has read
                _open(pipe).close()

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            line = _open(self._process.stdout).readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerFailure(_how_it_ended(self._process.wait()))
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerFailure(answer["error"])
        return answer["result"]


def _how_it_ended(code: int) -> str:
    if code == -signal.SIGKILL:
        return "its process was killed, most likely for want of memory"
    return f"its process ended with code {code}"


def _open(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None  # the process was given both
    return pipe


# The process's side.


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    cases: dict[str, Callable[[], Any]] = {}
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = {"result": _answer(json.loads(line), cases)}
        except Exception as error:
            traceback.print_exc()  # for the log, if there is one
            reason = next(iter(str(error).splitlines()), "")
            answer = {"error": f"{type(error).__name__}: {reason}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)


def _answer(request: dict[str, Any], cases: dict[str, Callable[[], Any]]) -> dict[str, Any]:
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


# Memory.


def available_memory() -> int | None:
    """Give the bytes that new processes can take; None where the system does not tell."""
    return system_bytes("meminfo", "MemAvailable")


def resident_memory() -> int | None:
    """Give the bytes of memory that this process holds now; None where nobody tells."""
    return system_bytes("self/status", "VmRSS")


def peak_memory() -> int:
    """Give the most bytes of memory that this process has held at a time."""
    # `ru_maxrss` starts with what the parent held when it made the process; this does not.
    peak = system_bytes("self/status", "VmHWM")
    if peak is not None:
        return peak
    import resource

    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def restart_peak_memory() -> None:
    """Let `peak_memory` count from what is held now.

    Raises:
        OSError: the system is not Linux.
    """
    Path("/proc/self/clear_refs").write_text("5")


def system_table(name: str) -> dict[str, str]:
    """Read lines ``name : value`` of a file of ``/proc`` up to the first empty one.

    Returns:
        Name to value; nothing where there is no such file.
    """
    try:
        text = Path("/proc", name).read_text()
    except OSError:
        return {}
    lines = text.split("\n\n")[0].splitlines()
    return {line.split(":")[0].strip(): line.partition(":")[2].strip() for line in lines}


def system_bytes(table: str, name: str) -> int | None:
    """Read one value, written in KiB, of a `system_table`: in bytes, or None if there is none."""
    value = system_table(table).get(name)
    return int(value.split()[0]) * 1024 if value else None


if __name__ == "__main__":
    main()
