"""Everything a run needs to go on as if it had not stopped, as plain tensors on disk.

A checkpoint is a folder ``step-00000300`` with ``tensors.safetensors`` (model, optimizer and
dropout seeds, by position and name) and ``state.json`` (the step, which is also the position in
the data). It is written beside its place and renamed when complete.
The teacher is in none.
"""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from tf_distilbert.atomic_writes import whole_folder
from tf_distilbert.errors import UserError
from tf_distilbert.trainer import MaskedMeanTrainer


class Checkpoints:
    """The checkpoints of a run.

    Args:
        folder: where they lie.
        trainer: compiled; what is saved and restored.
        data: what it learns from; see `Records.identity`.
        keep: how many of the newest stay.
    """

    def __init__(self, folder: Path, trainer: MaskedMeanTrainer, data: str, keep: int) -> None:
        self.folder, self.trainer, self.data, self.keep = folder, trainer, data, keep

    def save(self, step: int) -> None:
        """Write a checkpoint and remove the oldest ones.

        Args:
            step: updates made so far.

        Raises:
            UserError: it cannot be written; earlier checkpoints are untouched.
        """
        with whole_folder(self._folder_of(step)) as folder:
            tensors = {name: np.asarray(v.value) for name, v in _variables(self.trainer).items()}
            save_file(tensors, folder / "tensors.safetensors")
            (folder / "state.json").write_text(
                json.dumps({"step": step, "data": self.data}), "utf-8"
            )
        for old in self.saved()[: -self.keep]:
            shutil.rmtree(old)

    def discard(self, step: int) -> None:
        """Remove the checkpoint of a step, if there is one."""
        shutil.rmtree(self._folder_of(step), ignore_errors=True)

    def saved(self) -> list[Path]:
        """List the complete checkpoints, oldest first."""
        return sorted(p for p in self.folder.glob("step-*") if p.name[5:].isdigit())

    def restore(self) -> int:
        """Load the newest checkpoint.

        Returns:
            Its step; 0 if there is no checkpoint.

        Raises:
            UserError: it is damaged, or of another model, optimizer or text.
        """
        if not self.saved():
            return 0
        newest = self.saved()[-1]
        try:
            tensors = load_file(newest / "tensors.safetensors")
            state = json.loads((newest / "state.json").read_text("utf-8"))
            step, data = state["step"], state["data"]
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            raise UserError(
                f"{newest}: damaged ({error}); remove it to go on from the one before"
            ) from None
        if data != self.data:
            raise UserError(
                f"{newest}: was trained on other text, which has changed since; bring the old text "
                "back, or start again with --overwrite"
            )
        variables = _variables(self.trainer)
        shapes = {name: tuple(v.shape) for name, v in variables.items()}
        if {name: tensor.shape for name, tensor in tensors.items()} != shapes:
            raise UserError(f"{newest}: belongs to another model; use another output")
        for name, variable in variables.items():
            variable.assign(tensors[name])
        return step

    def _folder_of(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"


def _variables(trainer: MaskedMeanTrainer) -> dict[str, keras.Variable]:
    """Name every variable: by place, since Keras's paths count the models of the process."""
    metrics = {id(v) for metric in trainer.metrics for v in metric.variables}
    model = [v for v in trainer.variables if id(v) not in metrics]
    named = {f"model/{i}/{v.name}": v for i, v in enumerate(model)}
    return named | {f"optimizer/{i}/{v.name}": v for i, v in enumerate(trainer.optimizer.variables)}
