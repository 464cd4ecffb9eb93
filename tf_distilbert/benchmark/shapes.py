"""Students that a teacher may have: what each would weigh, compute and take here, untrained.

Depth, width and the feed-forward layer are made smaller, one by one and together. How good such a
student will be is not known before it is trained; how large and fast it is does not depend on that.

Dimensions: S sequence.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tf_distilbert.backend import step
from tf_distilbert.benchmark.flops import encoder_flops
from tf_distilbert.distillation.student_shape import student_architecture
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.model_facts import time_in_turns
from tf_distilbert.model_files.folder import load_model
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.models.masked_language_model import MaskedLanguageModel

# By what depth, width and feed-forward layer are divided.
_DIVISORS = (
    (1, 2, 2),
    (2, 1, 1),  # DistilBERT
    (2, 1, 2),
    (2, 2, 2),
    (3, 1, 1),
    (3, 1, 2),
    (3, 2, 2),
)

_NOTE = (
    "A narrower student has no hidden states to compare with its teacher's: give "
    "`loss.cosine_weight=0 loss.relation_weight=3`, too."
)


@dataclass(frozen=True)
class Shape:
    """A model of random weights.

    Attributes:
        architecture: of the teacher, or of a student of its.
        parameters: with the masked-LM head.
        flops: of the encoder's forward pass, a token; see `encoder_flops`.
        milliseconds: the median time of one text through the encoder, on this machine.
        settings: what makes a run's student so, as the command line takes it; of the teacher none.
    """

    architecture: Architecture
    parameters: int
    flops: int
    milliseconds: float
    settings: str


def candidate_shapes(teacher: str, sequence_length: int = 128, rounds: int = 15) -> list[Shape]:
    """Measure a teacher and the students that it may have.

    Args:
        teacher: as `load_model` takes it.
        sequence_length: S, tokens of a text.
        rounds: how often each is timed, in turns.

    Returns:
        The teacher, then the students from deep to shallow, each once.

    Raises:
        UserError: the teacher cannot be loaded, or has not as many positions.

    Example:
        >>> [shape.settings for shape in candidate_shapes("hf://google-bert/bert-base-uncased")][2]
        'student.num_layers=6'
    """
    if sequence_length < 1:
        raise UserError(f"sequence_length is {sequence_length}; give 1 or more")
    model = load_model(teacher)
    model.check_length(sequence_length)
    architectures = [model.architecture, *_students(model.architecture)]
    del model  # its memory is needed no more
    runs = {str(i): _text_through(each, sequence_length) for i, each in enumerate(architectures)}
    times = time_in_turns(runs, rounds)
    return [
        Shape(
            architecture=architecture,
            parameters=MaskedLanguageModel(architecture).count_params(),
            flops=encoder_flops(architecture, 1, sequence_length),
            milliseconds=times[name],
            settings=_settings(architectures[0], architecture) if name != "0" else "",
        )
        for name, architecture in zip(runs, architectures, strict=True)
    ]


def as_markdown(shapes: Sequence[Shape], sequence_length: int) -> str:
    """Write what `candidate_shapes` found for texts of this length as a table."""
    duration = f"ms for {sequence_length} tokens"
    titles = ["layers", "hidden", "FFN", "parameters", "MFLOPs a token", duration, "settings"]
    rows = [titles, ["---"] * len(titles)]
    for shape in shapes:
        sizes = shape.architecture
        rows.append(
            [
                *map(str, (sizes.num_layers, sizes.hidden_size, sizes.intermediate_size)),
                f"{shape.parameters / 1e6:.1f} M",
                f"{shape.flops / 1e6:.1f}",
                f"{shape.milliseconds:.1f}",
                f"`{shape.settings}`" if shape.settings else "the teacher",
            ]
        )
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if len({shape.architecture.hidden_size for shape in shapes}) > 1:
        lines += ["", _NOTE]
    return "\n".join(lines)


def _students(teacher: Architecture) -> Iterator[Architecture]:
    """Give each shape once: of a small teacher several are the same, or its own."""
    seen = {_sizes(teacher)}
    for depth, width, inner in _DIVISORS:
        num_heads = max(1, teacher.num_heads // width)
        architecture = student_architecture(
            teacher,
            max(1, teacher.num_layers // depth),
            # Heads of the teacher's size are what a student can start from.
            hidden_size=num_heads * teacher.head_size,
            num_heads=num_heads,
            intermediate_size=max(1, teacher.intermediate_size // inner),
        )
        if _sizes(architecture) not in seen:
            seen.add(_sizes(architecture))
            yield architecture


def _sizes(architecture: Architecture) -> tuple[int, ...]:
    return architecture.num_layers, architecture.hidden_size, architecture.intermediate_size


def _settings(teacher: Architecture, student: Architecture) -> str:
    """Write the depth, and the sizes that are not the teacher's; of another width all of them."""
    names = ["num_layers"]
    if student.hidden_size != teacher.hidden_size:
        names += ["hidden_size", "num_heads", "intermediate_size"]
    elif student.intermediate_size != teacher.intermediate_size:
        names += ["intermediate_size"]
    return " ".join(f"student.{name}={getattr(student, name)}" for name in names)


def _text_through(architecture: Architecture, sequence_length: int) -> Callable[[], np.ndarray]:
    """Make a function that sends one text through an encoder of random weights."""
    # A look-up takes as long in a table of one row, and the memory is another's.
    forward = step.forward_pass(EncoderModel(replace(architecture, vocabulary_size=1)))
    inputs = {
        "token_ids": np.zeros((1, sequence_length), np.int32),
        "padding_mask": np.ones((1, sequence_length), bool),
    }
    return lambda: np.asarray(forward(inputs))
