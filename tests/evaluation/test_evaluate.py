"""The held-out figures, against float64 NumPy on the same masks."""

import numpy as np
import pytest

from support import reference, tiny
from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.data.pipeline import evaluation_dataset
from tf_distilbert.data.prepare import prepare
from tf_distilbert.distillation.student import build_student
from tf_distilbert.errors import UserError
from tf_distilbert.evaluation.masked_lm import evaluate


@pytest.fixture
def text(tmp_path):
    return [str(tiny.write_text(tmp_path / "text.txt", documents=30))]


def by_hand(text, folder, teacher, student):
    """All figures of the two models, one masked token after the other."""
    records = prepare(text, teacher.tokenizer, folder, sequence_length=32, progress=False)
    rows = {"loss": [], "hit": [], "teacher_loss": [], "teacher_hit": [], "kl": [], "agree": []}
    cosines = []
    for inputs, mask_ids, mask_weights in evaluation_dataset(
        records, TokenMasker.for_records(records, seed=0), 8
    ):
        used = mask_weights.numpy().astype(bool)
        labels = mask_ids.numpy()[used]
        logits = [m(inputs).numpy()[used].astype(float) for m in (student, teacher)]
        hidden = [m.hidden_states(inputs)[-1].numpy().astype(float) for m in (student, teacher)]
        for prefix, x in zip(("", "teacher_"), logits, strict=True):
            rows[f"{prefix}loss"].extend(reference.masked_lm_loss(x, labels))
            rows[f"{prefix}hit"].extend(x.argmax(-1) == labels)
        rows["kl"].extend(reference.distillation_loss(*logits, 1.0))
        rows["agree"].extend(logits[0].argmax(-1) == logits[1].argmax(-1))
        cosine = 1 - reference.cosine_loss(*hidden)
        cosines.extend(cosine[inputs["padding_mask"].numpy()])
    means = {name: np.mean(values) for name, values in rows.items()}
    return means | {"cosine": np.mean(cosines), "predictions": len(rows["loss"])}


def test_all_figures_equal_those_made_by_hand(text, tmp_path):
    teacher = tiny.model(seed=1)
    student = build_student(teacher, num_layers=2)
    figures = evaluate(student, text, teacher, sequence_length=32, batch_size=16)
    expected = by_hand(text, tmp_path / "records", teacher, student)
    for name, hand in {
        "loss": expected["loss"],
        "perplexity": np.exp(expected["loss"]),
        "accuracy": expected["hit"],
        "teacher_loss": expected["teacher_loss"],
        "teacher_accuracy": expected["teacher_hit"],
        "kl_divergence": expected["kl"],
        "agreement": expected["agree"],
        "cosine": expected["cosine"],
        "retention": expected["hit"] / expected["teacher_hit"],
        "predictions": expected["predictions"],
    }.items():
        assert figures[name] == pytest.approx(hand, rel=1e-5), name


def test_a_model_against_itself(text):
    model = tiny.model()
    figures = evaluate(model, text, model, sequence_length=32)
    assert figures["agreement"] == 1.0 and figures["retention"] == 1.0
    assert figures["kl_divergence"] == pytest.approx(0.0, abs=1e-6)
    assert figures["cosine"] == pytest.approx(1.0, abs=1e-6)
    alone = evaluate(model, text, sequence_length=32)
    assert {name: figures[name] for name in alone} == pytest.approx(alone, rel=1e-6)


def test_the_seed_alone_decides_the_figures(text):
    model = tiny.model()
    first = evaluate(model, text, sequence_length=32)
    assert evaluate(model, text, sequence_length=32) == first
    other_batches = evaluate(model, text, sequence_length=32, batch_size=7)
    assert other_batches == pytest.approx(first, rel=1e-6)
    assert evaluate(model, text, sequence_length=32, seed=1)["loss"] != first["loss"]


def test_hidden_sizes_may_differ(text):
    figures = evaluate(tiny.model(hidden_size=8), text, tiny.model(), sequence_length=32)
    assert "cosine" not in figures and "kl_divergence" in figures


def test_sequences_beyond_the_positions_are_refused(text):
    with pytest.raises(UserError, match="sequence_length is 64, the model has 32 positions"):
        evaluate(tiny.model(), text, sequence_length=64)
