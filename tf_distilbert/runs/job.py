"""A job that makes a model: how each begins, and how it ends with the model in its folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from tf_distilbert.config.training import TrainConfig
from tf_distilbert.console.lines import say
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.model_files.provenance import write_provenance
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.runs.directory import JobConfig, RunDirectory
from tf_distilbert.runs.logs import read_log
from tf_distilbert.training import runtime
from tf_distilbert.training.strategy import (
    Strategy,
    chief_first,
    explain_lost_workers,
    is_chief,
    make_strategy,
    num_replicas,
)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Job:
    """Devices, output and settings of a job.

    Attributes:
        config: as given, but with the precision that `auto` stands for here.
        strategy: which devices train; models are made in its scope.
        console: where progress is shown; a quiet one, if this process is not the chief's.
        run: the run directory.
    """

    config: JobConfig
    strategy: Strategy
    console: Console
    run: RunDirectory

    @classmethod
    def open(cls, config: JobConfig, console: Console | None) -> "Job":
        """Connect the devices, before anything is computed, and see whether the run may start.

        Sets the precision of models made from now on; see `runtime.kept_precision`. A run that goes
        on has the one that it had, if no other is asked for.

        Raises:
            UserError: the devices are not there, or have not the precision; or the output holds
                something else.
        """
        with runtime.quiet_start():
            strategy = make_strategy(config.train.strategy)
        console = console or Console(stderr=True)
        if not is_chief(strategy):
            console = Console(quiet=True)
        run = RunDirectory(config.output)
        run.check(config, goes_on=True)
        precision = _set_precision_and_seed(config.train, run)
        config = replace(config, train=replace(config.train, precision=precision))
        return cls(config, strategy, console, run)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Do the job within: explain a lost worker, remove a run that learnt nothing.

        Raises:
            UserError: another worker was lost.
        """
        try:
            with explain_lost_workers(self.strategy):
                yield
        except BaseException:
            if is_chief(self.strategy):
                self.run.discard_if_nothing_learnt()
            raise

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """The arguments of a trainer that follow from the devices and the seed."""
        train = self.config.train
        micro_batches = train.micro_batches(num_replicas(self.strategy))
        return {"micro_batches": micro_batches, "seed": train.seed % 2**31}

    def load(self, load: Callable[[bool], Result]) -> Result:
        """Load or prepare the data, the chief first, then begin to write the run.

        Args:
            load: is told whether to show progress.
        """
        chief = is_chief(self.strategy)

        def job() -> Result:
            result = load(chief)
            if chief:
                self.run.create(self.config)
            return result

        return chief_first(self.strategy, job)

    def finish(self, model: EncoderModel, verb: str, *, stays: bool = True) -> Path:
        """Write the finished model and where it comes from; give its folder.

        Args:
            model: what was trained.
            verb: of the command line.
            stays: whether the folder stays, and is to be named.
        """

        def save() -> None:
            if is_chief(self.strategy):
                save_model(model, self.run.model, overwrite=True)
                warn = partial(say, self.console)
                validations: list[dict[str, Any]] = read_log(self.run.path, "validation", warn)
                last = validations[-1] if validations else None
                write_provenance(self.run.model, verb, asdict(self.config), last)

        chief_first(self.strategy, save)
        if stays:
            say(self.console, f"the model is in {self.run.model}")
        return self.run.model


def _set_precision_and_seed(train: TrainConfig, run: RunDirectory) -> str:
    """Set what is asked for, with ``auto`` what the run had; give the precision that was set."""
    before = run.before.precision if run.before else "auto"
    wanted = before if train.precision == "auto" else train.precision
    try:
        return runtime.set_precision_and_seed(wanted, train.seed)
    except UserError:
        if wanted != before:
            raise
        raise UserError(
            f"{run.path}: its run was in {before}, which this device does not have; go on with "
            "train.precision=float32, which changes it, or on a device that has it"
        ) from None
