"""The shape of a student: its depth, its widths, and which of its teacher's layers it starts from.

Source: Sanh et al. 2019, section 3 (no token-type embeddings, no pooler, one layer out of two) and
the reference's layer list 0, 2, 4, 7, 9, 11, which is even spacing from first to last, rounded.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tf_distilbert.errors import UserError
from tf_distilbert.models.architecture import DISTILBERT_EPSILON, Architecture


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


def student_architecture(
    teacher: Architecture,
    num_layers: int,
    copies: bool = True,
    *,
    hidden_size: int | None = None,
    num_heads: int | None = None,
    intermediate_size: int | None = None,
) -> Architecture:
    """Describe a student: half a RoBERTa is a RoBERTa (DistilRoBERTa); of the others DistilBERT.

    Args:
        teacher: the teacher's architecture.
        num_layers: the student's depth.
        copies: whether it is to start from the teacher, whose parts it then must be made of.
        hidden_size, num_heads, intermediate_size: see `build_student`.

    Raises:
        UserError: sizes do not fit each other, or the student cannot be made of its teacher's
            parts.
    """
    if hidden_size is None:
        hidden_size = teacher.hidden_size
    if num_heads is None:
        num_heads = max(1, hidden_size // teacher.head_size)
    if intermediate_size is None:
        ratio = teacher.intermediate_size / teacher.hidden_size
        intermediate_size = round(ratio * hidden_size)
    sizes = {
        "hidden_size": hidden_size,
        "num_heads": num_heads,
        "intermediate_size": intermediate_size,
    }
    for name, size in sizes.items():
        if size < 1:
            raise UserError(f"student.{name} is {size}; give 1 or more")
    if copies:
        _check_parts(teacher, sizes)
    if hidden_size % num_heads:
        raise UserError(
            f"student.hidden_size {hidden_size} is no multiple of student.num_heads {num_heads}; "
            "change one of them"
        )
    changed: dict[str, Any] = {"num_layers": num_layers, **sizes}
    if teacher.family != "roberta":
        epsilon = DISTILBERT_EPSILON
        changed |= {"family": "distilbert", "num_segments": 0, "layer_norm_epsilon": epsilon}
    return replace(teacher, **changed)


def _check_parts(teacher: Architecture, sizes: dict[str, int]) -> None:
    """See that a student can be made of its teacher's parts."""
    for name, size in sizes.items():
        most = getattr(teacher, name)
        if size > most:
            raise UserError(
                f"student.{name} is {size}, the teacher's is {most}; a student that starts from "
                "its teacher is no wider: give less, or student.initialize_from=random"
            )
    heads, rest = divmod(sizes["hidden_size"], teacher.head_size)
    if rest:
        raise UserError(
            f"student.hidden_size is {sizes['hidden_size']}, no multiple of the teacher's head "
            f"size {teacher.head_size}; give a multiple, or student.initialize_from=random"
        )
    if sizes["num_heads"] != heads:
        raise UserError(
            f"student.num_heads is {sizes['num_heads']}, but a start from the teacher needs heads "
            f"of its size {teacher.head_size}; give student.num_heads={heads}, or "
            "student.initialize_from=random"
        )


def resolve_layers(
    num_teacher_layers: int, num_layers: int | None, layer_map: Sequence[int] | None
) -> list[int]:
    """Give the teacher's layer for each of the student's.

    Args:
        num_teacher_layers: of the teacher.
        num_layers: of the student; by default the map's length, or half the teacher's.
        layer_map: the layers; by default `even_layer_map`.

    Raises:
        UserError: they do not fit each other.
    """
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
