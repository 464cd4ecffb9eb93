"""The folder of one run: resolved configuration, logs, checkpoints, model."""

import shutil
from pathlib import Path

import yaml

from tf_distilbert.config_file import dump_config, read_yaml
from tf_distilbert.errors import UserError, explain_write_errors

# Settings that may change between a run and its resumption: those that have no influence on the
# result, and those that mend a run that diverged.
_FREE = {
    *("data.workers", "train.resume", "train.log_every", "train.validate_every"),
    *("train.checkpoint_every", "train.keep_checkpoints", "train.validation_batch_size"),
    *("train.learning_rate", "train.clip_norm"),
}


class RunDirectory:
    """Where a run keeps everything.

    ``config.yaml`` (every default filled in), ``log.jsonl``, ``tensorboard/``, ``checkpoints/``
    and, when the run is complete, ``model/``. Records prepared for the run are beside it, in
    ``NAME-data/``: they outlive it, and other runs with the same data take them.

    Attributes:
        path: the folder.
        model, checkpoints, data: the paths named above.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        if not self.path.name:
            raise UserError(f"{path}: cannot be a run directory; choose another output")
        self.model = self.path / "model"
        self.checkpoints = self.path / "checkpoints"
        self.data = self.path.with_name(self.path.name + "-data")

    def check(self, config: object, resume: str) -> None:
        """See whether the run may start, before anything else takes time; writes nothing.

        Args:
            config: the run's configuration.
            resume: ``never``, ``auto`` or ``overwrite``; see `TrainConfig`.

        Raises:
            UserError: the folder holds a run and `resume` is ``never``; holds a run with other
                settings and `resume` is ``auto``; or holds something else.
        """
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return
        if not (self.path / "config.yaml").exists():
            raise UserError(f"{self.path}: exists and is not a run; choose another output")
        if resume == "never":
            raise UserError(
                f"{self.path}: holds a run already; add --resume to go on with it, "
                "--overwrite to delete it, or choose another output"
            )
        if resume == "auto":
            self._check_same(config)

    def create(self, config: object, resume: str) -> None:
        """Make the folder and write ``config.yaml``; with ``overwrite`` delete the old run first.

        What is not a run's own stays.

        Raises:
            UserError: it cannot be written.
        """
        with explain_write_errors(self.path):
            if resume == "overwrite":
                self._delete_run()
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / "config.yaml").write_text(dump_config(config), encoding="utf-8")

    def _delete_run(self) -> None:
        for name in ("config.yaml", "log.jsonl"):
            (self.path / name).unlink(missing_ok=True)
        for name in ("tensorboard", "checkpoints", "model"):
            shutil.rmtree(self.path / name, ignore_errors=True)

    def _check_same(self, config: object) -> None:
        path = self.path / "config.yaml"
        before = _flat(read_yaml(path))
        if not before:
            raise UserError(f"{path}: is empty; choose another output, or --overwrite the run")
        now = _flat(yaml.safe_load(dump_config(config)))
        for key in sorted(before.keys() | now.keys()):
            if key not in _FREE and before.get(key) != now.get(key):
                raise UserError(
                    f"{self.path}: its run has {key} {before.get(key)}, now it is {now.get(key)}; "
                    "resume with the same settings or choose another output"
                )


def _flat(values: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
