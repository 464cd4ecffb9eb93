"""Several workers on one machine: start them, watch them, end them together.

Every worker runs the same command with a TF_CONFIG of its own, as it would on a machine of its
own. TensorFlow tells the others within seconds that a worker has died; this sees to it that none is
left.
"""

import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

from tf_distilbert.errors import UserError

GRACE_SECONDS = 60.0
"""How long workers may take to end by themselves once one of them has failed."""

_VERBS = ("distill", "pretrain", "finetune")


def launch(command: Sequence[str], num_workers: int) -> int:
    """Run a training as several worker processes that talk over the loopback address.

    The first one is the chief; what it prints is shown as it is, what the others print on stderr
    after their number, and their results, which are the same, not at all. SIGTERM and SIGINT are
    passed on to all.

    Args:
        command: what would follow ``tf-distilbert``: ``distill CONFIG ...``.
        num_workers: how many.

    Returns:
        The exit code: 0, that of the first worker that failed, or 1 if a signal killed it.

    Raises:
        UserError: the command is none that trains, or there is no number of workers.
    """
    if num_workers < 1:
        raise UserError(f"--workers is {num_workers}; give 1 or more")
    if not command or command[0] not in _VERBS:
        *others, last = _VERBS
        verbs = f"{', '.join(others)} or {last}"
        raise UserError(f"after `--` comes what each worker runs: {verbs} with its arguments")
    addresses = _free_addresses(num_workers)
    workers: list[subprocess.Popen] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(number)

    handlers = {n: signal.signal(n, pass_on) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        workers += [_start(command, addresses, i) for i in range(num_workers)]
        _wait(workers)
        first = _first_failure(workers)
        if first is None:
            return 0
        code = workers[first].returncode
        if code < 0:
            print(
                f"tf-distilbert: worker {first} was killed ({signal.Signals(-code).name}), and all "
                "others were ended; go on with --resume",
                file=sys.stderr,
            )
        return code if code > 0 else 1
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
            if worker.stderr:
                worker.stderr.close()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _start(command: Sequence[str], addresses: list[str], index: int) -> subprocess.Popen:
    """Start a worker; on Linux it is told to stop, and saves its run, if this process is killed.

    This process must have no other thread: killed, one may end after the one that started the
    worker, and Linux tells the worker twice. A second signal ends it before it has saved.
    """
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    return subprocess.Popen(
        [sys.executable, "-m", "tf_distilbert", *command],
        env={**os.environ, "TF_CONFIG": json.dumps(config)},
        stdout=None if index == 0 else subprocess.DEVNULL,  # all have the same results
        stderr=None if index == 0 else subprocess.PIPE,
        start_new_session=True,  # or Ctrl-C would reach it twice, from the terminal and from here
        preexec_fn=_stop_with_parent if sys.platform == "linux" else None,
    )


_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
_C_LIBRARY = ctypes.CDLL(None) if sys.platform == "linux" else None


def _stop_with_parent() -> None:
    assert _C_LIBRARY is not None  # given to Linux alone
    _C_LIBRARY.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class _Lines:
    """Shows what workers print on stderr, line by line after their numbers, without a thread."""

    def __init__(self, workers: list[subprocess.Popen]) -> None:
        self._selector = selectors.DefaultSelector()
        self._pipes = {i: worker.stderr for i, worker in enumerate(workers) if worker.stderr}
        self._unfinished = dict.fromkeys(self._pipes, b"")
        for number, pipe in self._pipes.items():
            self._selector.register(pipe, selectors.EVENT_READ, data=number)

    def show(self, seconds: float) -> bool:
        """Show what comes within this time; whether anything came."""
        if not self._selector.get_map():
            time.sleep(seconds)
            return False
        ready = self._selector.select(seconds)
        for key, _ in ready:
            number, content = key.data, os.read(key.fd, 1 << 16)
            *lines, rest = (self._unfinished[number] + content).split(b"\n")
            if not content:  # it has closed its end
                self._selector.unregister(key.fileobj)
                self._pipes[number].close()
                lines, rest = ([rest] if rest else []), b""
            self._unfinished[number] = rest
            for line in lines:
                # In one piece: the first worker writes there, too.
                sys.stderr.write(f"[worker {number}] {line.decode(errors='replace')}\n")
        return bool(ready)


def _wait(workers: list[subprocess.Popen]) -> None:
    """Wait until all have ended; once one has failed, the others have `GRACE_SECONDS`."""
    deadline, lines = None, _Lines(workers)
    while any(worker.poll() is None for worker in workers):
        if deadline is None and any(worker.returncode for worker in workers):
            deadline = time.monotonic() + GRACE_SECONDS
        if deadline is not None and time.monotonic() > deadline:
            return
        lines.show(0.1)
    while lines.show(0.0):
        pass


def _first_failure(workers: list[subprocess.Popen]) -> int | None:
    """Tell which worker is to blame: one that a signal killed, else the first one that failed."""
    failed = [i for i, worker in enumerate(workers) if worker.returncode]
    killed = [i for i in failed if workers[i].returncode < 0]
    return next(iter(killed or failed), None)


def _free_addresses(number: int) -> list[str]:
    """Find ports of the loopback address that nobody uses."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    finally:
        for each in sockets:
            each.close()
