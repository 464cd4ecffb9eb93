"""Fifty updates against the same fifty in PyTorch: losses, gradient norms, final weights.

The reference averages over a micro-batch's tokens, then over micro-batches; we divide by the
counts of the whole batch. Both are run in PyTorch; ours is compared with the one it means to be,
and, made to average as the reference does, with the other.
"""

import numpy as np
import pytest
import tensorflow as tf

from support import parity
from support.parity import torch, transformers
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.pretrainer import MaskedLMPretrainer
from tf_distilbert.distillation.student import build_student
from tf_distilbert.model_files.folder import load_model, save_model
from tf_distilbert.model_files.hf_weights import write_tensors
from tf_distilbert.training.batch import count_tokens
from tf_distilbert.training.optimizer import AdamW, WarmupThenDecay

pytestmark = pytest.mark.parity
SECTION = "Training"
AGAINST = "PyTorch's AdamW, float64"
UPDATES, WARMUP, RATE, MICRO_BATCHES = 50, 5, 2e-3, 4
TERM_WEIGHTS = {"distillation_loss": 5.0, "mlm_loss": 2.0, "cosine_loss": 1.0}
CLIP_NORM = {"distillation": 5.0, "pretraining": 1.5}
TOLERANCE = 1e-4


def batches():
    """Five batches again and again, so that there is something to learn."""
    return [parity.masked_batch(seed % 5, rows=16, length=24) for seed in range(UPDATES)]


# Ours.


class MeanOfMeans(Distiller):
    """Averages as the reference does: over each micro-batch's own tokens, then over micro-batches.

    What is divided by the global counts is given each micro-batch's count, times their number.
    """

    def _partial_means(self, batch, counts, **options):
        own = {name: count * self.micro_batches for name, count in count_tokens(batch).items()}
        return super()._partial_means(batch, own, **options)


def train_ours(trainer, clip_norm, weight_decay=0.0):
    """Loss and gradient norm of every update."""
    schedule = WarmupThenDecay(RATE, WARMUP, UPDATES)
    trainer.compile(AdamW(schedule, weight_decay=weight_decay, clip_norm=clip_norm))
    stacked = tf.nest.map_structure(lambda *parts: np.stack(parts), *batches())
    dataset = tf.data.Dataset.from_tensor_slices(stacked)
    return trainer.fit(dataset, steps_per_epoch=1, epochs=UPDATES, verbose=0).history


# Theirs, from the specification.


def train_theirs(model, losses_of, clip_norm, weight_decay=0.0):
    """The reference's loop; `losses_of` gives each micro-batch's part of the loss of an update."""
    undecayed = [p for n, p in model.named_parameters() if "bias" in n or "LayerNorm.weight" in n]
    kept = {id(p) for p in undecayed}
    decayed = [p for p in model.parameters() if id(p) not in kept]
    groups = [{"params": decayed, "weight_decay": weight_decay}]
    groups.append({"params": undecayed, "weight_decay": 0.0})
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98), eps=1e-6)
    scheduler = transformers.get_linear_schedule_with_warmup(optimizer, WARMUP, UPDATES)
    history = {"loss": [], "gradient_norm": []}
    for batch in batches():
        optimizer.zero_grad()
        loss = 0.0
        for share in losses_of(batch):
            share.backward()
            loss += share.item()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()
        scheduler.step()
        history["loss"].append(loss)
        history["gradient_norm"].append(norm.item())
    return history


def micro_batches(batch):
    rows = len(batch[1]) // MICRO_BATCHES
    return [parity.part(batch, slice(i * rows, (i + 1) * rows)) for i in range(MICRO_BATCHES)]


def distillation_losses(student, teacher, average):
    def losses_of(batch):
        parts = micro_batches(batch)
        totals = {
            "distillation_loss": batch[0]["padding_mask"].sum(),
            "mlm_loss": batch[2].sum(),
            "cosine_loss": batch[0]["padding_mask"].sum(),
        }
        for micro_batch in parts:
            sums, counts = parity.term_sums(student, teacher, micro_batch, temperature=2.0)
            if average == "reference":
                totals = {name: len(parts) * counts[name] for name in TERM_WEIGHTS}
            yield sum(w * sums[name] / float(totals[name]) for name, w in TERM_WEIGHTS.items())

    return losses_of


# Comparisons.


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Folders of a teacher and of the student that starts from it."""
    root = tmp_path_factory.mktemp("start")
    teacher = parity.bert(scale=0.3, num_hidden_layers=4)
    parity.write_folder(root / "teacher", teacher)
    save_model(build_student(load_model(root / "teacher"), num_layers=2), root / "student")
    return root


def in_pytorch(kind, folder):
    model = getattr(transformers, kind).from_pretrained(folder).double().train()
    assert not any("Dropout" in type(m).__name__ and m.p for m in model.modules())
    return model


@pytest.fixture(scope="module")
def distilled(start):
    """Histories and students of the four runs: ours and theirs, global and reference averages."""
    runs = {}
    for average, distiller in (("global", Distiller), ("reference", MeanOfMeans)):
        student = load_model(start / "student")
        trainer = distiller(load_model(start / "teacher"), student, micro_batches=MICRO_BATCHES)
        runs["ours", average] = train_ours(trainer, CLIP_NORM["distillation"]), student
        student = in_pytorch("DistilBertForMaskedLM", start / "student")
        teacher = in_pytorch("BertForMaskedLM", start / "teacher").eval()
        losses_of = distillation_losses(student, teacher, average)
        history = train_theirs(student, losses_of, CLIP_NORM["distillation"])
        runs["theirs", average] = history, student
    return runs


def check(title, ours, theirs, clip_norm):
    """Compare (history, model) of two runs; record and assert."""
    (our_history, our_model), (history, model) = ours, theirs
    clipped = np.mean(np.array(history["gradient_norm"]) > clip_norm)
    assert 0.3 < clipped < 0.9, f"clipping is active in {clipped:.0%} of the updates"
    assert history["loss"][-1] < 0.8 * history["loss"][0], "nothing is learnt"
    for name, what in (("loss", "loss"), ("gradient_norm", "gradient norm")):
        error = relative(our_history[name], history[name]).max()
        row = f"{title}: {what} at each of {UPDATES} updates (relative)"
        parity.at_most(SECTION, row, AGAINST, error, TOLERANCE)
    theirs = {name: p.detach().numpy() for name, p in model.named_parameters()}
    ours = write_tensors(our_model)
    assert ours.keys() == theirs.keys()
    errors = {name: np.abs(ours[name] - theirs[name]).max() for name in theirs}
    # A key's bias adds the same to all scores of a query, which the softmax cancels. Its gradient
    # is 0 but for rounding, and Adam makes steps of that; the predictions do not depend on it.
    keys = {n for n in errors if n.endswith(("k_lin.bias", "self.key.bias"))}
    worst = max(errors.keys() - keys, key=errors.get)
    row = f"{title}: every weight at the end, but the keys' biases (absolute)"
    parity.at_most(SECTION, row, AGAINST, errors[worst], TOLERANCE, worst)
    row = f"{title}: the keys' biases, whose gradient is rounding alone (absolute)"
    parity.at_most(SECTION, row, AGAINST, max(errors[n] for n in keys), 10 * TOLERANCE)


def relative(ours, theirs):
    return np.abs(np.array(ours) - theirs) / np.abs(theirs)


@pytest.mark.parametrize("average", ["global", "reference"])
def test_distillation(distilled, average):
    title = f"distillation, {average} averages"
    ours, theirs = distilled["ours", average], distilled["theirs", average]
    check(title, ours, theirs, CLIP_NORM["distillation"])


def test_what_the_global_count_changes(distilled):
    """With the reference's averages the run is another one, by far more than the tolerance."""
    for side in ("ours", "theirs"):
        curves = [distilled[side, average][0]["loss"] for average in ("global", "reference")]
        difference = relative(*curves).max()
        row = f"distillation, {side}: loss by global and by reference averages (relative)"
        parity.at_least(SECTION, row, "each other", difference, 1e-2)


def test_pretraining(tmp_path):
    """With weight decay: BERT's norms are named so that the reference's groups spare them."""
    ours = load_model(parity.write_folder(tmp_path, parity.bert(scale=0.2)))
    trainer = MaskedLMPretrainer(ours, micro_batches=MICRO_BATCHES)
    our_history = train_ours(trainer, CLIP_NORM["pretraining"], weight_decay=0.1)
    theirs = in_pytorch("BertForMaskedLM", tmp_path)

    def losses_of(batch):
        for micro_batch in micro_batches(batch):
            logits = theirs(**parity.to_torch(micro_batch[0])).logits
            yield parity.masked_lm_sum(logits, parity.to_labels(micro_batch)) / batch[2].sum()

    history = train_theirs(theirs, losses_of, CLIP_NORM["pretraining"], weight_decay=0.1)
    check("pretraining", (our_history, ours), (history, theirs), CLIP_NORM["pretraining"])
