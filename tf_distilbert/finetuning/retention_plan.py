"""Which models are fine-tuned on which tasks, and the scores that this gives."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path

from rich.console import Console

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.config.finetuning import FinetuneConfig
from tf_distilbert.console.lines import say
from tf_distilbert.errors import NotFiniteError, UserError, explain_write_errors
from tf_distilbert.finetuning.baseline import Baseline, baseline_of, mean_baseline
from tf_distilbert.finetuning.exported import export_row, table_rows
from tf_distilbert.finetuning.files import find_folder
from tf_distilbert.finetuning.splits import TFDS, read_split, with_labels
from tf_distilbert.finetuning.start_model import MODEL_OF_KIND, task_for_model
from tf_distilbert.finetuning.students import folder_name
from tf_distilbert.finetuning.tasks import Task, find_task
from tf_distilbert.finetuning.trials import Trial, TrialCount
from tf_distilbert.finetuning.zero_shot import ZeroShotTrial
from tf_distilbert.model_files.folder import weights_digest, written_task


@dataclass(frozen=True)
class RetentionPlan:
    """Which models are fine-tuned on which tasks, and how.

    Sentence encoders are not fine-tuned on tasks by vectors, nor on STS-B: they are scored once, as
    they are.

    Attributes:
        models: name to folder; the teacher first, then the students.
        tasks: names.
        data: folders that the tasks' folders are in, or ``tfds``.
        output: everything is remembered here.
        seeds: how many fine-tunings a model and task, with the seeds 1, 2, ...
        learning_rates: of several the best is chosen, for each model and task, by a fine-tuning
            on nine tenths of the training split that is scored on the tenth; one at which the loss
            is not finite is none.
        settings: what is the same in all, but `model`, `task`, `data`, `output`.
        exports: precisions, in which each fine-tuned student is scored, too; see `score_export`.
    """

    models: Mapping[str, str]
    tasks: Sequence[str]
    data: Sequence[str]
    output: Path
    seeds: int
    learning_rates: Sequence[float]
    settings: FinetuneConfig
    exports: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.seeds < 1 or not self.tasks or not self.learning_rates:
            raise UserError("give at least one of each: seeds, tasks, learning rates")

    def check(self) -> None:
        """See that tasks, data and models are there.

        Raises:
            UserError: one is not, or is broken; or a task has nothing to learn from; or models of
                different kinds cannot be compared on it.
        """
        for path in self.models.values():
            written_task(path)
        for task in map(self._task, self.tasks):
            self._check_kinds(task)
            for split in task.validation_splits:  # "train" is read in any case
                read_split(task, self._places[task.name], split, warn=lambda _: None)

    def scores(self, console: Console) -> dict[str, dict[str, list[float]]]:
        """Fine-tune everything that has not been yet.

        Returns:
            Row of the table, see `table_rows`, to task to the scores, one a seed; of `zero_shot`
            one.

        Raises:
            UserError: as `finetune`.
            Interrupted: as `finetune`; called again, it goes on.
        """
        for name in self.tasks:
            self._check_kinds(self._task(name))  # of models that were made since `check`, too
        for name, path in self.models.items():
            self._check_weights(name, path)
        found: dict[str, dict[str, list[float]]] = {
            row: {} for row in table_rows(self.models, self.exports)
        }
        searches = len(self.learning_rates) if len(self.learning_rates) > 1 else 0
        tuned = len(self.tasks) - len(self.zero_shot)
        total = len(self.models) * (tuned * (searches + self.seeds) + len(self.zero_shot))
        count = TrialCount(console, total)
        # Task by task: what is known of one can be compared early.
        for task, model in product(self.tasks, self.models):
            if (name := self._task(task).name) in self.zero_shot:
                found[model][name] = [count.score(self._zero_shot_trial(model, name))]
                continue
            rate = self._best_rate(model, task, count)
            trials = [self._trial(model, task, rate, seed) for seed in self._seeds]
            found[model][name] = [count.score(trial) for trial in trials]
            for precision in self._exports_of(model):
                of_exports = [trial.export_scores()[precision] for trial in trials]
                found[export_row(model, precision)][name] = of_exports
        return found

    def baselines(self) -> dict[str, Baseline]:
        """Give for each task what is scored without any model; see `Baseline`.

        Raises:
            UserError: as `check`.
        """
        found = {}
        for name, place in self._places.items():
            task = with_labels(self._task(name), place)
            splits = (read_split(task, place, s, lambda _: None) for s in task.validation_splits)
            found[name] = mean_baseline([baseline_of(task, split) for split in splits])
        return found

    @property
    def zero_shot(self) -> list[str]:
        """The tasks that are scored without fine-tuning."""
        return [task.name for task in map(self._task, self.tasks) if task.by_vectors]

    @property
    def first_task(self) -> Task:
        """The task whose head models have when they are weighed and timed, with its classes."""
        task = self._task(self.tasks[0])
        return with_labels(task, self._places[task.name])

    @property
    def _seeds(self) -> range:
        return range(1, self.seeds + 1)

    def _best_rate(self, model: str, task: str, count: TrialCount) -> float:
        if len(self.learning_rates) == 1:
            return self.learning_rates[0]
        scores = {}
        for rate in self.learning_rates:
            try:
                trial = self._trial(model, task, rate, 1, validation_share=0.1)
                scores[rate] = count.score(trial)
            except NotFiniteError as error:
                say(count.console, f"{model}, {task}, {rate:g}: {error}")
        if not scores:
            raise UserError(f"{model}, {task}: no learning rate keeps finite; give lower ones")
        return max(scores, key=lambda rate: scores[rate])

    def _trial(
        self, model: str, task: str, rate: float, seed: int, validation_share: float | None = None
    ) -> Trial:
        name = self._task(task).name
        kind = "search" if validation_share else "runs"
        folder = self.output / kind / folder_name(model) / name / f"{rate:g}" / f"seed-{seed}"
        config = replace(
            self.settings,
            task=name,
            model=self.models[model],
            data=self._places[name],
            output=str(folder),
            validation_share=validation_share,
            train=replace(self.settings.train, learning_rate=rate, seed=seed),
        )
        # A search chooses the learning rate of the model itself.
        return Trial(model, config, () if validation_share else self._exports_of(model))

    def _zero_shot_trial(self, model: str, task: str) -> Trial:
        folder = self.output / "runs" / folder_name(model) / task / "zero-shot"
        config = FinetuneConfig(
            task=task,
            model=self.models[model],
            data=self._places[task],
            output=str(folder),
            max_length=self.settings.max_length,
            columns=self.settings.columns,
        )
        return ZeroShotTrial(model, config)

    def _check_kinds(self, task: Task) -> None:
        """See that all models are sentence encoders, where one is or must be."""
        wanted = MODEL_OF_KIND["similarity"]
        if not task.by_vectors and task.name != "stsb":
            return
        encoders = {name: written_task(path) == wanted for name, path in self.models.items()}
        others = [name for name, is_one in encoders.items() if not is_one]
        if others and (task.by_vectors or len(others) < len(encoders)):
            raise UserError(
                f"{task.name}: {others[0]} ({self.models[others[0]]}) is no sentence encoder; by "
                "vectors these alone are compared, with each other"
            )
        if self.exports and not others:
            raise UserError(
                f"{task.name}: the exports of sentence encoders are not scored; leave --exports out"
            )

    def _exports_of(self, model: str) -> Sequence[str]:
        return () if model == next(iter(self.models)) else self.exports

    def _task(self, name: str) -> Task:
        task = find_task(name, columns=asdict(self.settings.columns))
        return task_for_model(task, next(iter(self.models.values())))

    @cached_property
    def _places(self) -> dict[str, str]:
        """Where the data of each task is."""
        return {task.name: self._place_of(task) for task in map(self._task, self.tasks)}

    def _place_of(self, found: Task) -> str:
        """Find the place that has the task's own folder, or else its files."""
        places = [p if p == TFDS else str(find_folder(found, Path(p))) for p in self.data]
        own = [p for p in places if Path(p).name in found.folders]
        # What is not learnt has to be measured alone.
        split = found.validation_splits[0] if found.by_vectors else "train"
        failures = []
        for place in dict.fromkeys([*own, *places]):
            try:
                read_split(found, place, split, warn=lambda _: None)
            except UserError as error:
                failures.append(error)
            else:
                return place
        raise failures[0]

    def _check_weights(self, model: str, path: str) -> None:
        """See that what is remembered of a model was made with its weights: they may have been
        trained anew, in the same folder."""
        folder = self.output / "runs" / folder_name(model)
        remembered, digest = folder / "weights.sha256", weights_digest(path)
        if remembered.exists() and remembered.read_text("utf-8") != digest:
            raise UserError(
                f"{folder}: was made with other weights of {path}; remove it, or choose another "
                "output"
            )
        with explain_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_atomically(remembered, digest.encode())
