"""The model of a run and what it is compared with, as far as that is there."""

from dataclasses import dataclass, field

import keras

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.finetune_config import FinetuneConfig
from tf_distilbert.model_folder import load_model, load_task_model
from tf_distilbert.report.held_out import HeldOut
from tf_distilbert.report.run import Run
from tf_distilbert.run_data import find_data

NO_MODEL = "There is no model yet: it is written when the run ends, and what needs it is left out."


@dataclass
class RunModels:
    """What a run made, and its teacher.

    Attributes:
        run: as given.
        model: the finished model.
        teacher: if there is one and it can still be loaded.
        held_out: what was held out, if it is found; of models of tasks it is not looked for.
        notes: a sentence for each thing that is missing.
    """

    run: Run
    model: keras.Model
    teacher: keras.Model | None = None
    held_out: HeldOut | None = None
    notes: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, run: Run) -> "RunModels | None":
        """Load what there is; None for a run that has no model yet, see `NO_MODEL`.

        Raises:
            UserError: the finished model is broken.
        """
        if run.model is None:
            return None
        of_task = run.verb == "finetune"
        models = cls(run, (load_task_model if of_task else load_model)(run.model))
        if run.teacher:
            try:
                models.teacher = (load_task_model if of_task else load_model)(run.teacher)
            except UserError as error:
                models.notes.append(
                    f"The teacher cannot be loaded ({error}): what needs it is left out."
                )
        models.find_data()
        return models

    def find_data(self) -> None:
        """Open what was held out, if it is still there."""
        config, folder = self.run.config, self.run.folder.absolute()
        if isinstance(config, FinetuneConfig):
            return
        beside = folder.with_name(folder.name + "-data")
        _, records = find_data(config.data, self.model.tokenizer, beside)
        if records is None:
            self.notes.append(
                "There is no held-out text, or it is no longer where the run had it: figures of "
                "quality, layers and examples are left out."
            )
        else:
            self.held_out = HeldOut(records)
