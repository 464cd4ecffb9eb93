"""Files that went bad: damaged checkpoints, damaged records, no room on the disk."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from chaos_table import Row
from chaos_training import Training, checkpoints, differences


def flip(path: Path, position: int | None = None) -> None:
    """Change one byte of a file, by default in its middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if position is None else position] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    """Cut a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(folder: Path) -> None:
    """Remove all files of a folder."""
    for path in folder.iterdir():
        path.unlink()


HARMS: dict[str, Callable[[Path], None]] = {
    "a flipped byte in tensors.safetensors": lambda path: flip(path / "tensors.safetensors"),
    "a truncated tensors.safetensors": lambda path: truncate(path / "tensors.safetensors"),
    "a flipped byte in state.json": lambda path: flip(path / "state.json"),
    "a truncated state.json": lambda path: truncate(path / "state.json"),
    "a missing state.json": lambda path: (path / "state.json").unlink(),
    "an empty folder": empty,
}
"""What can happen to a checkpoint."""


def damage_all_newest(training: Training, reference: str) -> Row:
    """Damage as many of the newest checkpoints as there are harms, each in its own way."""
    row = Row(f"{len(HARMS)} newest checkpoints, each damaged in another way; leftovers")
    run = copy_run(training, reference, "damaged-newest")
    newest = checkpoints(run)[-len(HARMS) :]
    for harm, path in zip(HARMS.values(), newest, strict=True):
        harm(path)
    for suffix in (".partial", ".old"):
        shutil.copytree(newest[-1], newest[-1].with_name(newest[-1].name + suffix))
    warnings = [f"{path}: damaged (" for path in newest]
    row.count(_resume(training, run.name, reference, *warnings), times=len(HARMS))
    row.remark = ", ".join(HARMS)
    return row


def damage_one(training: Training, reference: str, harm: str) -> Row:
    """Damage the newest checkpoint."""
    row = Row(f"newest checkpoint: {harm}")
    run = copy_run(training, reference, f"damaged-{list(HARMS).index(harm)}")
    newest = checkpoints(run)[-1]
    HARMS[harm](newest)
    row.count(_resume(training, run.name, reference, f"{newest}: damaged ("))
    return row


def damage_every_checkpoint(training: Training, reference: str) -> Row:
    """Damage all checkpoints: the run has to be refused, and nothing of it to be touched."""
    row = Row("all checkpoints damaged")
    run = copy_run(training, reference, "damaged-all")
    for path in checkpoints(run):
        flip(path / "tensors.safetensors")
    before = _digests(run)
    outcome = training.run(run.name, "--resume")
    wrong = outcome.expect(2, "no checkpoint is whole")
    if _digests(run) != before:
        wrong.append("files were changed")
    row.count(wrong)
    row.remark = "one line, exit code 2, nothing overwritten"
    return row


def damage_a_record(training: Training, reference: str) -> Row:
    """Damage a prepared sequence: it is named; then it is skipped and counted."""
    row, name = Row("a flipped byte in a shard"), "damaged-record"
    data = training.run_folder(f"{name}-data")
    shutil.copytree(training.run_folder(f"{reference}-data"), data)
    shard = max(data.rglob("*.tfrecord"), key=lambda path: path.stat().st_size)
    offset = int(np.load(shard.with_suffix(".index.npy"))["offset"][1])
    flip(shard, offset + 4)
    outcome = training.run(name)
    row.count(outcome.expect(2, str(shard), str(offset)))
    outcome = training.run(name, "--resume", "data.on_corrupt=skip")
    wrong = outcome.expect(0, "1 damaged sequence was skipped")
    log = (training.run_folder(name) / "log.jsonl").read_text("utf-8")
    if '"skipped_sequences": 1' not in log:
        wrong.append("not counted in log.jsonl")
    row.count(wrong)
    row.remark = "named with path and offset, exit code 2; with skip counted in log and last line"
    return row


def limit_files(training: Training, reference: str) -> Row:
    """Let no file grow beyond a size: no checkpoint, or not even the model, can be written."""
    row = Row("files cannot be written beyond a size")
    run = copy_run(training, reference, "limited", dropped=3)
    kept = checkpoints(run)[-1]
    before = _digests(kept)
    size = (kept / "tensors.safetensors").stat().st_size
    model = (training.run_folder(reference) / "model" / "model.safetensors").stat().st_size
    outcome = training.run(run.name, "--resume", largest_file=model - 1)
    wrong = outcome.expect(2, "no checkpoint: ", f"{run / 'model'}: cannot be written")
    row.count(wrong + _changed(kept, before))
    outcome = training.run(run.name, "--resume", largest_file=(model + size) // 2)
    wrong = outcome.expect(0, "no checkpoint: ", "the model is in") + _changed(kept, before)
    row.count(wrong)
    row.count(_resume(training, run.name, reference), times=0)
    row.remark = "the old checkpoint is kept; exit code 2 where the model could not be written"
    return row


def fill_the_disk(training: Training, reference: str) -> Row:
    """Let a small file system run full, then make room again."""
    row, disk = Row("disk full during checkpoints"), training.run_folder("disk")
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        row.remark = "not tried: no small file system can be mounted here"
        return row
    try:
        run = copy_run(training, reference, "disk/run", dropped=3)
        kept = checkpoints(run)[-1]
        before = _digests(kept)
        room = (kept / "tensors.safetensors").stat().st_size
        with open(disk / "filler", "wb") as filler:
            filler.write(bytes(shutil.disk_usage(disk).free - room))
        outcome = training.run("disk/run", "--resume")
        saved = outcome.code == 0 and (run / "model" / "model.safetensors").exists()
        wrong = outcome.expect(0 if saved else 2, "no checkpoint: ")
        if not saved:
            wrong += outcome.expect(2, "cannot be written (No space left on device")
        row.count(wrong + _changed(kept, before))
        (disk / "filler").unlink()
        row.count(_resume(training, "disk/run", reference), times=0)
        row.remark = f"the old checkpoint is kept; the model {'fitted' if saved else 'did not fit'}"
    finally:
        # Lazily: where the run was in this process, its records are still open.
        subprocess.run(["umount", "-l", str(disk)], check=True)
    return row


def copy_run(training: Training, reference: str, name: str, dropped: int = 0) -> Path:
    """Copy a run but for its model and its newest checkpoints, as if it had been killed."""
    source, run = training.run_folder(reference), training.run_folder(name)
    shutil.copytree(source, run, ignore=shutil.ignore_patterns("model"))
    shutil.copytree(training.run_folder(f"{reference}-data"), run.with_name(f"{run.name}-data"))
    for path in checkpoints(run)[len(checkpoints(run)) - dropped :]:
        shutil.rmtree(path)
    return run


def _resume(training: Training, name: str, reference: str, *parts: str) -> list[str]:
    """Go on to the end; tell what is not as it should be."""
    wrong = training.run(name, "--resume").expect(0, *parts)
    return wrong + differences(training.run_folder(name), training.run_folder(reference))


def _digests(folder: Path) -> dict[str, str]:
    """Tell what all files hold, but for the configuration, which is written at every start."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "config.yaml"
    }


def _changed(kept: Path, before: dict[str, str]) -> list[str]:
    return [] if _digests(kept) == before else [f"{kept.name} was changed"]
