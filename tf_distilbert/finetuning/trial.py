"""One fine-tuning of many: a model on a task with a seed, made once and remembered."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from rich.console import Console

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.finetune import finetune
from tf_distilbert.finetuning.finetune_config import FinetuneConfig
from tf_distilbert.run_directory import SCORES_FILE, RunDirectory


@dataclass(frozen=True)
class Trial:
    """What is fine-tuned on what.

    Attributes:
        model: the name that tables give the model.
        config: of the fine-tuning; its output is where the trial is remembered.
    """

    model: str
    config: FinetuneConfig

    def score(self, console: Console) -> float:
        """Fine-tune, or read what a finished trial found; go on with one that was stopped.

        Model and checkpoints of a finished trial are removed: of many, they would fill a disk.

        Returns:
            The task's score (of several validation splits the mean), a fraction; SQuAD's, too.

        Raises:
            UserError: as `finetune`; or what is remembered is broken, or of other settings.
            Interrupted: as `finetune`.
        """
        folder = Path(self.config.output)
        path = folder / SCORES_FILE
        config = replace(self.config, train=replace(self.config.train, resume="auto"))
        if path.exists():
            RunDirectory(folder).check(config)  # or another model's scores would be taken for its
        else:
            finetune(config, console)
            for name in ("checkpoints", "model"):
                shutil.rmtree(folder / name, ignore_errors=True)
        splits = _read(path)
        return fmean(as_fraction(self.config.task, scores["score"]) for scores in splits.values())


def as_fraction(task: str, score: float) -> float:
    """Give a score between 0 and 1, as GLUE's are; SQuAD's is in percent."""
    return score / 100 if task.startswith("squad") else score


def _read(path: Path) -> Mapping[str, Mapping[str, float]]:
    try:
        splits = json.loads(path.read_text("utf-8"))
        if splits and all("score" in scores for scores in splits.values()):
            return splits
    except (ValueError, AttributeError, TypeError):
        pass
    raise UserError(f"{path}: broken; remove {path.parent} and run the command again")
