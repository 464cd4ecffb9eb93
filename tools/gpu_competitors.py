"""Who is timed on a GPU: groups of competitors that make the same update of the same batch."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from tf_distilbert.benchmark.batch import num_predictions
from tf_distilbert.benchmark.flops import step_flops
from tf_distilbert.benchmark.step import BERT_BASE, half_of
from tf_distilbert.benchmark.worker import Competitor
from tf_distilbert.models.architecture import Architecture

Groups = dict[str, list[Competitor]]

_WORKLOADS = {"jax": "our_models:run", "torch": "torch_steps:run"}


@dataclass(frozen=True)
class Sizes:
    """What is computed, and how often.

    Attributes:
        teacher: the student has half its layers.
        shapes: sequences and tokens of each in a batch.
        chunks: tokens whose logits may exist at a time.
        steps: updates in a row, of which the last alone is waited for.
        rounds: how often each competitor has its turn.
        products: rows of the matrices that the matrix peak is measured with.
    """

    teacher: Architecture
    shapes: tuple[tuple[int, int], ...]
    chunks: tuple[int, ...]
    steps: int
    rounds: int
    products: tuple[int, ...]


FULL = Sizes(BERT_BASE, ((64, 128), (16, 512)), (512, 2048, 4096), 20, 5, (4096, 8192))
"""The first of the chunks is the package's default."""

TINY = Sizes(
    Architecture(200, hidden_size=32, num_layers=1, num_heads=2, intermediate_size=64),
    *(((4, 16),), (16, 32), 3, 2, (64, 128)),
)
"""For a machine without a GPU, and for the tests: nothing is learnt from how long it takes."""


def competitor_groups(sizes: Sizes, log: str | None = None) -> Groups:
    """List who there is, what matters most first.

    A group makes one update: its batch, its loss and its dropout are the same for all. It is named
    after its shape, the positions at which models are compared, and what else is special; a
    competitor after its group and itself.

    Args:
        sizes: see there.
        log: see `Competitor`.
    """
    groups: Groups = {}
    without_dropout = replace(half_of(sizes.teacher), attention_dropout=0.0)
    for positions in ("all", "masked"):
        for shape in sizes.shapes:
            group = _Group(sizes, shape, positions, half_of(sizes.teacher), log)
            groups[group.name] = group.competitors()
    for shape in sizes.shapes:
        group = _Group(sizes, shape, "all", without_dropout, log)
        groups[group.name] = group.competitors()
    return groups


def chosen_groups(groups: Groups, only: Sequence[str] | None) -> Groups:
    """Keep those competitors that one of the patterns fits, in which ``*`` stands for anything.

    Raises:
        ValueError: a pattern fits none.
    """
    if not only:
        return groups
    names = [competitor.name for group in groups.values() for competitor in group]
    for pattern in only:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"{pattern}: no such competitor; there are {', '.join(names)}")
    kept = {
        name: [c for c in group if any(fnmatchcase(c.name, pattern) for pattern in only)]
        for name, group in groups.items()
    }
    return {name: group for name, group in kept.items() if group}


@dataclass(frozen=True)
class _Group:
    sizes: Sizes
    shape: tuple[int, int]
    positions: str
    student: Architecture
    log: str | None

    @property
    def name(self) -> str:
        dropout = "" if self.student.attention_dropout else "-no-attention-dropout"
        return f"{self.shape[0]}x{self.shape[1]}/{self.positions}{dropout}"

    def competitors(self) -> list[Competitor]:
        rows = self.shape[0] * self.shape[1]
        if self.positions == "masked":
            rows = self.shape[0] * num_predictions(self.shape[1])
        chunks = {f"chunk-{size}": size for size in self.sizes.chunks if size < rows}
        found = [self._torch("eager"), self._torch("compiled", compiled=True)]
        if self.student.attention_dropout:  # without, the chunks matter as they do with it
            found += [self._ours(name, size) for name, size in chunks.items()]
            if self.positions == "all":
                name, size = next(iter(chunks.items()))
                found.append(self._ours(f"{name}-synchronised", size, watched=True))
        # Last, as it takes the most memory: if that is full, the others have theirs.
        return [*found, self._ours("plain", rows)]

    def _ours(self, name: str, chunk_size: int, **arguments: Any) -> Competitor:
        options = {"distillation_positions": self.positions, "chunk_size": chunk_size}
        return self._make(f"ours-{name}", "jax", {"options": options, **arguments})

    def _torch(self, name: str, **arguments: Any) -> Competitor:
        return self._make(f"pytorch-{name}", "torch", {"positions": self.positions, **arguments})

    def _make(self, name: str, engine: str, arguments: dict[str, Any]) -> Competitor:
        teacher, (batch_size, length) = self.sizes.teacher, self.shape
        masked = batch_size * num_predictions(length) if self.positions == "masked" else None
        return Competitor(
            f"{self.name}/{name}",
            _WORKLOADS[engine],
            {
                "teacher": asdict(teacher),
                "student": asdict(self.student),
                "batch_size": batch_size,
                "sequence_length": length,
                "steps": self.sizes.steps,
                **arguments,
            },
            needs=(engine,),
            facts={
                "group": self.name,
                "tokens": batch_size * length,
                "flops": step_flops(teacher, self.student, batch_size, length, masked),
            },
            log=self.log,
        )
