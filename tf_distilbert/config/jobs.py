"""Everything that a distillation or a pretraining needs."""

from dataclasses import dataclass, field

from tf_distilbert.config.data import DataConfig
from tf_distilbert.config.models import LossConfig, ModelConfig, StudentConfig
from tf_distilbert.config.training import TrainConfig
from tf_distilbert.errors import UserError


@dataclass(frozen=True)
class DistillConfig:
    """Everything that ``tf-distilbert distill`` needs; a `UserError` where that cannot be.

    Attributes:
        teacher: folder of the teacher; see `load_model`.
        output: the run directory.
        data, train, student, loss: parts with keys of their own.
    """

    teacher: str
    output: str
    data: DataConfig
    train: TrainConfig
    student: StudentConfig = field(default_factory=StudentConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        if self.data.vocabulary is not None:
            raise UserError("data.vocabulary is given, but a student has its teacher's; remove it")
        for name, text in (("records", "text"), ("validation_records", "validation")):
            if self.student.vocabulary is not None and getattr(self.data, name):
                raise UserError(
                    f"student.vocabulary cuts the teacher's, with which data.{name} were "
                    f"prepared; give data.{text} in their place"
                )
        _check_rows(self.loss, self.data)


def _check_rows(loss: LossConfig, data: DataConfig) -> None:
    """See that rows are what the terms compare."""
    if data.rows == "texts" and data.packing:
        raise UserError("data.packing puts several texts into a row, data.rows=texts one; choose")
    if not loss.embedding_weight:
        return
    if data.rows != "texts":
        raise UserError(
            "loss.embedding_weight compares whole texts; give data.rows=texts, of a text a line"
        )
    for term in ("distillation", "mlm", "mse"):
        if getattr(loss, f"{term}_weight"):
            raise UserError(
                f"loss.{term}_weight hides words of the texts whose vectors "
                f"loss.embedding_weight compares; set one of them to 0"
            )


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that ``tf-distilbert pretrain`` needs; a `UserError` where that cannot be.

    Attributes:
        output: the run directory.
        data, train, model: parts with keys of their own.
        initialize_from: folder of a masked language model to train on, see `load_model`; its sizes
            and vocabulary are kept. By default a new one is made: `model`, `data.vocabulary`.
    """

    output: str
    data: DataConfig
    train: TrainConfig
    initialize_from: str | None = None
    model: ModelConfig = field(default_factory=ModelConfig)

    def __post_init__(self) -> None:
        if self.initialize_from is not None:
            for name, given in (("data.vocabulary", self.data.vocabulary), ("model", self.model)):
                if given not in (None, ModelConfig()):
                    message = "is given, but the model of initialize_from has its own; remove one"
                    raise UserError(f"{name} {message}")
            return
        if self.data.vocabulary is None:
            raise UserError("data.vocabulary is missing; give a vocab.txt, or a number to learn")
        if isinstance(self.data.vocabulary, int) and not self.data.text:
            raise UserError("data.vocabulary is a number, but there is no data.text to learn from")
        if self.data.sequence_length > self.model.max_positions:
            raise UserError(
                f"data.sequence_length {self.data.sequence_length} exceeds model.max_positions "
                f"{self.model.max_positions}"
            )
