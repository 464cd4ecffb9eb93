"""A sentence encoder as it is, scored once on a task of a comparison and remembered."""

import json
from dataclasses import asdict, dataclass
from typing import ClassVar

from rich.console import Console

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.finetuning.evaluation import evaluate_task
from tf_distilbert.finetuning.trials import Trial
from tf_distilbert.runs.directory import SCORES_FILE, RunDirectory


@dataclass(frozen=True)
class ZeroShotTrial(Trial):
    """What is scored on what, without fine-tuning.

    Attributes:
        model, config: as of a `Trial`; of the configuration `task`, `model`, `data`, `output`,
            `max_length` and `columns` count.
    """

    work: ClassVar[str] = "scoring"

    @property
    def description(self) -> str:
        """Say which one it is: task and model."""
        return f"{self.config.task}, {self.model}"

    def score(self, console: Console) -> float:
        """Score the model, or read what was found before.

        Returns:
            The task's score, a fraction.

        Raises:
            UserError: as `evaluate_task`; or what is remembered is broken, or of other settings.
        """
        if not self.is_remembered:
            config = self.config
            scores = evaluate_task(
                config.model,
                config.task,
                config.data,
                columns=asdict(config.columns),
                max_length=config.max_length,
                batch_size=config.train.validation_batch_size,
                progress=not console.quiet,
            )
            RunDirectory(self._folder).create(config)
            content = json.dumps(scores, indent=2) + "\n"
            write_atomically(self._folder / SCORES_FILE, content.encode())
        return super().score(console)
