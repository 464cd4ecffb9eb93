"""The student: a DistilBERT, of a RoBERTa a smaller RoBERTa, started from its teacher's weights.

It may be shallower than the teacher, narrower in its feed-forward layers, and narrower altogether.
Which layers it starts from is given, or found by trying; what a narrower one keeps is ranked. Both
needs some text, so a student is made first, and started when there is some.

Source: Sanh et al. 2019, section 3.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tf_distilbert.distillation.layer_search import Trial, search_layers
from tf_distilbert.distillation.narrowing import cut_out, measure_importance
from tf_distilbert.distillation.pair import as_encoder, can_predict
from tf_distilbert.distillation.student_shape import resolve_layers, student_architecture
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.folder import load_model, load_task_model
from tf_distilbert.model_files.hf_weights import named_variables
from tf_distilbert.model_files.keras_nlp_models import KerasNlpMaskedLanguageModel, named_values
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.models.masked_language_model import MaskedLanguageModel
from tf_distilbert.models.sentence_encoder import SentenceEncoder

Teacher = EncoderModel | KerasNlpMaskedLanguageModel

AUTO = "auto"
"""The layer map that is found by trying; see `search_layers`."""


def build_student(
    teacher: keras.Model,
    num_layers: int | None = None,
    *,
    layer_map: Sequence[int] | str | None = None,
    hidden_size: int | None = None,
    num_heads: int | None = None,
    intermediate_size: int | None = None,
    fold_segments: bool = True,
    initialize_from: str = "teacher",
    keep_projection: bool = True,
    sample: Iterable[Any] | None = None,
) -> EncoderModel:
    """Build the student of a teacher and start it from the teacher's weights.

    Embeddings, the layers of the map and the whole masked-LM head are copied, as far as a narrower
    student has room; of a sentence encoder pooling, projection and prompts, too. The heads of tasks
    are left out. Or take a student that is there already, to go on with it under another loss,
    another text or another teacher.

    Args:
        teacher: a BERT, RoBERTa or DistilBERT: one of `load_model` or `load_task_model`, or a
            keras-nlp ``BertMaskedLM``, ``DistilBertMaskedLM`` or ``RobertaMaskedLM``.
        num_layers: the student's depth; by default the map's length, or half the teacher's layers.
        layer_map: for each student layer the teacher layer (from 0) to copy; by default
            `even_layer_map`; ``auto`` tries maps on the sample, see `search_layers`.
        hidden_size: width of the hidden states; by default the teacher's.
        num_heads: attention heads; by default as many as keep the teacher's head size, which a
            start from the teacher needs.
        intermediate_size: width of the feed-forward layers; by default in the teacher's ratio to
            the hidden size.
        fold_segments: add the teacher's type-0 embedding to the student's position table. The
            student of a BERT has no type embeddings; without them its first layer would see other
            inputs than the teacher's did. The reference drops them (``False`` is exactly that).
        initialize_from: ``teacher``; ``random`` to copy nothing; or the folder of a student, such
            as the ``model`` of an earlier run, or anything else that `load_model` takes, but for
            keras-nlp's presets. It is taken as it is, depth and sizes included; `Distiller` sees
            whether it has the teacher's vocabulary.
        keep_projection: let the vectors of a narrower sentence encoder have the teacher's size, by
            a projection of its own, which begins with what was kept at its old places. ``False``:
            its vectors are as narrow as it is.
        sample: batches of `masked_lm_dataset`, of about a thousand sequences: what the teacher's
            parts are ranked on, and maps tried. Needed for these alone.

    Returns:
        A DistilBERT; of a RoBERTa, which differs in more than depth, a smaller RoBERTa. It is a
        `MaskedLanguageModel` if the teacher is one, a `SentenceEncoder` of a `SentenceEncoder`,
        else an `EncoderModel`, with the teacher's tokenizer. Of a folder, the folder's model with
        the folder's tokenizer.

    Raises:
        UserError: the teacher is no model of these; depth, sizes or layer map do not fit it, or are
            given beside a folder; the folder is missing, broken, or of another kind of model; or a
            sample is needed and is not there.

    Source: Sanh et al. 2019, section 3; for narrower ones see `measure_importance`.

    Example:
        >>> student = build_student(load_model("hf://google-bert/bert-base-uncased"))
        >>> student.count_params()
        66985530
        >>> student = build_student(teacher, intermediate_size=1536, sample=dataset.take(64))
        >>> student = build_student(teacher, initialize_from="runs/first/model")
    """
    student, start = make_student(
        teacher,
        num_layers,
        layer_map=layer_map,
        hidden_size=hidden_size,
        num_heads=num_heads,
        intermediate_size=intermediate_size,
        fold_segments=fold_segments,
        initialize_from=initialize_from,
        keep_projection=keep_projection,
    )
    if start:
        start.apply(teacher, student, sample)
    return student


@dataclass(frozen=True)
class StudentStart:
    """What a new student takes over from its teacher.

    Attributes:
        layers: the teacher's layer that each of the student's starts from; where maps are tried,
            the first one.
        is_searched: whether maps are tried.
        is_narrower: whether the student has room for a part of each layer alone.
        copies: False leaves the student's weights random; then there is nothing to do.
        fold_segments: see `build_student`.
    """

    layers: tuple[int, ...]
    is_searched: bool
    is_narrower: bool
    copies: bool
    fold_segments: bool

    @property
    def needs_sample(self) -> bool:
        """Whether text is needed."""
        return self.copies and (self.is_searched or self.is_narrower)

    def apply(
        self,
        teacher: keras.Model,
        student: EncoderModel,
        sample: Iterable[Any] | None = None,
    ) -> list[Trial]:
        """Give a student its first weights.

        Args:
            teacher, student: those that `make_student` took and gave.
            sample: see `build_student`.

        Returns:
            The maps that were tried, the best first; of a map that was given, none.

        Raises:
            UserError: a sample is needed and is not there.
        """
        if not self.copies:
            return []
        batches = list(sample or ()) if self.needs_sample else []
        if self.needs_sample and not batches:
            raise UserError(
                "a narrower student, and layer_map auto, need text to choose by; give "
                "build_student a sample: batches of masked_lm_dataset"
            )
        teacher, layers, trials, importance = as_encoder(teacher), self.layers, [], None
        if self.needs_sample:
            ranked = _as_ours(teacher)
            if self.is_searched:
                trials = search_layers(ranked, len(layers), layers, batches)
                layers = trials[0].layers
            if self.is_narrower:
                importance = measure_importance(ranked, batches)
        values = named_values(teacher)
        loses_segments = student.architecture.num_segments < teacher.architecture.num_segments
        if self.fold_segments and loses_segments:
            values["encoder/position_table"] = (
                values["encoder/position_table"] + values["encoder/segment_table"][0]
            )
        architectures = teacher.architecture, student.architecture
        own = named_variables(student)
        if "head/kernel" in own and "head/kernel" not in values:  # which changes nothing
            width = teacher.architecture.hidden_size
            values |= {"head/kernel": np.eye(width), "head/bias": np.zeros(width)}
        # The head of a task is none of the student's.
        values = {n: v for n, v in values.items() if n in own or n.startswith("encoder/")}
        values = cut_out(values, *architectures, layers, importance)
        for name, variable in own.items():
            variable.assign(values[name])
        return trials


def make_student(
    teacher: keras.Model, num_layers: int | None = None, **settings: Any
) -> tuple[EncoderModel, StudentStart | None]:
    """Make a student of the right shape, and say what it starts from.

    Args:
        teacher, num_layers, **settings: as `build_student` takes them, but no sample.

    Returns:
        The student, not started yet; and how to start it, None for one that was loaded.

    Raises:
        UserError: as `build_student`.
    """
    teacher = as_encoder(teacher)
    keep_projection = settings.pop("keep_projection", True)
    fold_segments = settings.pop("fold_segments", True)
    initialize_from = settings.pop("initialize_from", "teacher")
    layer_map = settings.pop("layer_map", None)
    if initialize_from not in ("teacher", "random"):
        own = {"num_layers": num_layers, "layer_map": layer_map, **settings}
        return _load_student(initialize_from, own, teacher), None
    copies, depth = initialize_from == "teacher", teacher.architecture.num_layers
    is_searched = _is_searched(layer_map, copies)
    layers = resolve_layers(depth, num_layers, None if is_searched else layer_map)
    architecture = student_architecture(teacher.architecture, len(layers), copies, **settings)
    student = _new_student(teacher, architecture, keep_projection)
    widths = ("hidden_size", "num_heads", "intermediate_size")
    is_narrower = any(
        getattr(architecture, name) < getattr(teacher.architecture, name) for name in widths
    )
    return student, StudentStart(tuple(layers), is_searched, is_narrower, copies, fold_segments)


def _new_student(
    teacher: Teacher, architecture: Architecture, keep_projection: bool
) -> EncoderModel:
    """Make an untrained model of the teacher's kind."""
    if can_predict(teacher):
        return MaskedLanguageModel(architecture, teacher.tokenizer, name="student")
    if not isinstance(teacher, SentenceEncoder):  # the head of a task is not taken over
        return EncoderModel(architecture, teacher.tokenizer, name="student")
    settings = teacher.settings
    is_narrower = architecture.hidden_size != teacher.architecture.hidden_size
    if is_narrower and keep_projection and teacher.head is None:
        settings["projection_size"] = teacher.embedding_size
    return SentenceEncoder(architecture, teacher.tokenizer, name="student", **settings)


def _is_searched(layer_map: Sequence[int] | str | None, copies: bool) -> bool:
    """Tell whether a map is to be found by trying."""
    if not isinstance(layer_map, str):
        return False
    if layer_map != AUTO:
        raise UserError(
            f"student.layer_map is {layer_map}; it must be layers of the teacher, auto, or null"
        )
    if not copies:
        raise UserError(
            "student.layer_map is auto, but student.initialize_from is random, which takes no "
            "layer; remove one"
        )
    return True


def _as_ours(teacher: Teacher) -> EncoderModel:
    """Give a teacher as a model whose layers can be looked into."""
    if isinstance(teacher, EncoderModel):
        return teacher
    copy = MaskedLanguageModel(teacher.architecture)
    values = named_values(teacher)
    for name, variable in named_variables(copy).items():
        variable.assign(values[name])
    return copy


def _load_student(path: str, own: dict[str, Any], teacher: Teacher) -> EncoderModel:
    for name, given in own.items():
        if given is not None:
            raise UserError(
                f"student.{name} is given, but the model of student.initialize_from has its own "
                "layers and sizes; remove one"
            )
    try:
        student = load_model(path) if can_predict(teacher) else load_task_model(path, teacher.task)
    except UserError as error:
        raise UserError(f"student.initialize_from: {error}") from None
    if not isinstance(student, EncoderModel):
        raise UserError(
            f"student.initialize_from: {path}: a keras-nlp preset cannot be trained on; give "
            "another model"
        )
    return student
