"""The settings of what learns, and of what it is taught by."""

from dataclasses import asdict, dataclass

from tf_distilbert.config.checks import check, check_choice
from tf_distilbert.errors import UserError
from tf_distilbert.models.architecture import Architecture


@dataclass(frozen=True)
class StudentConfig:
    """What student is built from the teacher; see `build_student`.

    Attributes:
        num_layers: the student's depth; by default the map's length, or half the teacher's layers.
        layer_map: for each student layer the teacher layer (from 0) that it starts as; by default
            evenly from first to last.
        fold_segments: add the teacher's type-0 embedding to the student's position table.
        initialize_from: ``teacher``, ``random``, or the folder of a student to train on, such as
            the ``model`` of an earlier run, see `load_model`; its depth and sizes are kept.
    """

    num_layers: int | None = None
    layer_map: list[int] | None = None
    fold_segments: bool = True
    initialize_from: str = "teacher"

    def __post_init__(self) -> None:
        start = self.initialize_from
        check(start != "", "student.initialize_from", start, "teacher, random, or a model's folder")
        if start not in ("teacher", "random"):
            for name in ("num_layers", "layer_map"):
                if getattr(self, name) is not None:
                    raise UserError(
                        f"student.{name} is given, but the model of student.initialize_from has "
                        f"its own layers; leave one out, or give student.{name}=null"
                    )
        if self.num_layers and self.layer_map and len(self.layer_map) != self.num_layers:
            raise UserError(
                f"student.layer_map has {len(self.layer_map)} entries for {self.num_layers} "
                "student layers; give one teacher layer for each"
            )


@dataclass(frozen=True)
class ModelConfig:
    """The teacher that `pretrain` makes from scratch; see `Architecture`."""

    hidden_size: int = 768
    num_layers: int = 12
    num_heads: int = 12
    intermediate_size: int = 3072
    max_positions: int = 512
    dropout: float = 0.1
    attention_dropout: float = 0.1
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        try:
            Architecture(vocabulary_size=1, **asdict(self))
        except UserError as error:
            raise UserError(f"model.{error}") from None


@dataclass(frozen=True)
class LossConfig:
    """The objective; see `Distiller`."""

    temperature: float = 2.0
    distillation_weight: float = 5.0
    mlm_weight: float = 2.0
    cosine_weight: float = 1.0
    mse_weight: float = 0.0
    distillation_positions: str = "all"
    chunk_size: int = 512

    def __post_init__(self) -> None:
        check(self.temperature > 0, "loss.temperature", self.temperature, "above 0")
        check_choice("loss.distillation_positions", self.distillation_positions, ("all", "masked"))
        weights = {name: value for name, value in asdict(self).items() if name.endswith("_weight")}
        for name, value in weights.items():
            check(value >= 0, f"loss.{name}", value, "0 or more")
        check(self.chunk_size > 0, "loss.chunk_size", self.chunk_size, "above 0")
        if not any(weights.values()):
            raise UserError("all weights under loss are 0; there is nothing to learn")
