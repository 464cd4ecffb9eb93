"""The held-out figures, against float64 NumPy on the same masks."""

import numpy as np
import pytest

from support import reference, tiny
from support.commands import run as command
from support.spelling import ids_of
from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.data.pipeline import evaluation_dataset
from tf_distilbert.data.prepare import prepare
from tf_distilbert.distillation.student import build_student
from tf_distilbert.distillation.trimming import trim_model, trimmed_to
from tf_distilbert.errors import UserError
from tf_distilbert.evaluation.masked_lm import evaluate
from tf_distilbert.model_files.folder import load_model, save_model
from tf_distilbert.tokenization.trimming import least_kept, trimmed_tokenizer
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer


@pytest.fixture
def text(tmp_path):
    return [str(tiny.write_text(tmp_path / "text.txt", documents=30))]


def by_hand(text, folder, teacher, student, kept=None):
    """All figures of the two models, one masked token after the other.

    Of a student with some of the teacher's tokens, the teacher keeps all: it is given its own ids
    of them, and chooses among them.
    """
    kept = np.arange(len(teacher.tokenizer.vocabulary)) if kept is None else np.array(kept)
    records = prepare(text, student.tokenizer, folder, sequence_length=32, progress=False)
    rows = {"loss": [], "hit": [], "teacher_loss": [], "teacher_hit": [], "kl": [], "agree": []}
    cosines = []
    for inputs, mask_ids, mask_weights in evaluation_dataset(
        records, TokenMasker.for_records(records, seed=0), 8
    ):
        used = mask_weights.numpy().astype(bool)
        labels = mask_ids.numpy()[used]
        whole = {**inputs, "token_ids": kept[inputs["token_ids"].numpy()].astype("int32")}
        read = (student, inputs), (teacher, whole)
        logits = [m(each).numpy()[used].astype(float) for m, each in read]
        logits[1] = logits[1][:, kept]
        hidden = [m.hidden_states(each)[-1].numpy().astype(float) for m, each in read]
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
    check(figures, by_hand(text, tmp_path / "records", teacher, student))
    assert "teacher_tokens_cut" not in figures


def check(figures, expected):
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


# A student with a part of its teacher's tokens


def some_tokens(tokenizer, words):
    return sorted({*least_kept(tokenizer), *ids_of(tokenizer, words)})


KEPT = some_tokens(tiny.tokenizer(), ["paris", "rome", "is", "the", "capital", "of", "italy"])


@pytest.fixture
def pair():
    """A teacher, and a student with the tokens of `KEPT`."""
    teacher = tiny.model(seed=1)
    return teacher, build_student(trim_model(teacher, KEPT), num_layers=2)


def test_the_teacher_is_measured_with_the_students_tokens(text, pair, tmp_path):
    teacher, student = pair
    figures = evaluate(student, text, teacher, sequence_length=32, batch_size=16)
    check(figures, by_hand(text, tmp_path / "records", teacher, student, KEPT))
    assert figures["teacher_tokens_cut"] == 47 - len(KEPT) == 30
    assert teacher.architecture.vocabulary_size == 47  # as it was


def test_the_command_says_that_tokens_were_cut(text, pair, tmp_path, capsys):
    for name, model in zip(("teacher", "student"), pair, strict=True):
        save_model(model, tmp_path / name)
    options = [f"--{name}={tmp_path / name}" for name in ("teacher", "student")]
    options[1] = options[1].replace("--student", "--model")
    assert command("evaluate", *options, "--text", *text, "--sequence-length", "32") == 0
    printed = capsys.readouterr()
    assert "teacher_tokens_cut   30" in printed.out.splitlines()
    said = "the teacher is measured with 17 of its 47 tokens, those that the model has"
    assert said in " ".join(printed.err.split())


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_the_tokens_of_a_folder_are_found(family, tmp_path):
    teacher = tiny.roberta() if family == "roberta" else tiny.model()
    words = ["th", "Ġc"] if family == "roberta" else ["rome", "##ing"]
    kept = some_tokens(teacher.tokenizer, words)
    save_model(trim_model(teacher, kept), tmp_path / "student")
    tokenizer = load_model(tmp_path / "student").tokenizer
    trimmed = trimmed_to(teacher, tokenizer)
    assert trimmed.tokenizer.sha256 == tokenizer.sha256
    table = np.array(teacher.encoder.token_table.value)
    np.testing.assert_array_equal(trimmed.encoder.token_table.value, table[kept])
    bias = np.array(teacher.head.output_bias.value)
    np.testing.assert_array_equal(trimmed.head.output_bias.value, bias[kept])
    assert trimmed_to(trimmed, tokenizer) is trimmed


def test_of_equal_tokens_it_is_the_last_one():
    """Which is what a text becomes."""
    words = [*tiny.VOCABULARY[:-1], "rome"]
    first, last = (i for i, word in enumerate(words) if word == "rome")
    teacher = tiny.model()
    teacher.tokenizer = WordPieceTokenizer(words)
    assert teacher.tokenizer.encode("rome")[1] == last
    least = least_kept(teacher.tokenizer)
    for kept in ([*least, last], sorted([*least, first, last])):
        trimmed = trimmed_to(teacher, trimmed_tokenizer(teacher.tokenizer, kept))
        table = np.array(teacher.encoder.token_table.value)
        np.testing.assert_array_equal(trimmed.encoder.token_table.value, table[kept])


NO_PARTS = {
    "a token of its own": ([*tiny.VOCABULARY[:-1], "london"], {}),
    "more tokens": ([*tiny.VOCABULARY, "london"], {}),
    "another order": ([*tiny.VOCABULARY[:-2], "new", "old"], {}),
    "other settings": (tiny.VOCABULARY, {"lower_case": False}),
    "too few tokens": (tiny.VOCABULARY[:9], {}),
}


@pytest.mark.parametrize(("words", "settings"), NO_PARTS.values(), ids=NO_PARTS)
def test_a_vocabulary_that_is_no_part_is_refused(text, words, settings):
    student = tiny.model(vocabulary_size=len(words))
    student.tokenizer = WordPieceTokenizer(words, **settings)
    message = (
        rf"^teacher \(47 tokens\) and student \({len(words)}\) have different vocabularies or "
        "tokenizers; their predictions cannot be compared$"
    )
    with pytest.raises(UserError, match=message):
        evaluate(student, text, tiny.model(), sequence_length=32)
