"""What the parity tests share: PyTorch models, batches, the reference's losses, and a record.

The PyTorch side computes in float64, so a difference is our own rounding and not the sum of two.
Its losses are written from the specification of the reference implementation (Hugging Face,
research_projects/distillation) with PyTorch's functions, not from ours.

Every comparison goes through `at_most` or `at_least`: it is recorded, then asserted. With the
option ``--parity-report=FILE`` the records become a Markdown table.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra `parity` (torch, transformers)")
transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
F = torch.nn.functional
torch.set_num_threads(1)  # many threads only wait for each other on models this small

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
RELATION_HEADS = 8
IGNORED = -100  # the label of a position that is not predicted


# Models and folders.


def bert(kind="BertForMaskedLM", scale=0.1, **sizes):
    """A small BERT without dropout, all of whose weights are random."""
    config = {
        "vocab_size": 100,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 24,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    torch.manual_seed(1)
    model = getattr(transformers, kind)(transformers.BertConfig(**config | sizes))
    return randomize(model, scale)


def distilbert(scale=0.1, **sizes):
    """A small DistilBERT without dropout, all of whose weights are random."""
    config = {
        "vocab_size": 100,
        "dim": 32,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 48,
        "max_position_embeddings": 24,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }
    torch.manual_seed(2)
    model = transformers.DistilBertForMaskedLM(transformers.DistilBertConfig(**config | sizes))
    return randomize(model, scale, seed=8)


def randomize(model, scale=0.1, seed=7):
    """Make norms and biases something else than the ones and zeros they start as."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(scale * noise if parameter.ndim > 1 else 3 * scale * noise)
    return model


def write_folder(path, model):
    """Save a PyTorch model with a vocabulary that fits it."""
    model.eval().save_pretrained(path)  # makes the folder
    words = [f"word{i}" for i in range(model.config.vocab_size - len(SPECIAL_TOKENS))]
    (path / "vocab.txt").write_text("\n".join(SPECIAL_TOKENS + words) + "\n")
    (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    return path


# Batches.


def random_batch(seed, batch, length, vocabulary_size=100, segments=False, padded=True):
    """Inputs of our models; each position is to be predicted."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, length + 1, batch) if padded else np.full(batch, length)
    lengths[0] = length
    inputs = {
        "token_ids": generator.integers(5, vocabulary_size, (batch, length)).astype("int32"),
        "padding_mask": np.arange(length)[None, :] < lengths[:, None],
    }
    if segments:
        inputs["segment_ids"] = generator.integers(0, 2, (batch, length)).astype("int32")
    inputs["mask_positions"] = np.tile(np.arange(length, dtype="int32"), (batch, 1))
    return inputs


def masked_batch(seed, rows, length, vocabulary_size=100):
    """A batch as our datasets give it: a sixth of each row's tokens is masked, short rows first.

    Neighbours have similar lengths, as with the reference's grouping: so its micro-batches have
    very different token counts.
    """
    generator = np.random.default_rng(seed)
    inputs = random_batch(seed, rows, length, vocabulary_size)
    token_ids = inputs["token_ids"]
    lengths = np.sort(generator.integers(3, length + 1, rows))
    inputs["padding_mask"] = np.arange(length)[None, :] < lengths[:, None]
    token_ids[~inputs["padding_mask"]] = 0
    positions, mask_ids, mask_weights = np.zeros((3, rows, -(-length // 6)), "int32")
    for row, row_length in enumerate(lengths):
        chosen = generator.permutation(row_length)[: max(1, row_length // 6)]
        slots = row, slice(len(chosen))
        positions[slots], mask_ids[slots], mask_weights[slots] = chosen, token_ids[row, chosen], 1
        token_ids[row, chosen] = SPECIAL_TOKENS.index("[MASK]")
    inputs["mask_positions"] = positions
    return inputs, mask_ids, mask_weights.astype("float32")


def to_torch(inputs):
    """Our inputs as arguments of a PyTorch model."""
    arguments = {
        "input_ids": torch.tensor(inputs["token_ids"], dtype=torch.long),
        "attention_mask": torch.tensor(inputs["padding_mask"], dtype=torch.long),
    }
    if "segment_ids" in inputs:
        arguments["token_type_ids"] = torch.tensor(inputs["segment_ids"], dtype=torch.long)
    return arguments


def to_labels(batch):
    """The original token where one is to be predicted, `IGNORED` elsewhere: int64 [B, S]."""
    inputs, mask_ids, mask_weights = batch
    labels = torch.full(inputs["token_ids"].shape, IGNORED, dtype=torch.long)
    for row, slot in np.argwhere(mask_weights):
        labels[row, inputs["mask_positions"][row, slot]] = int(mask_ids[row, slot])
    return labels


def part(batch, rows):
    """Some rows of a batch."""
    inputs, mask_ids, mask_weights = batch
    return {k: v[rows] for k, v in inputs.items()}, mask_ids[rows], mask_weights[rows]


# The reference's losses.


def term_sums(student, teacher, batch, temperature, restrict_to_mask=False, inner_terms=False):
    """Each term summed over its tokens, and how many tokens these are: two dictionaries.

    The terms of inner layers are those of a student of two layers and a teacher of three.
    """
    arguments, labels = to_torch(batch[0]), to_labels(batch)
    student_output = student(**arguments, output_hidden_states=True)
    with torch.no_grad():
        teacher_output = teacher(**arguments, output_hidden_states=True)
    real, predicted = arguments["attention_mask"] == 1, labels != IGNORED
    compared = predicted if restrict_to_mask else real
    ours, theirs = student_output.logits[compared], teacher_output.logits[compared]
    last = [output.hidden_states[-1][real] for output in (student_output, teacher_output)]
    divergence = F.kl_div(
        F.log_softmax(ours / temperature, dim=-1),
        F.softmax(theirs / temperature, dim=-1),
        reduction="sum",
    )
    sums = {
        "distillation_loss": divergence * temperature**2,
        "mlm_loss": masked_lm_sum(student_output.logits, labels),
        "cosine_loss": F.cosine_embedding_loss(*last, torch.ones(len(last[0])), reduction="sum"),
        "mse_loss": F.mse_loss(ours, theirs, reduction="sum"),
    }
    counts = {name: len(ours) for name in sums} | {"mlm_loss": int(predicted.sum())}
    counts["cosine_loss"] = int(real.sum())
    if inner_terms:
        states = [output.hidden_states for output in (student_output, teacher_output)]
        sums["hidden_loss"] = hidden_sum(*states, real)
        sums["relation_loss"] = relation_sum(student, teacher, *states, real)
        counts |= dict.fromkeys(("relation_loss", "hidden_loss"), int(real.sum()))
    return sums, counts


def hidden_sum(student_states, teacher_states, real):
    """Squared distances of real tokens, a mean over width and over pairs of layers.

    Of two layers the first is compared with the second of three, the second with the third.
    """
    pairs = zip(student_states[1:], teacher_states[2:], strict=True)
    of_pairs = [F.mse_loss(ours[real], theirs[real], reduction="sum") for ours, theirs in pairs]
    width = student_states[0].shape[-1]
    return sum(of_pairs) / len(of_pairs) / width


def relation_sum(student, teacher, student_states, teacher_states, real):
    """MiniLMv2's divergence of the last layers' relations, summed over the real tokens."""
    attention = student.distilbert.transformer.layer[-1].attention
    own = (attention.q_lin, attention.k_lin, attention.v_lin)
    attention = teacher.bert.encoder.layer[-1].attention.self
    with torch.no_grad():
        theirs = [
            part(teacher_states[-2]) for part in (attention.query, attention.key, attention.value)
        ]
    total = 0.0
    for part, of_teacher in zip(own, theirs, strict=True):
        logs = [_log_relations(each, real) for each in (part(student_states[-2]), of_teacher)]
        divergence = F.kl_div(*logs, reduction="none", log_target=True)
        # A column of padding has no probability, and no share.
        divergence = torch.where(real[:, None, None, :], divergence, 0.0).sum(-1)
        total = total + torch.where(real[:, None, :], divergence, 0.0).mean(1).sum() / 3
    return total


def _log_relations(projected, real):
    heads = projected.unflatten(-1, (RELATION_HEADS, -1)).transpose(1, 2)
    scores = heads @ heads.transpose(-1, -2) / heads.shape[-1] ** 0.5
    return F.log_softmax(scores.masked_fill(~real[:, None, None, :], -1e9), dim=-1)


def masked_lm_sum(logits, labels):
    """Cross-entropy summed over the labelled positions."""
    return F.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def chi_square_p_value(statistic, degrees_of_freedom):
    """The chance of a larger statistic: the upper regularised incomplete gamma function."""
    halves = (torch.tensor(x / 2, dtype=torch.float64) for x in (degrees_of_freedom, statistic))
    return float(torch.special.gammaincc(*halves))


# The record.

_rows = {}


def at_most(section, what, against, measured, tolerance, detail=""):
    """Record a difference, then assert that it is within the tolerance."""
    _record(section, what, against, float(measured), tolerance, "")
    assert measured <= tolerance, f"{what}: {measured:.2e}, tolerance {tolerance:.0e}; {detail}"


def at_least(section, what, against, measured, limit, detail=""):
    """Record a figure that must not be small, e.g. a p-value, then assert that it is not."""
    _record(section, what, against, float(measured), limit, ">= ")
    assert measured >= limit, f"{what}: {measured:.2e}, must be {limit:.0e} or more; {detail}"


def _record(section, what, against, measured, limit, relation):
    """Keep the worst of all cases of a row; not-a-number is the worst."""
    key = section, what, against, limit, relation
    old, cases = _rows.get(key, (measured, 0))
    worst = np.minimum(old, measured) if relation else np.maximum(old, measured)
    _rows[key] = float(worst), cases + 1


def write_report(path, closing_line):
    """Write what was recorded as Markdown tables, one a section."""
    packages = ", ".join(f"{n} {version(n)}" for n in _PACKAGES)
    lines = ["# Parity with the reference", "", *_INTRODUCTION, "", f"Versions: {packages}.", ""]
    for section in dict.fromkeys(key[0] for key in _rows):
        lines += [f"## {section}", "", *_HEADER]
        for (of, what, against, limit, relation), (worst, cases) in _rows.items():
            if of == section:
                fails = not (worst >= limit if relation else worst <= limit)
                figure = f"**{_number(worst)}, fails**" if fails else _number(worst)
                limit = relation + _number(limit)
                lines.append(f"| {what} | {against} | {cases} | {figure} | {limit} |")
        lines.append("")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("\n".join([*lines, closing_line, ""]), encoding="utf-8")


def _number(value):
    return f"{value:.1e}" if value else "0"


_PACKAGES = ("tensorflow", "keras", "torch", "transformers")
_HEADER = (
    "| what is compared | against | cases | largest difference | tolerance |",
    "|---|---|---|---|---|",
)
_INTRODUCTION = (
    "How far this project is from Hugging Face's models and distillation scripts in PyTorch, as",
    "measured by its tests on a CPU. The PyTorch side is written from a specification of the",
    "scripts; ours is float32, theirs float64 where losses are compared and in training. Of",
    "several cases the worst is shown; where the tolerance says `>=`, the smallest figure is it.",
    "Made by `pytest -m parity --parity-report=docs/parity.md`.",
)
