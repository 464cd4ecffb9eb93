"""The workloads of the reference recipe in PyTorch: a step, and updates in a row on a GPU.

Its best settings: attention as one call, AdamW as one kernel, bfloat16 by autocast. The losses are
computed as the reference computes them: over all logits, of which the real tokens are then
selected. No compiler takes a selection, whose size depends on the data; so what is compiled weighs
the tokens instead. That is the same loss, and all of it, both models included, is then one graph.

Source: Hugging Face, research_projects/distillation, ``distiller.py``.

Dimensions: B batch, S sequence, N compared tokens, D hidden, V vocabulary.
"""

import contextlib
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tf_distilbert.benchmark.batch import (
    IGNORED,
    TEMPERATURE,
    WEIGHTS,
    Batch,
    Cases,
    Fields,
    labels_of,
    random_batch,
)
from tf_distilbert.benchmark.torch_models import TorchBert, masked_language_model, start
from tf_distilbert.models.architecture import Architecture

F = nn.functional


class _Recipe:
    """Two models, a batch without padding, and the update; a subclass says what its `loss` is."""

    def __init__(
        self, models: tuple[nn.Module, nn.Module], batch: Batch, precision: str, device: str = "cpu"
    ) -> None:
        self._in_bfloat16, self._device = precision != "float32", device
        self.teacher, self.student = models[0].eval().to(device), models[1].train().to(device)
        self._ids = torch.from_numpy(batch[0]["token_ids"].astype("int64")).to(device)
        self._real = torch.from_numpy(batch[0]["padding_mask"].ravel()).to(device)
        self._labels = torch.from_numpy(labels_of(batch).ravel()).to(device)
        self._optimizer = torch.optim.AdamW(
            self.student.parameters(),
            lr=5e-4,
            betas=(0.9, 0.98),
            eps=1e-6,
            weight_decay=0.0,
            fused=True,
        )

    def _update(self, loss: Tensor) -> Tensor:
        """Make one update; give the norm of the gradient, without waiting."""
        self._optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        self._optimizer.step()
        return norm

    def _autocast(self) -> contextlib.AbstractContextManager:
        if self._in_bfloat16:
            return torch.autocast(self._device, dtype=torch.bfloat16)
        return contextlib.nullcontext()


class TorchStep(_Recipe):
    """One update of the models of `transformers` on a processor.

    Args:
        teacher, student, batch_size, sequence_length, precision: as in `OurStep`.

    Attributes:
        teacher, student: the models.
    """

    def __init__(
        self,
        teacher: Fields,
        student: Fields,
        batch_size: int,
        sequence_length: int,
        precision: str = "float32",
    ) -> None:
        start()
        models = masked_language_model(teacher), masked_language_model(student)
        batch = random_batch(teacher["vocabulary_size"], batch_size, sequence_length)
        super().__init__(models, batch, precision)
        self._attention_mask = self._real.view(self._ids.shape).long()

    def __call__(self) -> float:
        """Make an update and give its loss."""
        loss = self.loss()
        self._update(loss)
        return loss.item()

    def loss(self) -> Tensor:
        """Compute the triple loss of the batch."""
        inputs = {"input_ids": self._ids, "attention_mask": self._attention_mask}
        with self._autocast():
            student = self.student(**inputs, output_hidden_states=True)
            with torch.no_grad():
                teacher = self.teacher(**inputs, output_hidden_states=True)
            outputs = student, teacher
            logits = tuple(output.logits.flatten(0, 1) for output in outputs)
            hidden = tuple(output.hidden_states[-1].flatten(0, 1) for output in outputs)
            return _triple_loss(logits, hidden, self._labels, self._real, self._real)


class TorchRun(_Recipe):
    """Updates of plain models, on a GPU where there is one.

    Each call makes some and waits for the last. As ours is, the teacher is held in bfloat16, too.

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
        teacher: Fields,
        student: Fields,
        batch_size: int,
        sequence_length: int,
        precision: str = "mixed_bfloat16",
        steps: int = 1,
        positions: str = "all",
        compiled: bool = False,
    ) -> None:
        start()
        models = TorchBert(Architecture(**teacher)), TorchBert(Architecture(**student))
        batch = random_batch(teacher["vocabulary_size"], batch_size, sequence_length)
        super().__init__(models, batch, precision, "cuda" if torch.cuda.is_available() else "cpu")
        self.steps = steps
        self.teacher.requires_grad_(False)
        if self._in_bfloat16:
            self.teacher.bfloat16()
        # The tokens whose logits are made.
        self._rows = (self._labels != IGNORED).nonzero()[:, 0] if positions == "masked" else None
        self._labels, self._compared = self._taken(self._labels), self._taken(self._real)
        self._loss = partial(self.loss, selects=not compiled)
        if compiled:
            self._loss = torch.compile(self._loss, fullgraph=True, dynamic=False)

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
        norm = self._update(loss)
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
            logits, hidden = (student_logits, teacher_logits), (student_hidden, teacher_hidden)
            return _triple_loss(logits, hidden, self._labels, self._compared, self._real, selects)

    def _taken(self, values: Tensor) -> Tensor:
        return values if self._rows is None else values[self._rows]


def step(**arguments: Any) -> Cases:
    """Give the case ``step``; arguments as in `TorchStep`."""
    return {"step": TorchStep(**arguments)}


def run(**arguments: Any) -> Cases:
    """Give the case ``steps``; arguments as in `TorchRun`."""
    return {"steps": TorchRun(**arguments)}


def _triple_loss(
    logits: tuple[Tensor, ...],
    hidden: tuple[Tensor, ...],
    labels: Tensor,
    compared: Tensor,
    real: Tensor,
    selects: bool = True,
) -> Tensor:
    """Sum the three terms.

    Args:
        logits: the student's and the teacher's, [N, V].
        hidden: likewise, [B·S, D].
        labels: of the masked-LM term, [N].
        compared: which logits count, [N].
        real: which hidden states count, [B·S].
        selects: see `TorchRun.loss`.
    """
    terms = _selected_terms if selects else _weighted_terms
    divergence, cosine = terms(logits, hidden, compared, real)
    masked_lm = F.cross_entropy(logits[0], labels, ignore_index=IGNORED)
    return (
        WEIGHTS["distillation"] * TEMPERATURE**2 * divergence
        + WEIGHTS["mlm"] * masked_lm
        + WEIGHTS["cosine"] * cosine
    )


def _selected_terms(
    logits: tuple[Tensor, ...], hidden: tuple[Tensor, ...], compared: Tensor, real: Tensor
) -> tuple[Tensor, Tensor]:
    """Give divergence and cosine term, in the way of the reference."""
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
    logits: tuple[Tensor, ...], hidden: tuple[Tensor, ...], compared: Tensor, real: Tensor
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
