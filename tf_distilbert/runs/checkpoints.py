"""Everything a run needs to go on as if it had not stopped, as plain tensors on disk.

A checkpoint is a folder ``step-00000300`` with ``tensors.safetensors`` (model, optimizer, running
metrics, by position and name; the loss scale, where there is one) and ``state.json`` (`Progress`,
seed, position in the data), which has checksums of both. A folder is written beside its place and
renamed when complete. The teacher is in none.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from tf_distilbert.atomic_writes import whole_folder
from tf_distilbert.errors import UserError
from tf_distilbert.runs.directory import is_checkpoint
from tf_distilbert.training.trainer import MaskedMeanTrainer

FORMAT_VERSION = 2

# Of the loss scale, which begins anew where a checkpoint has none.
_SCALE = "loss_scale/"


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: steps made, skipped updates included; it is also the position in the data.
        best_step, best_loss: where the held-out loss was lowest, and that loss.
        validation_due: the run was stopped before the validation of this step was complete.
    """

    step: int = 0
    best_step: int | None = None
    best_loss: float | None = None
    validation_due: bool = False


class Checkpoints:
    """The checkpoints of a run.

    Args:
        folder: where they lie.
        trainer: compiled; what is saved and restored.
        data: what it learns from; see `Records.identity`.
        batch_size: sequences in a step.
        keep: how many of the newest stay, beside the best one.
        read_only: never write; for all workers but the chief.
    """

    def __init__(
        self,
        folder: Path,
        trainer: MaskedMeanTrainer,
        *,
        data: str,
        batch_size: int,
        keep: int,
        read_only: bool = False,
    ) -> None:
        self.folder, self.trainer, self.data, self.keep = folder, trainer, data, keep
        self.batch_size, self.read_only = batch_size, read_only
        self._metrics: dict[str, np.ndarray] = {}

    def save(self, progress: Progress) -> None:
        """Write a checkpoint and remove the oldest ones.

        Raises:
            UserError: it cannot be written; earlier checkpoints are untouched.
        """
        if self.read_only:
            return
        self.trainer.settle()
        with whole_folder(self._folder_of(progress.step)) as folder:
            variables = self._variables() | self._metric_variables()
            tensors = {name: np.asarray(v.numpy()) for name, v in variables.items()}
            save_file(tensors, folder / "tensors.safetensors")
            state = {
                "format_version": FORMAT_VERSION,
                **asdict(progress),
                "seed": self.trainer.seed,
                "data": self.data,
                "next_sequence": progress.step * self.batch_size,
                "tensors_sha256": _file_digest(folder / "tensors.safetensors"),
            }
            state["checksum"] = _digest(state)
            (folder / "state.json").write_text(json.dumps(state, indent=2) + "\n", "utf-8")
        for leftover in self.folder.glob("step-*.*"):  # half written or half removed by a kill
            shutil.rmtree(leftover, ignore_errors=True)
        # What lies beyond this step is damaged, or the run would have gone on from there: it pushes
        # no good one out, and is replaced when the run comes to its step.
        known = [path for path in self.saved() if _step_of(path) <= progress.step]
        newest = known[-self.keep :]
        for old in known:
            if old not in newest and _step_of(old) != progress.best_step:
                _remove(old)

    def discard_from(self, step: int) -> None:
        """Remove the checkpoints of this step and all later ones."""
        for path in self.saved():
            if _step_of(path) >= step and not self.read_only:
                _remove(path)

    def saved(self) -> list[Path]:
        """List the complete checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("step-*") if is_checkpoint(path))

    def restore(self, warn: Callable[[str], None]) -> Progress:
        """Load the newest checkpoint that is whole.

        Args:
            warn: is told of each that is damaged.

        Returns:
            How far the run was; step 0 if there is no checkpoint.

        Raises:
            UserError: there are checkpoints, but all are damaged; or the newest whole one is of
                another model, optimizer or text.
        """
        damaged = []
        for path in reversed(self.saved()):
            try:
                state, tensors = _read(path)
            except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
                damaged.append(path)
                warn(f"{path}: damaged ({error}); it is left out")
                continue
            self._load(path, state, tensors)
            return Progress(**{name: state[name] for name in asdict(Progress())})
        if damaged:
            raise UserError(
                f"{self.folder}: no checkpoint is whole; bring one back, or start again with "
                "--overwrite"
            )
        return Progress()

    def restore_metrics(self) -> None:
        """Bring back the means of the log's unfinished window, which `fit` has just reset."""
        for name, variable in self._metric_variables().items():
            if name in self._metrics:
                variable.assign(self._metrics[name])
        self._metrics = {}

    def _load(self, path: Path, state: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        if state["data"] != self.data:
            raise UserError(
                f"{path}: was trained on other text, which has changed since; bring the old text "
                "back, or start again with --overwrite"
            )
        # Which metrics a log shows may change with the program; that spoils no run.
        self._metrics = {name: t for name, t in tensors.items() if name.startswith("figures/")}
        variables = self._variables()
        for name in variables.keys() - tensors.keys():
            if name.endswith("/updates"):  # earlier versions took all that were tried for made
                tensors[name] = tensors["optimizer/0/iteration"].astype(np.int32)
        shapes = {name: tuple(v.shape) for name, v in variables.items()}
        found = {name: t.shape for name, t in tensors.items() if name not in self._metrics}
        if _without_scale(found) != _without_scale(shapes):
            raise UserError(f"{path}: belongs to another model; use another output")
        for name, variable in variables.items():
            if name in tensors:
                variable.assign(tensors[name])
        self.trainer.seed = state["seed"]

    def _folder_of(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def _variables(self) -> dict[str, keras.Variable]:
        """Name every variable by its place: Keras's names count the models of the process."""
        named = {f"model/{i}/{v.name}": v for i, v in enumerate(self.trainer.variables)}
        optimizer = self.trainer.optimizer
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            for variable in (optimizer.step_counter, optimizer.dynamic_scale):
                named[f"{_SCALE}{variable.name}"] = variable
            optimizer = optimizer.inner_optimizer
        for i, variable in enumerate(optimizer.variables):
            kind = variable.name.rpartition("_")[2]  # momentum, velocity, after the model's name
            named[f"optimizer/{i}/{kind}"] = variable
        return named

    def _metric_variables(self) -> dict[str, keras.Variable]:
        return {
            f"figures/{metric.name}/{variable.name}": variable
            for metric in self.trainer.saved_metrics
            for variable in metric.variables
        }


def _without_scale(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Leave out what float16 alone has: a run may change its precision."""
    return {name: shape for name, shape in shapes.items() if not name.startswith(_SCALE)}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Give what a checkpoint holds, once its checksums agree."""
    state = json.loads((path / "state.json").read_text("utf-8"))
    if state.pop("checksum") != _digest(state):
        raise ValueError("the checksum of state.json differs")
    if state["format_version"] != FORMAT_VERSION:
        raise ValueError(f"made in format {state['format_version']}, this is {FORMAT_VERSION}")
    if state["tensors_sha256"] != _file_digest(path / "tensors.safetensors"):
        raise ValueError("the checksum of tensors.safetensors differs")
    return state, load_file(path / "tensors.safetensors")


def _digest(state: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _remove(path: Path) -> None:
    """Remove a checkpoint; a kill on the way leaves none that looks whole."""
    removed = path.with_name(path.name + ".old")
    shutil.rmtree(removed, ignore_errors=True)
    os.replace(path, removed)
    shutil.rmtree(removed)
