"""Updates of the reference recipe in a row, in plain PyTorch, on a GPU where there is one.

Its best settings: attention as one call, AdamW as one kernel, bfloat16 by autocast, and, as ours,
a teacher whose weights are bfloat16. The losses are computed as the reference computes them: over
all logits, of which the real tokens are then selected. No compiler takes a selection, whose size
depends on the data; so what is compiled weighs the tokens instead. That is the same loss, and all
of it, both models included, is then one graph.

Source: Hugging Face, research_projects/distillation, ``distiller.py``.
"""

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tf_distilbert.architecture import Architecture
from tf_distilbert.benchmark.batch import IGNORED, labels_of, random_batch
from tf_distilbert.benchmark.torch_bert import TorchBert
from tf_distilbert.runtime import usable_cores

F = torch.nn.functional
TEMPERATURE, WEIGHTS = 2.0, {"distillation": 5.0, "mlm": 2.0, "cosine": 1.0}


class TorchRun:
    """Updates by the reference recipe; each call makes some and waits for the last.

    Args:
        teacher, student, batch_size, sequence_length, precision, steps: as in `JaxRun`.
        positions: ``all`` or ``masked``. The latter makes no other logits, as ours does not; the
            reference would make all and then select.
        compiled: whether `torch.compile` makes one graph of the loss and one of its gradient.

    Attributes:
        teacher, student: the models.
    """

    def __init__(
        self,
        teacher: Mapping[str, Any],
        student: Mapping[str, Any],
        batch_size: int,
        sequence_length: int,
        precision: str = "mixed_bfloat16",
        steps: int = 1,
        positions: str = "all",
        compiled: bool = False,
    ) -> None:
        torch.set_num_threads(usable_cores())
        torch.manual_seed(0)
        self.steps, self._in_bfloat16 = steps, precision != "float32"
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self.teacher = TorchBert(Architecture(**teacher)).eval().to(self._device)
        self.student = TorchBert(Architecture(**student)).train().to(self._device)
        self.teacher.requires_grad_(False)
        if self._in_bfloat16:
            self.teacher.bfloat16()
        batch = random_batch(teacher["vocabulary_size"], batch_size, sequence_length)
        self._ids, mask, labels = (
            torch.from_numpy(array).to(self._device)
            for array in (
                batch[0]["token_ids"].astype("int64"),
                batch[0]["padding_mask"],
                labels_of(batch).ravel(),
            )
        )
        self._real = mask.flatten()
        # The tokens whose logits are made.
        self._rows = (labels != IGNORED).nonzero()[:, 0] if positions == "masked" else None
        self._labels, self._compared = self._taken(labels), self._taken(self._real)
        self._loss = partial(self.loss, selects=not compiled)
        if compiled:
            self._loss = torch.compile(self._loss, fullgraph=True, dynamic=False)
        self._optimizer = torch.optim.AdamW(
            self.student.parameters(),
            lr=5e-4,
            betas=(0.9, 0.98),
            eps=1e-6,
            weight_decay=0.0,
            fused=True,
        )

    def __call__(self) -> dict[str, Any]:
        """Make updates, wait for the last, and give losses and memory as `JaxRun` does."""
        losses = [self.update()[0] for _ in range(self.steps)]
        on_gpu = self._device == "cuda"
        if on_gpu:
            torch.cuda.synchronize()
        return {
            "first_loss": losses[0].item(),
            "last_loss": losses[-1].item(),
            "device_peak_bytes": torch.cuda.max_memory_allocated() if on_gpu else None,
        }

    def update(self) -> tuple[Tensor, Tensor]:
        """Make one update; give the loss and the norm of its gradient, without waiting."""
        loss = self._loss()
        self._optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        self._optimizer.step()
        return loss.detach(), norm

    def loss(self, selects: bool) -> Tensor:
        """Compute the triple loss of the batch.

        Args:
            selects: whether the tokens that count are selected, or weighed.
        """
        with self._autocast():
            student_hidden = self.student.hidden_states(self._ids).flatten(0, 1)
            student_logits = self.student.logits(self._taken(student_hidden))
            with torch.no_grad():
                teacher_hidden = self.teacher.hidden_states(self._ids).flatten(0, 1)
                teacher_logits = self.teacher.logits(self._taken(teacher_hidden))
            divergence, cosine = (_selected_terms if selects else _weighted_terms)(
                (student_logits, teacher_logits),
                (student_hidden, teacher_hidden),
                self._compared,
                self._real,
            )
            masked_lm = F.cross_entropy(student_logits, self._labels, ignore_index=IGNORED)
            return (
                WEIGHTS["distillation"] * TEMPERATURE**2 * divergence
                + WEIGHTS["mlm"] * masked_lm
                + WEIGHTS["cosine"] * cosine
            )

    def _taken(self, values: Tensor) -> Tensor:
        return values if self._rows is None else values[self._rows]

    def _autocast(self) -> contextlib.AbstractContextManager:
        if self._in_bfloat16:
            return torch.autocast(self._device, dtype=torch.bfloat16)
        return contextlib.nullcontext()


def run(**arguments: Any) -> dict[str, Callable[[], dict[str, Any]]]:
    """Give the case ``steps``; arguments as in `TorchRun`."""
    return {"steps": TorchRun(**arguments)}


def _selected_terms(
    logits: tuple[Tensor, Tensor],
    hidden: tuple[Tensor, Tensor],
    compared: Tensor,
    real: Tensor,
) -> tuple[Tensor, Tensor]:
    """Give divergence and cosine term, in the way of the reference.

    Args:
        logits: the student's and the teacher's, [N, V].
        hidden: likewise, [B·S, D].
        compared: which logits count, [N].
        real: which hidden states count, [B·S].
    """
    student, teacher = (_select(values, compared) for values in logits)
    divergence = F.kl_div(
        F.log_softmax(student / TEMPERATURE, dim=-1),
        F.softmax(teacher / TEMPERATURE, dim=-1),
        reduction="batchmean",
    )
    student, teacher = (_select(values, real) for values in hidden)
    target = student.new(student.size(0)).fill_(1)
    return divergence, F.cosine_embedding_loss(student, teacher, target)


def _weighted_terms(
    logits: tuple[Tensor, Tensor],
    hidden: tuple[Tensor, Tensor],
    compared: Tensor,
    real: Tensor,
) -> tuple[Tensor, Tensor]:
    """Give the same without a tensor whose size depends on the data."""
    student, teacher = logits
    divergence = F.kl_div(
        F.log_softmax(student / TEMPERATURE, dim=-1),
        F.softmax(teacher / TEMPERATURE, dim=-1),
        reduction="none",
    )
    cosine = F.cosine_embedding_loss(*hidden, torch.ones_like(hidden[0][:, 0]), reduction="none")
    return _mean(divergence.sum(-1), compared), _mean(cosine, real)


def _select(values: Tensor, counts: Tensor) -> Tensor:
    """Pick the rows that count."""
    mask = counts[:, None].expand_as(values)
    return torch.masked_select(values, mask).view(-1, values.size(-1))


def _mean(values: Tensor, counts: Tensor) -> Tensor:
    return (values * counts).sum() / counts.sum()
