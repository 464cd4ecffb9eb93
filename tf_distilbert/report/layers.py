"""The layers of a student: which of its teacher's they began from, and how near they are to them.

Where the run searched for those to begin from, what it tried is a table.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops, tree

from tf_distilbert.distillation.layer_search import Trial
from tf_distilbert.distillation.student import AUTO
from tf_distilbert.distillation.student_shape import even_layer_map
from tf_distilbert.losses.per_token import cosine_loss
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.report.curves import Line
from tf_distilbert.report.run import Run
from tf_distilbert.report.run_models import HeldOut, RunModels
from tf_distilbert.report.table import Table
from tf_distilbert.runs.directory import SEARCH_FILE

_NUM_BATCHES = 2
_MOST_CHOICES = 10


def search_table(run: Run) -> Table | None:
    """Show which of the teacher's layers a student could have begun from, the best choices first.

    The even choice, with which the search begins, is there wherever it came in.

    Returns:
        The table; None of a run that did not search.
    """
    if not run.tried:
        return None
    ranked = list(enumerate(run.tried, start=1))
    # The first choice and the search have all layers up to the teacher's last.
    depth = 1 + max(max(trial.layers) for trial in run.tried)
    even = tuple(even_layer_map(depth, len(run.tried[0].layers)))
    shown = [(n, each) for n, each in ranked if n <= _MOST_CHOICES or each.layers == even]
    rows = [_row(rank, trial, trial.layers == even) for rank, trial in shown]
    number = f"{len(shown)} of " if len(shown) < len(ranked) else ""
    predicts = run.tried[0].agreement is not None
    figures = [*(["same top answer"] if predicts else []), "cosine loss"]
    columns = ["rank", "teacher's layers", *figures, "choice"]
    return Table(f"{run.name}: layers to begin from, {number}{len(ranked)} tried", columns, rows)


def _row(rank: int, trial: Trial, is_even: bool) -> tuple[str, list[str]]:
    agreement = [] if trial.agreement is None else [f"{trial.agreement:.2%}"]
    figures = *agreement, f"{trial.cosine_loss:.4f}"
    choice = [name for name, holds in (("taken", rank == 1), ("even", is_even)) if holds]
    return str(rank), [listed_layers(trial), *figures, ", ".join(choice)]


def listed_layers(trial: Trial) -> str:
    """List the teacher's layers of a choice as the settings have them, from 0."""
    return ", ".join(map(str, trial.layers))


def layer_line(number: int, models: RunModels, held_out: HeldOut) -> Line | None:
    """Compare a student with its teacher, layer by layer; see `layer_cosines`.

    Args:
        number: of the run among those of the report, from 0.
        models: of the run; they get a note where their layers cannot be compared.
        held_out: what they are compared on.

    Returns:
        The cosine of each layer; None where there are no layers to compare.
    """
    run = models.run
    if run.verb != "distill" or models.teacher is None:
        return None
    student, teacher = models.model.architecture, models.teacher.architecture
    if student.hidden_size != teacher.hidden_size:
        models.notes.append(
            f"Its hidden states are {student.hidden_size} numbers wide, the teacher's "
            f"{teacher.hidden_size}: they have no cosine, which is left out, layer by layer too."
        )
        return None
    layer_map = run.settings["student"]["layer_map"]
    if layer_map == AUTO:
        if not run.tried:
            models.notes.append(
                f"Which layers it began from is not written down any more ({SEARCH_FILE}): layers "
                "are left out."
            )
            return None
        layer_map = run.tried[0].layers
    pairs = layer_pairs(student, teacher, layer_map)
    cosines = layer_cosines(models.model, models.teacher, held_out, pairs)
    return Line(number, run.name, list(range(len(pairs))), cosines)


def layer_pairs(
    student: Architecture, teacher: Architecture, layer_map: Sequence[int] | None
) -> list[tuple[int, int]]:
    """Tell which outputs are compared: 0 are the embeddings, then layers from 1.

    A student's layer is compared with the one that it was begun from, or would have been.

    Args:
        student, teacher: their shapes.
        layer_map: the teacher's layer, from 0, that each of the student's was begun from; by
            default `even_layer_map` chooses.
    """
    layers = layer_map or even_layer_map(teacher.num_layers, student.num_layers)
    return [(0, 0), *((i + 1, layer + 1) for i, layer in enumerate(layers))]


def layer_cosines(
    student: keras.Model,
    teacher: keras.Model,
    held_out: HeldOut,
    pairs: Sequence[tuple[int, int]],
) -> list[float]:
    """Compute the mean cosine of hidden states over the real tokens of some held-out sequences.

    Args:
        student, teacher: of equal hidden sizes, with one vocabulary.
        held_out: the sequences.
        pairs: from `layer_pairs`.
    """
    sums, count = np.zeros(len(pairs)), 0.0
    for inputs, _, _ in held_out.batches(_NUM_BATCHES).as_numpy_iterator():
        ours, theirs = (_hidden_states(model, inputs) for model in (student, teacher))
        real = ops.cast(inputs["padding_mask"], "float32")
        for i, (own, other) in enumerate(pairs):
            cosines = 1.0 - cosine_loss(ours[own], theirs[other])
            sums[i] += float(ops.sum(cosines * real))
        count += float(ops.sum(real))
    return (sums / count).tolist()


def _hidden_states(
    model: keras.Model, inputs: dict[str, np.ndarray]
) -> Sequence[keras.KerasTensor]:
    return model.hidden_states(tree.map_structure(ops.convert_to_tensor, inputs))
