"""Processes that end before their time: SIGKILL at random moments, SIGTERM and SIGINT, a lost
worker."""

import random
import shlex
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from chaos_table import Row
from chaos_training import SECONDS, Training, differences

LONGEST_HANG = 120.0
"""Seconds within which a job has to end once one of its workers is gone."""


def run_undisturbed(training: Training, name: str, *more: str) -> float:
    """Make the run that others are compared with; give the seconds until its first checkpoint."""
    start = time.monotonic()
    process = training.start(name, *more)
    wait_for(process, lambda: training.step(name) > 0)
    seconds = time.monotonic() - start
    outcome = training.end(name, process)
    if outcome.code:
        raise SystemExit(f"the run that nothing happens to failed: {outcome.text}")
    return seconds


def kill_at_random(training: Training, reference: str, kills: int, seed: int, start: float) -> Row:
    """Kill one training again and again, and let it end at last.

    A third of the kills comes at any moment of the start, a third after some progress, a third
    while a checkpoint is being written; the last one comes when the model is about to be saved.

    Args:
        training: what is trained.
        reference: name of the run that nothing happened to.
        kills: how many.
        seed: of the moments.
        start: seconds until a run's first checkpoint.
    """
    generator, name = random.Random(seed), f"killed-{training.strategy}"
    row, hit = Row(f"SIGKILL in one training, {training.strategy}"), Counter()
    for left in range(kills, 0, -1):
        before = training.step(name)
        process = training.start(name, "--resume")
        # At most twice a fair share of what is left: the training outlives its kills.
        progress = generator.randint(1, max(1, (training.steps - before) // left))
        kind = "save" if left == 1 else ("start", "progress", "write")[left % 3]
        if kind == "start":
            wait_for(process, lambda: False, generator.uniform(0, 1.2 * start))
        else:
            wait_for(process, lambda least=before + progress: training.step(name) >= least)
        if kind in ("write", "save"):
            wait_for(process, _begins(training.run_folder(name), kind))
        time.sleep(generator.uniform(0, {"progress": 0.2}.get(kind, 0.004)))
        hit[_moment(training, name, process, before)] += 1
        process.kill()
        process.wait()
        row.note(f"killed at step {training.step(name)}, {left - 1} to come ({kind})")
    wrong = training.run(name, "--resume").expect(0)
    row.count(wrong + _compare(training, name, reference), times=kills)
    row.remark = ", ".join(f"{number} {moment}" for moment, number in hit.items())
    return row


def stop_by_signals(training: Training, reference: str) -> Row:
    """Stop a training by SIGTERM, go on, stop it by SIGINT, go on."""
    row, name = Row("SIGTERM, then SIGINT"), "stopped"
    for number, more in ((signal.SIGTERM, []), (signal.SIGINT, ["--resume"])):
        process = training.start(name, *more)
        least = training.step(name) + 3
        wait_for(process, lambda least=least: training.step(name) >= least)
        process.send_signal(number)
        outcome = training.end(name, process)
        wrong = outcome.expect(128 + number, "go on with: tf-distilbert distill")
        command = shlex.split(outcome.last.rpartition("go on with: ")[2])[1:]
        if command != training.arguments(name, "--resume"):
            wrong.append(f"the command to go on with is another: {outcome.last}")
        row.count(wrong)
    row.count(training.run(name, "--resume").expect(0) + _compare(training, name, reference), 0)
    row.remark = "exit codes 143 and 130, and the command to go on with"
    return row


def kill_a_worker(training: Training, reference: str, seed: int) -> Row:
    """Kill one of several workers; the job has to end, and to go on as if nothing had been."""
    row, name = Row(f"SIGKILL of one of {training.workers} workers"), "lost-worker"
    process = training.start(name)
    wait_for(process, lambda: training.step(name) >= training.steps // 3)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.terminate()
        process.wait()
        row.remark = "not tried: this system does not tell a process's children"
        return row
    victim = random.Random(seed).choice(children.read_text().split()[: training.workers])
    subprocess.run(["kill", "-KILL", victim], check=True)
    start = time.monotonic()
    outcome = training.end(name, process, seconds=LONGEST_HANG)
    seconds = time.monotonic() - start
    wrong = [] if outcome.code > 0 else [f"exit code {outcome.code} after {seconds:.0f} s"]
    wrong += outcome.expect(outcome.code, "was killed (SIGKILL)", "go on with --resume")
    if training.step(name) >= training.steps:
        wrong.append("the worker was killed too late")
    wrong += training.run(name, "--resume").expect(0) + _compare(training, name, reference)
    row.count(wrong)
    row.remark = f"the job ended {seconds:.0f} s later"
    return row


def wait_for(
    process: subprocess.Popen, condition: Callable[[], bool], seconds: float = SECONDS
) -> None:
    """Wait until a condition holds, the process has ended, or the time is up."""
    end = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)


def _begins(run: Path, kind: str) -> Callable[[], bool]:
    """Tell when a new folder is being written; what an earlier kill left there is none."""
    pattern = "model.partial" if kind == "save" else "checkpoints/*.partial"

    def found() -> set[int]:
        numbers = set()
        for path in run.glob(pattern):
            try:
                numbers.add(path.stat().st_ino)
            except FileNotFoundError:
                continue  # renamed in between
        return numbers

    before = found()
    return lambda: bool(found() - before)


def _moment(training: Training, name: str, process: subprocess.Popen, before: int) -> str:
    run = training.run_folder(name)
    if process.poll() is not None:
        return "after the end"
    if list(run.glob("model.partial")):
        return "while saving the model"
    if training.step(name) == before:
        return "while starting"
    return "in a write" if list(run.glob("checkpoints/*.partial")) else "between writes"


def _compare(training: Training, name: str, reference: str) -> list[str]:
    return differences(training.run_folder(name), training.run_folder(reference))
