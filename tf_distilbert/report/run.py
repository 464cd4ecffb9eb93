"""What a run directory tells of its run, finished or not."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tf_distilbert.config.file import parse_config, read_run
from tf_distilbert.config.finetuning import FinetuneConfig
from tf_distilbert.config.jobs import DistillConfig, PretrainConfig
from tf_distilbert.distillation.layer_search import Trial
from tf_distilbert.errors import UserError
from tf_distilbert.json_file import read_json
from tf_distilbert.model_files.provenance import read_provenance
from tf_distilbert.runs.directory import SCORES_FILE
from tf_distilbert.runs.logs import read_log
from tf_distilbert.runs.student_start import tried_layer_maps

Report = dict[str, Any]

_VERBS = {DistillConfig: "distill", PretrainConfig: "pretrain", FinetuneConfig: "finetune"}

_LENGTHS = ("steps", "epochs", "tokens")  # one of them says how long a run is


@dataclass(frozen=True)
class Run:
    """A run as its folder has it.

    Attributes:
        name: what the report calls it; no other run has it.
        folder: the run directory.
        config: ``config.yaml``.
        training, validations: the reports of ``log.jsonl``, in order.
        scores: of a fine-tuning that has ended, split to metric to value.
        provenance: of the model, if there is one.
        tried: layers that the student could have begun from, the best choice first, which it
            began from; nothing of a run that did not search.
    """

    name: str
    folder: Path
    config: DistillConfig | PretrainConfig | FinetuneConfig
    training: list[Report]
    validations: list[Report]
    scores: dict[str, dict[str, float]]
    provenance: dict[str, Any]
    tried: list[Trial]

    @classmethod
    def open(cls, folder: Path, name: str) -> "Run":
        """Read what there is.

        Raises:
            UserError: the folder holds no run, or a file in it is broken.
        """
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; give a run directory")
        if not (folder / "config.yaml").exists():
            raise UserError(f"{folder}: holds no run (no config.yaml); give a run directory")
        scores = folder / SCORES_FILE
        return cls(
            name=name,
            folder=folder,
            config=_read_config(folder / "config.yaml"),
            training=read_log(folder, "train"),
            validations=read_log(folder, "validation"),
            scores=read_json(scores) if scores.exists() else {},
            provenance=read_provenance(folder / "model"),
            tried=tried_layer_maps(folder),
        )

    @property
    def verb(self) -> str:
        """Which job it is: ``distill``, ``pretrain`` or ``finetune``."""
        return _VERBS[type(self.config)]

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration as nested dictionaries."""
        return asdict(self.config)

    @property
    def model(self) -> Path | None:
        """The folder of the finished model, if there is one."""
        folder = self.folder / "model"
        return folder if (folder / "config.json").exists() else None

    @property
    def is_finished(self) -> bool:
        """Whether it has made all that it was to make; of a trial of `retention` scores remain."""
        return bool(self.model or self.scores) and not self.goes_on

    @property
    def goes_on(self) -> bool:
        """Whether it was given another length when its model was made, and goes on to that."""
        made = self.provenance.get("settings", {}).get("train", {})
        train = self.settings["train"]
        return any(name in made and made[name] != train[name] for name in _LENGTHS)

    @property
    def teacher(self) -> str | None:
        """Where the settings say the teacher is, if there is one."""
        return getattr(self.config, "teacher", None)

    @property
    def steps_made(self) -> int:
        """How far the log has come."""
        return max((report["step"] for report in [*self.training, *self.validations]), default=0)


def _read_config(path: Path) -> DistillConfig | PretrainConfig | FinetuneConfig:
    values = read_run(path)
    try:
        if "task" in values:
            return parse_config(FinetuneConfig, values)
        if "student" in values:
            return parse_config(DistillConfig, values)
        return parse_config(PretrainConfig, values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def name_runs(folders: Sequence[Path]) -> list[str]:
    """Name runs by their folders, with as many parents as it takes to tell them apart.

    Example:
        >>> name_runs([Path("a/run"), Path("b/run"), Path("c")])
        ['a/run', 'b/run', 'c']
    """
    paths = [folder.absolute() for folder in folders]

    def name(path: Path) -> str:
        for length in range(1, len(path.parts)):
            shared = [other for other in paths if other.parts[-length:] == path.parts[-length:]]
            if len(shared) == 1:
                break
        return "/".join(path.parts[-length:])

    return [name(path) for path in paths]


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Give nested settings as ``section.key`` to text."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value if isinstance(value, str) else json.dumps(value)
    return found
