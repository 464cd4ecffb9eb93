"""The workloads of PyTorch with `transformers`: what the reference recipe is made of.

Its best settings on a processor: attention as one call (``sdpa``), AdamW as one kernel, bfloat16
by autocast. The losses are computed as the reference computes them: over all logits, of which the
real tokens are then selected.

Source: Hugging Face, research_projects/distillation, ``distiller.py``.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
import transformers

from tf_distilbert.architecture import Architecture
from tf_distilbert.benchmark.batch import IGNORED, labels_of, random_batch
from tf_distilbert.runtime import usable_cores

F = torch.nn.functional
TEMPERATURE, WEIGHTS = 2.0, {"distillation": 5.0, "mlm": 2.0, "cosine": 1.0}


class TorchStep:
    """One update by the reference recipe; arguments as in `OurStep`, without its options.

    Attributes:
        teacher, student: the models.
    """

    def __init__(
        self,
        teacher: Mapping[str, Any],
        student: Mapping[str, Any],
        batch_size: int,
        sequence_length: int,
        precision: str = "float32",
    ) -> None:
        _start()
        make = transformers.AutoModelForMaskedLM.from_config
        self.teacher = make(_config(teacher), attn_implementation="sdpa").eval()
        self.student = make(_config(student), attn_implementation="sdpa").train()
        batch = random_batch(teacher["vocabulary_size"], batch_size, sequence_length)
        self.ids = torch.tensor(batch[0]["token_ids"], dtype=torch.long)
        self.attention_mask = torch.tensor(batch[0]["padding_mask"], dtype=torch.long)
        self.labels = torch.from_numpy(labels_of(batch))
        self.optimizer = torch.optim.AdamW(
            self.student.parameters(),
            lr=5e-4,
            betas=(0.9, 0.98),
            eps=1e-6,
            weight_decay=0.0,
            fused=True,
        )
        self._precision = precision

    def __call__(self) -> float:
        """Make an update and give its loss."""
        loss = self.loss()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        self.optimizer.step()
        return loss.item()

    def loss(self) -> torch.Tensor:
        """Compute the triple loss of the batch."""
        inputs = {"input_ids": self.ids, "attention_mask": self.attention_mask}
        with _autocast(self._precision):
            student = self.student(**inputs, output_hidden_states=True)
            with torch.no_grad():
                teacher = self.teacher(**inputs, output_hidden_states=True)
            student_logits = _select(student.logits, self.attention_mask)
            teacher_logits = _select(teacher.logits, self.attention_mask)
            divergence = F.kl_div(
                F.log_softmax(student_logits / TEMPERATURE, dim=-1),
                F.softmax(teacher_logits / TEMPERATURE, dim=-1),
                reduction="batchmean",
            )
            masked_lm = F.cross_entropy(
                student.logits.view(-1, student.logits.size(-1)),
                self.labels.view(-1),
                ignore_index=IGNORED,
            )
            student_hidden = _select(student.hidden_states[-1], self.attention_mask)
            teacher_hidden = _select(teacher.hidden_states[-1], self.attention_mask)
            target = student_hidden.new(student_hidden.size(0)).fill_(1)
            cosine = F.cosine_embedding_loss(student_hidden, teacher_hidden, target)
            return (
                WEIGHTS["distillation"] * TEMPERATURE**2 * divergence
                + WEIGHTS["mlm"] * masked_lm
                + WEIGHTS["cosine"] * cosine
            )


def step(**arguments: Any) -> dict[str, Callable[[], float]]:
    """Give the case ``step``; arguments as in `TorchStep`."""
    return {"step": TorchStep(**arguments)}


def inference(
    architecture: Mapping[str, Any], shapes: Mapping[str, tuple[int, int]], precision: str
) -> dict[str, Callable[[], None]]:
    """Give a case for each shape; arguments as in `our_models.inference`."""
    model = encoder(architecture).to(getattr(torch, precision))

    def case(shape: tuple[int, int]) -> Callable[[], None]:
        inputs = encoder_inputs(architecture, shape)

        def run() -> None:
            with torch.inference_mode():
                model(**inputs)

        return run

    return {name: case(shape) for name, shape in shapes.items()}


def encoder(architecture: Mapping[str, Any]) -> torch.nn.Module:
    """Make a bare encoder without pooler, ready for inference."""
    _start()
    config = _config(architecture)
    extra = {"add_pooling_layer": False} if config.model_type == "bert" else {}
    return transformers.AutoModel.from_config(config, attn_implementation="sdpa", **extra).eval()


def encoder_inputs(
    architecture: Mapping[str, Any], shape: tuple[int, int]
) -> dict[str, torch.Tensor]:
    """Make random inputs of a bare encoder."""
    inputs, _, _ = random_batch(architecture["vocabulary_size"], *shape)
    return {
        "input_ids": torch.tensor(inputs["token_ids"], dtype=torch.long),
        "attention_mask": torch.tensor(inputs["padding_mask"], dtype=torch.long),
    }


def _start() -> None:
    torch.set_num_threads(usable_cores())
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()


def _autocast(precision: str) -> contextlib.AbstractContextManager:
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast("cpu", dtype=torch.bfloat16)


def _select(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Pick the rows [N, K] of real tokens, in the way of the reference."""
    mask = mask.bool().unsqueeze(-1).expand_as(values)
    return torch.masked_select(values, mask).view(-1, values.size(-1))


def _config(fields: Mapping[str, Any]) -> transformers.PretrainedConfig:
    """Write an architecture of BERT or DistilBERT as `transformers` does."""
    architecture = Architecture(**fields)
    common = {
        "vocab_size": architecture.vocabulary_size,
        "max_position_embeddings": architecture.max_positions,
        "initializer_range": architecture.initializer_range,
    }
    if architecture.family == "distilbert":
        return transformers.DistilBertConfig(
            **common,
            dim=architecture.hidden_size,
            n_layers=architecture.num_layers,
            n_heads=architecture.num_heads,
            hidden_dim=architecture.intermediate_size,
            dropout=architecture.dropout,
            attention_dropout=architecture.attention_dropout,
        )
    return transformers.BertConfig(
        **common,
        hidden_size=architecture.hidden_size,
        num_hidden_layers=architecture.num_layers,
        num_attention_heads=architecture.num_heads,
        intermediate_size=architecture.intermediate_size,
        type_vocab_size=architecture.num_segments,
        layer_norm_eps=architecture.layer_norm_epsilon,
        hidden_dropout_prob=architecture.dropout,
        attention_probs_dropout_prob=architecture.attention_dropout,
    )
