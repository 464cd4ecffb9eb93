"""The parent's side of a competitor's process."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import IO, Any

from tf_distilbert.benchmark.competitor import Competitor


class WorkerFailure(Exception):
    """Why a competitor gave up; one line."""


class WorkerProcess:
    """A competitor in a process of its own; see `worker`. Ends with the ``with`` block.

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
