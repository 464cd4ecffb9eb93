"""The student: a DistilBERT of half the teacher's depth (half a RoBERTa), started from its weights.

Source: Sanh et al. 2019, section 3 (no token-type embeddings, no pooler, one layer out of two) and
the reference's layer list 0, 2, 4, 7, 9, 11, which is even spacing from first to last, rounded.
"""

from collections.abc import Sequence
from dataclasses import replace

import keras

from tf_distilbert.errors import UserError
from tf_distilbert.model_files.folder import load_model
from tf_distilbert.model_files.hf_weights import named_variables
from tf_distilbert.model_files.keras_nlp_models import (
    KerasNlpMaskedLanguageModel,
    as_model,
    named_values,
)
from tf_distilbert.models.architecture import DISTILBERT_EPSILON, Architecture
from tf_distilbert.models.masked_language_model import MaskedLanguageModel


def even_layer_map(num_teacher_layers: int, num_student_layers: int) -> list[int]:
    """Choose which teacher layer each student layer starts from: evenly from first to last.

    Rounded; a half goes to the even layer.

    Example:
        >>> even_layer_map(12, 6)
        [0, 2, 4, 7, 9, 11]
    """
    if num_student_layers == 1:
        return [0]
    spacing = (num_teacher_layers - 1) / (num_student_layers - 1)
    return [round(i * spacing) for i in range(num_student_layers)]


def build_student(
    teacher: keras.Model,
    num_layers: int | None = None,
    *,
    layer_map: Sequence[int] | None = None,
    fold_segments: bool = True,
    initialize_from: str = "teacher",
) -> MaskedLanguageModel:
    """Build the student of a teacher and start it from the teacher's weights.

    Embeddings, the layers of the map and the whole masked-LM head are copied. Or take a student
    that is there already, to go on with it under another loss, another text or another teacher.

    Args:
        teacher: a BERT, RoBERTa or DistilBERT with its masked-LM head: one of `load_model`, or a
            keras-nlp ``BertMaskedLM``, ``DistilBertMaskedLM`` or ``RobertaMaskedLM``.
        num_layers: the student's depth; by default the map's length, or half the teacher's layers.
        layer_map: for each student layer the teacher layer (from 0) to copy; by default
            `even_layer_map`.
        fold_segments: add the teacher's type-0 embedding to the student's position table. The
            student of a BERT has no type embeddings; without them its first layer would see other
            inputs than the teacher's did. The reference drops them (``False`` is exactly that).
        initialize_from: ``teacher``; ``random`` to copy nothing; or the folder of a student, such
            as the ``model`` of an earlier run, or anything else that `load_model` takes, but for
            keras-nlp's presets. It is taken as it is, depth and sizes included; `Distiller` sees
            whether it has the teacher's vocabulary.

    Returns:
        A DistilBERT; of a RoBERTa, which differs in more than depth, a smaller RoBERTa. It has the
        teacher's tokenizer. Of a folder, the folder's model with the folder's tokenizer.

    Raises:
        UserError: the teacher is no masked language model; depth or layer map do not fit it, or are
            given beside a folder; or the folder is missing, broken, or of no masked language model.

    Source: Sanh et al. 2019, section 3.

    Example:
        >>> student = build_student(load_model("hf://google-bert/bert-base-uncased"))
        >>> student.count_params()
        66985530
        >>> student = build_student(teacher, initialize_from="runs/first/model")
    """
    teacher = as_model(teacher)
    if initialize_from not in ("teacher", "random"):
        return _load_student(initialize_from, num_layers=num_layers, layer_map=layer_map)
    layers = _resolve_layers(teacher.architecture.num_layers, num_layers, layer_map)
    architecture = _student_architecture(teacher.architecture, len(layers))
    student = MaskedLanguageModel(architecture, teacher.tokenizer, name="student")
    if initialize_from == "teacher":
        _copy_weights(teacher, student, layers, fold_segments)
    return student


def _load_student(path: str, **depth: int | Sequence[int] | None) -> MaskedLanguageModel:
    for name, given in depth.items():
        if given is not None:
            raise UserError(
                f"student.{name} is given, but the model of student.initialize_from has its own "
                "layers; remove one"
            )
    try:
        student = load_model(path)
    except UserError as error:
        raise UserError(f"student.initialize_from: {error}") from None
    if not isinstance(student, MaskedLanguageModel):
        raise UserError(
            f"student.initialize_from: {path}: a keras-nlp preset cannot be trained on; give "
            "another model"
        )
    return student


def _student_architecture(teacher: Architecture, num_layers: int) -> Architecture:
    """Half a RoBERTa is a RoBERTa (DistilRoBERTa); of the others DistilBERT is made."""
    if teacher.family == "roberta":
        return replace(teacher, num_layers=num_layers)
    return replace(
        teacher,
        family="distilbert",
        num_layers=num_layers,
        num_segments=0,
        layer_norm_epsilon=DISTILBERT_EPSILON,
    )


def _resolve_layers(
    num_teacher_layers: int, num_layers: int | None, layer_map: Sequence[int] | None
) -> list[int]:
    if num_layers is None:
        num_layers = len(layer_map) if layer_map else max(1, num_teacher_layers // 2)
    if num_layers < 1 or (layer_map is None and num_layers > num_teacher_layers):
        raise UserError(
            f"student.num_layers is {num_layers}; a teacher of {num_teacher_layers} layers "
            f"gives a student of 1 to {num_teacher_layers}"
        )
    if layer_map is None:
        return even_layer_map(num_teacher_layers, num_layers)
    if len(layer_map) != num_layers:
        raise UserError(
            f"student.layer_map has {len(layer_map)} entries for {num_layers} student layers; "
            "give one teacher layer for each"
        )
    outside = [layer for layer in layer_map if not 0 <= layer < num_teacher_layers]
    if outside:
        raise UserError(
            f"student.layer_map names teacher layer {outside[0]}; "
            f"the teacher has layers 0 to {num_teacher_layers - 1}"
        )
    return list(layer_map)


def _copy_weights(
    teacher: MaskedLanguageModel | KerasNlpMaskedLanguageModel,
    student: MaskedLanguageModel,
    layers: Sequence[int],
    fold_segments: bool,
) -> None:
    source = named_values(teacher)
    loses_segments = student.architecture.num_segments < teacher.architecture.num_segments
    if fold_segments and loses_segments:
        source["encoder/position_table"] = (
            source["encoder/position_table"] + source["encoder/segment_table"][0]
        )
    for name, variable in named_variables(student).items():
        variable.assign(source[_teacher_name(name, layers)])


def _teacher_name(student_name: str, layers: Sequence[int]) -> str:
    prefix, separator, rest = student_name.partition("block_")
    if not separator:
        return student_name
    layer, _, tail = rest.partition("/")
    return f"{prefix}block_{layers[int(layer)]}/{tail}"
