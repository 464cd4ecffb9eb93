"""The settings of what learns, and of what it is taught by."""

from dataclasses import asdict, dataclass
from typing import Any

from tf_distilbert.config.checks import check, check_choice
from tf_distilbert.errors import UserError
from tf_distilbert.models.architecture import Architecture


@dataclass(frozen=True)
class StudentConfig:
    """What student is built from the teacher; see `build_student`.

    Attributes:
        num_layers: the student's depth; by default the map's length, or half the teacher's layers.
        layer_map: for each student layer the teacher layer (from 0) that it starts as; by default
            evenly from first to last; ``auto`` tries maps before the run, see `search_layers`.
        hidden_size: width of the hidden states; null: the teacher's. Where it differs, set
            ``loss.cosine_weight`` to 0 and ``loss.relation_weight`` in its place.
        num_heads: attention heads; null: as many as keep the teacher's head size.
        intermediate_size: width of the feed-forward layers; null: in the teacher's ratio.
        vocabulary: keep so many tokens, the commonest of ``data.text``, for teacher and student;
            see `kept_tokens`. null: all.
        fold_segments: add the teacher's type-0 embedding to the student's position table.
        keep_projection: let a narrower sentence encoder's vectors have the teacher's size.
        initialize_from: ``teacher``, ``random``, or the folder of a student to train on, such as
            the ``model`` of an earlier run, see `load_model`; its depth and sizes are kept.
    """

    num_layers: int | None = None
    layer_map: list[int] | str | None = None
    hidden_size: int | None = None
    num_heads: int | None = None
    intermediate_size: int | None = None
    vocabulary: int | None = None
    fold_segments: bool = True
    keep_projection: bool = True
    initialize_from: str = "teacher"

    def __post_init__(self) -> None:
        start = self.initialize_from
        check(start != "", "student.initialize_from", start, "teacher, random, or a model's folder")
        layer_map, sizes = self.layer_map, ("hidden_size", "num_heads", "intermediate_size")
        if start not in ("teacher", "random"):
            for name in ("num_layers", "layer_map", *sizes, "vocabulary"):
                if getattr(self, name) is not None:
                    raise UserError(
                        f"student.{name} is given, but the model of student.initialize_from has "
                        f"its own layers and sizes; leave one out, or give student.{name}=null"
                    )
        if isinstance(layer_map, str):
            wanted = "layers of the teacher, auto, or null"
            check(layer_map == "auto", "student.layer_map", layer_map, wanted)
        elif self.num_layers and layer_map and len(layer_map) != self.num_layers:
            raise UserError(
                f"student.layer_map has {len(layer_map)} entries for {self.num_layers} "
                "student layers; give one teacher layer for each"
            )
        for name in (*sizes, "vocabulary"):
            size = getattr(self, name)
            check(size is None or size > 0, f"student.{name}", size, "above 0, or null")
        if start == "random" and layer_map == "auto":
            raise UserError(
                "student.layer_map is auto, but student.initialize_from is random, which takes no "
                "layer; remove one"
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


TERM_SETTINGS = {
    "relation_weight": ("relation_heads", "relation_layers"),
    "hidden_weight": ("hidden_layers",),
}
"""By the weight of a term the settings that say nothing without it, and are null by default."""


def check_terms(loss: Any) -> None:
    """Refuse settings of a term that is left out, and hidden layers that are no pairs.

    Args:
        loss: the settings ``loss`` of a run; whether the models have such layers, they know.
    """
    pairs = loss.hidden_layers
    are_pairs = pairs is None or (len(pairs) > 0 and all(len(pair) == 2 for pair in pairs))
    check(are_pairs, "loss.hidden_layers", pairs, "pairs of layers, [[teacher, student], ...]")
    for weight, names in TERM_SETTINGS.items():
        for name in names:
            value = getattr(loss, name, None)
            if value is not None and not getattr(loss, weight):
                raise UserError(
                    f"loss.{name} is given, but loss.{weight} is 0; give the term a weight, or "
                    f"loss.{name}=null"
                )


@dataclass(frozen=True)
class LossConfig:
    """The objective; see `Distiller`.

    Attributes:
        temperature: of the distillation term.
        distillation_weight, mlm_weight, cosine_weight: of DistilBERT's triple loss.
        mse_weight: of the squared distance of the logits.
        relation_weight: of the attention relations of one layer, as MiniLMv2 compares them.
        hidden_weight: of the squared distance of hidden states, layer by layer.
        embedding_weight: of the distance of a sentence encoder's vectors of ``data.rows=texts``.
        embedding_loss: ``cosine`` or ``mse``, of these.
        distillation_positions: ``all`` or ``masked``: where predictions are compared.
        relation_heads: into how many parts queries, keys and values are cut; null: the largest
            number up to 48 that divides both hidden sizes.
        relation_layers: ``[teacher, student]``, from 0; null: the last of each.
        hidden_layers: pairs ``[teacher, student]``, from 0; null: each layer of the student with
            one of the teacher, evenly.
        chunk_size: tokens whose logits are in memory at a time.
    """

    temperature: float = 2.0
    distillation_weight: float = 5.0
    mlm_weight: float = 2.0
    cosine_weight: float = 1.0
    mse_weight: float = 0.0
    relation_weight: float = 0.0
    hidden_weight: float = 0.0
    embedding_weight: float = 0.0
    embedding_loss: str = "cosine"
    distillation_positions: str = "all"
    relation_heads: int | None = None
    relation_layers: list[int] | None = None
    hidden_layers: list[list[int]] | None = None
    chunk_size: int = 512

    def __post_init__(self) -> None:
        check(self.temperature > 0, "loss.temperature", self.temperature, "above 0")
        check_choice("loss.embedding_loss", self.embedding_loss, ("cosine", "mse"))
        check_choice("loss.distillation_positions", self.distillation_positions, ("all", "masked"))
        weights = {name: value for name, value in asdict(self).items() if name.endswith("_weight")}
        for name, value in weights.items():
            check(value >= 0, f"loss.{name}", value, "0 or more")
        check(self.chunk_size > 0, "loss.chunk_size", self.chunk_size, "above 0")
        heads, layers = self.relation_heads, self.relation_layers
        check(heads is None or heads > 0, "loss.relation_heads", heads, "above 0, or null")
        is_pair = layers is None or len(layers) == 2
        check(is_pair, "loss.relation_layers", layers, "two layers, [teacher, student]")
        check_terms(self)
        if not any(weights.values()):
            raise UserError("all weights under loss are 0; there is nothing to learn")
