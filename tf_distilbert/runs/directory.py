"""The folder of one run: resolved configuration, logs, checkpoints, model."""

import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.config.checks import in_words
from tf_distilbert.config.file import dump_config, parse_config, read_run
from tf_distilbert.config.training import TrainConfig
from tf_distilbert.errors import UserError, explain_write_errors
from tf_distilbert.runs.logs import DAMAGE_FILE, read_log

# What may change between a run and its resumption: what has no influence on the result, what has
# none but rounding and dropout's draws, and what mends a run that diverged or whose data broke. One
# batch may be shared by other devices than before.
_MAY_CHANGE = {
    *("output", "data.workers", "data.on_corrupt", "train.resume", "train.backend"),
    *("train.strategy",),
    *("train.log_every", "train.validate_every", "train.validation_batch_size"),
    *("train.checkpoint_every", "train.keep_checkpoints"),
    *("train.histogram_every", "train.profile_steps"),
    *("train.micro_batch_size", "train.steps_per_execution", "train.jit_compile"),
    *("train.learning_rate", "train.clip_norm", "train.max_skipped_updates"),
}
# What else may change where a run goes on: its length, which the loop checks, and its precision.
# Not where a finished result is only looked up: that would be one of another length.
_MAY_CHANGE_TO_GO_ON = {"train.steps", "train.epochs", "train.tokens", "train.precision"}

# What a run reads: these keys have paths, if anything.
_READ = {
    *("teacher", "model", "initialize_from", "student.initialize_from", "data"),
    *("data.text", "data.records", "data.validation", "data.validation_records"),
    "data.vocabulary",
}

SEARCH_FILE = "layer_search.json"
"""Which layers a student could have started from; see `student_start`."""

SCORES_FILE = "scores.json"
"""What a fine-tuning measured in the end."""


def is_checkpoint(path: Path) -> bool:
    """Whether a path is that of a checkpoint, not of what a kill left of one."""
    return path.name.removeprefix("step-").isdigit()


class JobConfig(Protocol):
    """What the configurations of all jobs have: they are frozen dataclasses."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def output(self) -> str:
        """The run directory."""

    @property
    def train(self) -> TrainConfig:
        """How long and how to train."""


class RunDirectory:
    """Where a run keeps everything.

    ``config.yaml`` (every default filled in), ``log.jsonl``, ``tensorboard/``, ``checkpoints/``,
    ``not_finite/`` (the batches whose updates were skipped, if any), ``damaged.jsonl`` (the
    sequences that could not be read, if any) and, when the run is complete, ``model/``. Records
    prepared for the run are beside it, in ``NAME-data/``: they outlive it, and other runs in
    the same folder take them where text, tokenizer and length are the same.

    Attributes:
        path: the folder.
        model, checkpoints, tensorboard, not_finite, data: the paths named above.
        before: how the run was trained that `check` found to go on with; None for a new one.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        if not self.path.name:
            raise UserError(f"{path}: cannot be a run directory; choose another output")
        self.model = self.path / "model"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.not_finite = self.path / "not_finite"
        self.data = self.path.with_name(self.path.name + "-data")
        self.before: TrainConfig | None = None
        self._made: int | None = None  # which file is the ``config.yaml`` that was made here

    def check(self, config: JobConfig, *, goes_on: bool = False) -> None:
        """See whether the run may start, before anything else takes time; writes nothing.

        Args:
            config: the run's configuration; its `train.resume` decides about a run that is there.
            goes_on: whether a run that is there goes on, which may have another length or precision
                from now on; by default its result is taken as it is.

        Raises:
            UserError: the folder holds a run and `train.resume` is ``never``; holds a run with
                other settings and it is ``auto``; holds something else; or holds a model or text
                that the run reads, which it would replace.
        """
        self._check_outside(config)
        if not self.path.exists() or (self.path.is_dir() and self._is_unused()):
            return
        if not (self.path / "config.yaml").exists():
            raise UserError(f"{self.path}: exists and is not a run; choose another output")
        if config.train.resume == "never":
            raise UserError(
                f"{self.path}: holds a run already; add --resume to go on with it, "
                "--overwrite to delete it, or choose another output"
            )
        if config.train.resume == "auto":
            self.before = self._check_same(config, _MAY_CHANGE_TO_GO_ON if goes_on else set())

    def _check_outside(self, config: JobConfig) -> None:
        for key, value in _flat(asdict(config)).items():
            for name in value if isinstance(value, list) else [value]:
                if key not in _READ or not isinstance(name, str) or not name:
                    continue
                path = Path(name).absolute()
                if path.exists() and path.resolve().is_relative_to(self.path.resolve()):
                    raise UserError(
                        f"{key} is {name}, inside the output {self.path}, which the run "
                        "replaces; choose another output"
                    )

    def create(self, config: JobConfig) -> None:
        """Make the folder of a new run; with ``overwrite`` delete the old one first.

        What is not a run's own stays. A run that goes on keeps its ``config.yaml`` until
        `write_config`: it says how long it was to be.

        Raises:
            UserError: it cannot be written.
        """
        with explain_write_errors(self.path):
            if config.train.resume == "overwrite" and self.path.exists():
                self._delete_results()
            self.path.mkdir(parents=True, exist_ok=True)
        if self.before is None:
            self.write_config(config)
            self._made = self._config_file()

    def discard_if_nothing_learnt(self) -> None:
        """Remove a run that was made here and ended before anything was learnt.

        The output is then free for the next try. A run is kept that has a checkpoint, a model, a
        batch that was not finite, or a report of some steps; and one that another process has begun
        in this one's place.
        """
        kept = (self.checkpoints, self.not_finite, self.model)
        is_ours = self._made is not None and self._made == self._config_file()
        if not is_ours or any(path.is_dir() and any(path.iterdir()) for path in kept):
            return
        if read_log(self.path, "train", lambda _: None):
            return
        self._delete_results()
        (self.path / "config.yaml").unlink(missing_ok=True)
        with suppress(OSError):  # what is not ours is in it
            self.path.rmdir()

    @property
    def has_checkpoint(self) -> bool:
        """Whether the run goes on from one, or at least tries to; half of one is none."""
        return any(is_checkpoint(path) for path in self.checkpoints.glob("step-*"))

    def write_config(self, config: JobConfig) -> None:
        """Write ``config.yaml``.

        Raises:
            UserError: it cannot be written.
        """
        write_atomically(self.path / "config.yaml", dump_config(config).encode())

    def _config_file(self) -> int | None:
        try:
            return (self.path / "config.yaml").stat().st_ino
        except FileNotFoundError:
            return None

    def _is_unused(self) -> bool:
        """Whether there is nothing, or only what a kill before the first file left."""
        return {path.name for path in self.path.iterdir()} <= {"config.yaml.partial"}

    def _delete_results(self) -> None:
        for name in ("log.jsonl", DAMAGE_FILE, SCORES_FILE, SEARCH_FILE):
            (self.path / name).unlink(missing_ok=True)
        for folder in (self.tensorboard, self.checkpoints, self.not_finite, self.model):
            if folder.exists():
                shutil.rmtree(folder)

    def _check_same(self, config: JobConfig, may_change: set[str]) -> TrainConfig:
        path = self.path / "config.yaml"
        try:
            found = parse_config(type(config), read_run(path))
        except UserError as error:
            raise UserError(f"{path}: {error}".replace(f"{path}: {path}", str(path))) from None
        before, now = _flat(asdict(found)), _flat(asdict(config))
        if now["train.precision"] == "auto":  # whatever it has been
            now["train.precision"] = before["train.precision"]
        for key in sorted(before.keys() | now.keys()):
            if key not in _MAY_CHANGE | may_change and before.get(key) != now.get(key):
                had, has = _shown(before.get(key)), _shown(now.get(key))
                raise UserError(
                    f"{self.path}: its run has {key} {had}, now it is {has}; resume with the same "
                    "settings or choose another output"
                )
        return found.train


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else in_words(value)


def _flat(values: dict, prefix: str = "") -> dict:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
