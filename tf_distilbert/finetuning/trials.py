"""What a retention makes, each once and remembered: fine-tunings, and students of an ablation."""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any

from rich.console import Console

from tf_distilbert.config.finetuning import FinetuneConfig
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.console.lines import duration, say
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.finetune import finetune
from tf_distilbert.model_files.folder import load_tokenizer
from tf_distilbert.runs.directory import SCORES_FILE, RunDirectory
from tf_distilbert.runs.records import load_records
from tf_distilbert.runs.train import distill


@dataclass(frozen=True)
class Trial:
    """What is fine-tuned on what.

    Attributes:
        model: the name that tables give the model.
        config: of the fine-tuning; its output is where the trial is remembered.
    """

    model: str
    config: FinetuneConfig

    @property
    def description(self) -> str:
        """Say which one it is: task, model, seed and, in a search, the learning rate."""
        config = self.config
        search = f", trying the learning rate {config.train.learning_rate:g}"
        which = search if config.validation_share else f", seed {config.train.seed}"
        return f"{config.task}, {self.model}{which}"

    @property
    def is_remembered(self) -> bool:
        """Whether it has been made, by this call or an earlier one."""
        return (Path(self.config.output) / SCORES_FILE).exists()

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
        if self.is_remembered:
            RunDirectory(folder).check(config)  # or another model's scores would be taken for its
        else:
            finetune(config, console, model_stays=False)
            for name in ("checkpoints", "model"):
                shutil.rmtree(folder / name, ignore_errors=True)
        splits = _read(path)
        return fmean(as_fraction(self.config.task, scores["score"]) for scores in splits.values())


class TrialCount:
    """Says before each fine-tuning which it is, how many there are, and how long they will take.

    Args:
        console: where it is said.
        total: of all fine-tunings, those that are remembered included.
    """

    def __init__(self, console: Console, total: int) -> None:
        self.console, self.total = console, total
        self._number, self._seconds = 0, list[float]()

    def score(self, trial: Trial) -> float:
        """Announce a trial and give its score; see `Trial.score`."""
        self._number += 1
        line = f"fine-tuning {self._number} of {self.total}: {trial.description}"
        if trial.is_remembered:
            say(self.console, f"{line}: made before")
            return trial.score(self.console)
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


def _read(path: Path) -> Mapping[str, Mapping[str, float]]:
    try:
        splits = json.loads(path.read_text("utf-8"))
        if splits and all("score" in scores for scores in splits.values()):
            return splits
    except (ValueError, AttributeError, TypeError):
        pass
    raise UserError(f"{path}: broken; remove {path.parent} and run the command again")


WHOLE, ALONE = "triple loss", "masked LM alone"

# Nothing of the teacher's logits.
_UNTAUGHT = {"distillation_weight": 0.0, "mse_weight": 0.0}

VARIANTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        WHOLE: {},
        "without distillation": {"loss": _UNTAUGHT},
        "without cosine": {"loss": {"cosine_weight": 0.0}},
        "without masked LM": {"loss": {"mlm_weight": 0.0}},
        ALONE: {"loss": {**_UNTAUGHT, "cosine_weight": 0.0}},
        "random initialisation": {"student": {"initialize_from": "random"}},
    }
)
"""Name to what differs from the configuration, section by section."""


def distil_variants(config: DistillConfig, output: Path, console: Console) -> dict[str, Path]:
    """Distil every variant from the same start with the same budget.

    What is there already is kept, and what was stopped goes on.

    Args:
        config: of the whole recipe; its own output is not used.
        output: the folder of the runs, one a variant, and of the text that all learn from.
        console: where progress is shown.

    Returns:
        Name to the folder of the model.

    Raises:
        UserError: as `distill`; a variant has nothing to learn from, or is there with other
            settings.
        Interrupted: as `distill`.
    """
    config = replace(config, train=replace(config.train, resume="auto"))
    config = _with_records(config, output / "data")
    # What is wrong with the last one is to be said before the first one takes hours.
    variants = {name: _variant(config, name, output) for name in VARIANTS}
    for variant in variants.values():
        RunDirectory(variant.output).check(variant)
    missing = {
        name: variant
        for name, variant in variants.items()
        if not RunDirectory(variant.output).model.exists()
    }
    for number, (name, variant) in enumerate(missing.items(), start=1):
        say(console, f"distilling {number} of {len(missing)}: {name}")
        distill(variant, console)
    return {name: Path(variant.output) / "model" for name, variant in variants.items()}


def _with_records(config: DistillConfig, folder: Path) -> DistillConfig:
    """Prepare the text once for all variants."""
    if config.data.records:
        return config
    whole = replace(config.data, validation_share=0.0)
    records, held_out = load_records(whole, load_tokenizer(config.teacher), folder)
    data = replace(config.data, text=[], records=str(records.path))
    if held_out:
        data = replace(data, validation=[], validation_records=str(held_out.path))
    return replace(config, data=data)


def _variant(config: DistillConfig, name: str, output: Path) -> DistillConfig:
    sections = {key: dict(new) for key, new in VARIANTS[name].items()}
    if name == ALONE and not config.loss.mlm_weight:
        sections["loss"]["mlm_weight"] = 1.0  # alone, its weight decides nothing
    try:
        changed = {key: replace(getattr(config, key), **new) for key, new in sections.items()}
    except UserError as error:
        raise UserError(f"the variant {name}: {error}") from None
    return replace(config, output=str(output / name.replace(" ", "-")), **changed)
