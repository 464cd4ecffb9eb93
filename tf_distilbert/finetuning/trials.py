"""One fine-tuning of a comparison, made once and remembered with what its exports score."""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from rich.console import Console

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.config.finetuning import FinetuneConfig
from tf_distilbert.console.lines import duration, say
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.encoding import EncodedSplit, encode_split
from tf_distilbert.finetuning.exported import score_export
from tf_distilbert.finetuning.finetune import finetune
from tf_distilbert.finetuning.splits import read_split, with_labels
from tf_distilbert.finetuning.start_model import MODEL_OF_KIND, load_teacher
from tf_distilbert.finetuning.tasks import Task, find_task
from tf_distilbert.model_files.folder import load_task_model
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.runs.directory import SCORES_FILE, RunDirectory

EXPORTS_FILE = "exports.json"
"""What the exports of a fine-tuned model score: precision to what `SCORES_FILE` has."""

Scores = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Trial:
    """What is fine-tuned on what.

    Attributes:
        model: the name that tables give the model.
        config: of the fine-tuning; its output is where the trial is remembered.
        exports: precisions in which the fine-tuned model is to be scored, too; see `score_export`.
    """

    model: str
    config: FinetuneConfig
    exports: Sequence[str] = ()

    work: ClassVar[str] = "fine-tuning"
    """What is done, for people."""

    @property
    def description(self) -> str:
        """Say which one it is: task, model, seed and, in a search, the learning rate."""
        config = self.config
        search = f", trying the learning rate {config.train.learning_rate:g}"
        which = search if config.validation_share else f", seed {config.train.seed}"
        return f"{config.task}, {self.model}{which}"

    @property
    def is_remembered(self) -> bool:
        """Whether it has been made, by this call or an earlier one, with all its exports."""
        return self._is_scored and not self._missing_exports

    @property
    def is_to_be_repeated(self) -> bool:
        """Whether exports are missing, and the model that was scored has been removed."""
        return self._is_scored and bool(self._missing_exports) and not self._model.exists()

    def score(self, console: Console) -> float:
        """Fine-tune, or read what a finished trial found; go on with one that was stopped.

        Model and checkpoints of a finished trial are removed: of many, they would fill a disk. One
        that `is_to_be_repeated` is made from its beginning: all its scores are of one model.

        Returns:
            The task's score (of several validation splits the mean), a fraction; SQuAD's, too.

        Raises:
            UserError: as `finetune` and `score_export`; or what is remembered is broken, or of
                other settings.
            Interrupted: as `finetune`.
        """
        if self._is_scored:
            # Or another model's scores would be taken for its.
            RunDirectory(self._folder).check(self._resuming("auto"))
        if not self.is_remembered:
            repeats = self.is_to_be_repeated
            if repeats or not self._is_scored:
                (self._folder / EXPORTS_FILE).unlink(missing_ok=True)
                config = self._resuming("overwrite" if repeats else "auto")
                finetune(config, console, model_stays=False)
            self._score_exports(console)
            for name in ("checkpoints", "model"):
                shutil.rmtree(self._folder / name, ignore_errors=True)
        path = self._folder / SCORES_FILE
        return self._mean(_checked(_load(path), path))

    def export_scores(self) -> dict[str, float]:
        """Give the score of each export by its precision, once `score` has been called."""
        return {precision: self._mean(scores) for precision, scores in self._exports().items()}

    @property
    def _folder(self) -> Path:
        return Path(self.config.output)

    @property
    def _model(self) -> Path:
        return RunDirectory(self._folder).model

    @property
    def _is_scored(self) -> bool:
        return (self._folder / SCORES_FILE).exists()

    @property
    def _missing_exports(self) -> list[str]:
        known = self._exports() if self.exports else {}
        return [precision for precision in self.exports if precision not in known]

    def _exports(self) -> dict[str, Scores]:
        """Read what is remembered of exports."""
        path = self._folder / EXPORTS_FILE
        found = _load(path) if path.exists() else {}
        return {precision: _checked(scores, path) for precision, scores in found.items()}

    def _resuming(self, resume: str) -> FinetuneConfig:
        return replace(self.config, train=replace(self.config.train, resume=resume))

    def _score_exports(self, console: Console) -> None:
        missing = self._missing_exports
        if not missing:
            return
        config, known = self.config, self._exports()
        task = with_labels(find_task(config.task, columns=asdict(config.columns)), config.data)
        model = load_task_model(self._model, MODEL_OF_KIND[task.kind])
        splits = self._validation_splits(task, model)
        for precision in missing:
            say(console, f"{self.model}: the export in {precision}")
            known[precision] = score_export(model, precision, splits, console)
            content = json.dumps(known, indent=2) + "\n"
            write_atomically(self._folder / EXPORTS_FILE, content.encode())

    def _validation_splits(self, task: Task, model: EncoderModel) -> dict[str, EncodedSplit]:
        """Read the rows that the model itself was scored on; what is left out was said then."""
        config = self.config
        teacher = load_teacher(config.teacher, task.kind) if config.teacher else None
        return {
            name: encode_split(
                task,
                read_split(task, config.data, name, warn=lambda _: None),
                model,
                teacher=teacher,
                max_length=config.max_length,
                stride=config.doc_stride,
            )
            for name in task.validation_splits
        }

    def _mean(self, scores: Scores) -> float:
        return fmean(as_fraction(self.config.task, of["score"]) for of in scores.values())


class TrialCount:
    """Says before each trial which it is, how many there are, and how long they will take.

    Args:
        console: where it is said.
        total: of all trials, those that are remembered included.
    """

    def __init__(self, console: Console, total: int) -> None:
        self.console, self.total = console, total
        self._number, self._seconds = 0, list[float]()

    def score(self, trial: Trial) -> float:
        """Announce a trial and give its score; see `Trial.score`."""
        self._number += 1
        line = f"{trial.work} {self._number} of {self.total}: {trial.description}"
        if trial.is_remembered:
            say(self.console, f"{line}: made before")
            return trial.score(self.console)
        if trial.is_to_be_repeated:
            line += ", again: its model was not kept, and is to be exported"
        if self._seconds:
            left = fmean(self._seconds) * (self.total - self._number + 1)
            line += f"; about {duration(left)} left for all"
        say(self.console, line)
        start = time.perf_counter()
        score = trial.score(self.console)
        self._seconds.append(time.perf_counter() - start)
        return score


def as_fraction(task: str, score: float) -> float:
    """Give a score between 0 and 1, as GLUE's are; SQuAD's is in percent."""
    return score / 100 if task.startswith("squad") else score


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError:
        content = None
    if isinstance(content, dict):
        return content
    raise _broken(path)


def _checked(scores: Any, path: Path) -> Scores:
    """See that there is a score for every split."""
    splits = scores.values() if isinstance(scores, dict) else ()
    if splits and all(isinstance(split, dict) and "score" in split for split in splits):
        return scores
    raise _broken(path)


def _broken(path: Path) -> UserError:
    return UserError(f"{path}: broken; remove {path.parent} and run the command again")
