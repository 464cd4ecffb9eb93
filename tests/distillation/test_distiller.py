"""The distiller's wiring: which model learns, what each term is a mean of, what Keras sees."""

import keras
import keras_nlp
import numpy as np
import pytest
import tensorflow as tf

from support import reference, tiny
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.student import build_student
from tf_distilbert.errors import UserError
from tf_distilbert.losses.per_token import cosine_loss
from tf_distilbert.losses.vocabulary import vocabulary_loss
from tf_distilbert.model_files.hf_weights import named_variables
from tf_distilbert.models.masked_language_model import gather_positions
from tf_distilbert.training.optimizer import AdamW


def make(compile_with=None, **options):
    teacher = tiny.model(seed=1)
    student = build_student(teacher, num_layers=2)
    distiller = Distiller(teacher, student, **options)
    distiller.compile(compile_with or AdamW(1e-3))
    return teacher, student, distiller


def dataset(*batches):
    first, *rest = (tf.data.Dataset.from_tensors(b) for b in batches or [tiny.batch()])
    for more in rest:
        first = first.concatenate(more)
    return first


def evaluate(distiller, *batches):
    return distiller.evaluate(dataset(*batches), verbose=0, return_dict=True)


@pytest.mark.parametrize("positions", ["all", "masked"])
def test_every_term_equals_the_float64_reference(positions):
    teacher, student, distiller = make(distillation_positions=positions, mse_weight=0.5)
    inputs, mask_ids, mask_weights = tiny.batch()
    everywhere = np.tile(np.arange(16, dtype="int32"), (8, 1))
    hidden, logits = [], []
    for model in (student, teacher):
        hidden.append(model.hidden_states(inputs)[-1].numpy().reshape(-1, 16))
        logits.append(model({**inputs, "mask_positions": everywhere}).numpy().astype(float))
    rows = np.arange(8)[:, None], inputs["mask_positions"]
    masked = [x[rows].reshape(-1, x.shape[-1]) for x in logits]
    flat = [x.reshape(-1, x.shape[-1]) for x in logits]
    tokens, predicted = inputs["padding_mask"].ravel(), mask_weights.ravel()
    compared, mask = (flat, tokens) if positions == "all" else (masked, predicted)
    expected = {
        "distillation_loss": np.average(reference.distillation_loss(*compared, 2.0), weights=mask),
        "mse_loss": np.average(reference.logits_mse_loss(*compared), weights=mask),
        "mlm_loss": np.average(
            reference.masked_lm_loss(masked[0], mask_ids.ravel()), weights=predicted
        ),
        "cosine_loss": np.average(reference.cosine_loss(*hidden), weights=tokens),
        "mlm_accuracy": np.average(masked[0].argmax(-1) == mask_ids.ravel(), weights=predicted),
        "teacher_agreement": np.average(
            masked[0].argmax(-1) == masked[1].argmax(-1), weights=predicted
        ),
    }
    expected["loss"] = (
        5 * expected["distillation_loss"]
        + 2 * expected["mlm_loss"]
        + expected["cosine_loss"]
        + 0.5 * expected["mse_loss"]
    )
    figures = evaluate(distiller)
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, rel=2e-6), name


def test_figures_of_several_batches_are_weighted_by_their_tokens():
    _, _, distiller = make()
    whole = tiny.batch(rows=8)
    parts = [tf.nest.map_structure(lambda x, s=s: x[s], whole) for s in (slice(3), slice(3, 8))]
    together, apart = evaluate(distiller, whole), evaluate(distiller, *parts)
    for name in ("distillation_loss", "mlm_loss", "cosine_loss", "mlm_accuracy"):
        assert apart[name] == pytest.approx(together[name], rel=1e-6), name


def test_padding_changes_nothing():
    _, _, distiller = make()
    inputs, *labels = tiny.batch(length=16)
    wider = {
        "token_ids": np.pad(inputs["token_ids"], ((0, 0), (0, 9))),
        "padding_mask": np.pad(inputs["padding_mask"], ((0, 0), (0, 9))),
        "mask_positions": inputs["mask_positions"],
    }
    narrow, wide = evaluate(distiller), evaluate(distiller, (wider, *labels))
    for name, value in narrow.items():
        assert wide[name] == pytest.approx(value, rel=1e-5), name


def test_the_teacher_is_untouched_and_unseen():
    teacher, student, distiller = make()
    before = [v.numpy() for v in teacher.variables]
    distiller.fit(dataset(), epochs=3, verbose=0)
    for old, variable in zip(before, teacher.variables, strict=True):
        np.testing.assert_array_equal(old, variable.value)
    assert {id(v) for v in distiller.trainable_variables} == {
        id(v) for v in student.trainable_variables
    }
    assert len(distiller.weights) == len(student.weights)


def test_the_teacher_is_in_no_weights_file(tmp_path):
    _, student, distiller = make()
    distiller.save_weights(tmp_path / "distiller.weights.h5")
    student.save_weights(tmp_path / "student.weights.h5")
    sizes = [(tmp_path / f"{n}.weights.h5").stat().st_size for n in ("distiller", "student")]
    # The optimizer's two moments are in the first; a teacher twice as deep is not.
    optimizer = sum(v.numpy().nbytes for v in distiller.optimizer.variables)
    assert sizes[0] - sizes[1] < optimizer + 40_000
    assert sizes[0] - sizes[1] > 0.9 * optimizer


def test_every_student_weight_learns_but_the_attention_keys_biases():
    _, student, distiller = make()
    before = {name: v.numpy() for name, v in named_variables(student).items()}
    distiller.fit(dataset(), verbose=0)
    for name, variable in named_variables(student).items():
        assert not np.array_equal(before[name], variable.numpy()), name


def test_dropout_is_on_in_training_and_off_in_evaluation():
    teacher = tiny.model(seed=1, dropout=0.5, attention_dropout=0.5)
    distiller = Distiller(teacher, build_student(teacher, num_layers=4), mlm_weight=0.0)
    distiller.compile(AdamW(0.0))
    assert evaluate(distiller)["distillation_loss"] < 1e-9  # a full copy, both without dropout
    assert evaluate(distiller) == evaluate(distiller)
    history = distiller.fit(dataset(), verbose=0, epochs=2).history
    assert min(history["distillation_loss"]) > 1e-3
    assert history["distillation_loss"][0] != history["distillation_loss"][1]


def test_each_model_runs_once_a_step(monkeypatch):
    teacher = tiny.model(seed=1)
    student = build_student(teacher, num_layers=2)
    calls = {"teacher": 0, "student": 0}
    original = type(student).hidden_states

    def counted(self, *arguments, **keywords):
        calls["teacher" if self is teacher else "student"] += 1
        return original(self, *arguments, **keywords)

    monkeypatch.setattr(type(student), "hidden_states", counted)
    distiller = Distiller(teacher, student)
    distiller.compile(AdamW(1e-3), run_eagerly=True)
    distiller.fit(dataset(), verbose=0)
    assert calls == {"teacher": 1, "student": 1}


@pytest.mark.parametrize("name", ["distillation", "mlm", "cosine", "mse"])
def test_a_term_of_weight_0_is_not_computed(name, monkeypatch):
    computed = set()

    def watched_vocabulary_loss(student, teacher, token_ids, weights, *rest, **options):
        computed.update(term for term, w in weights._asdict().items() if w is not None)
        return vocabulary_loss(student, teacher, token_ids, weights, *rest, **options)

    def watched_cosine_loss(*hidden):
        computed.add("cosine")
        return cosine_loss(*hidden)

    monkeypatch.setattr(
        "tf_distilbert.distillation.distiller.vocabulary_loss", watched_vocabulary_loss
    )
    monkeypatch.setattr("tf_distilbert.distillation.distiller.cosine_loss", watched_cosine_loss)
    weights = {f"{term}_weight": 1.0 for term in ("distillation", "mlm", "cosine", "mse")}
    _, _, distiller = make(**{**weights, f"{name}_weight": 0.0})
    figures = evaluate(distiller)
    assert computed == {"distillation", "mlm", "cosine", "mse"} - {name}
    assert f"{name}_loss" not in figures and len(figures) == 6


@pytest.fixture
def bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")


def test_under_bfloat16_the_teachers_weights_are_held_in_it_once(bfloat16):
    teacher, student, distiller = make()
    held = distiller._teacher()
    assert {v.dtype for v in held.trainable_variables} == {"bfloat16"}
    assert {v.dtype for v in teacher.trainable_variables} == {"float32"}
    assert {v.dtype for v in student.trainable_variables} == {"float32"}
    for own, original in zip(held.variables, teacher.variables, strict=True):
        np.testing.assert_array_equal(own, keras.ops.cast(original, own.dtype))
    keras.config.set_dtype_policy("float32")
    exact = tiny.model(seed=1)
    keras.config.set_dtype_policy("mixed_bfloat16")
    inputs, *_ = tiny.batch()
    expected, mixed, in_bfloat16 = (
        model.hidden_states(inputs)[-1].numpy().astype(float) for model in (exact, teacher, held)
    )
    errors = [np.sqrt(np.mean((states - expected) ** 2)) for states in (mixed, in_bfloat16)]
    assert 0 < errors[0] < 0.02
    assert errors[1] < 1.5 * errors[0]  # the sum of the embeddings is rounded twice, not once
    assert keras.config.dtype_policy().name == "mixed_bfloat16"


def test_under_float32_the_teacher_itself_is_held():
    teacher, _, distiller = make()
    assert distiller._teacher() is teacher


def test_evaluation_under_bfloat16_has_no_ties(bfloat16):
    """Logits of bfloat16 are so coarse that several words share the top place."""
    teacher = tiny.model(seed=1)
    table, beta = teacher.encoder.token_table.numpy(), teacher.head.norm.beta.numpy()
    table[:, 0], beta[0] = 1.0, 300.0  # products are about 300, where bfloat16 has steps of 2
    teacher.encoder.token_table.assign(table)
    teacher.head.norm.beta.assign(beta)
    student = build_student(teacher, num_layers=4)
    distiller = Distiller(teacher, student)
    distiller.compile(AdamW(1e-3))
    inputs, _, mask_weights = tiny.batch()
    states = gather_positions(student.hidden_states(inputs)[-1], inputs["mask_positions"])
    hidden, table, bias = (np.asarray(part, float) for part in student.projection(states))
    logits = hidden @ table.T
    second = np.argsort(logits + bias)[:, -2].astype("int32").reshape(mask_weights.shape)
    rounded = tf.cast(tf.constant(logits), tf.bfloat16).numpy()
    ties = (rounded == rounded.max(-1, keepdims=True)).sum(-1)
    assert np.mean(ties > 1) > 0.9
    assert evaluate(distiller, (inputs, second, mask_weights))["mlm_accuracy"] == 0


def test_segment_ids_reach_the_teacher():
    _, _, distiller = make()
    inputs, *labels = tiny.batch()
    with_segments = {**inputs, "segment_ids": np.ones_like(inputs["token_ids"])}
    plain, other = evaluate(distiller), evaluate(distiller, (with_segments, *labels))
    assert other["distillation_loss"] != pytest.approx(plain["distillation_loss"], rel=1e-3)


@pytest.mark.long
def test_it_takes_keras_nlps_masked_lm_preprocessor():
    preprocessor = keras_nlp.models.DistilBertMaskedLMPreprocessor(
        keras_nlp.models.DistilBertTokenizer(tiny.VOCABULARY, lowercase=True),
        sequence_length=16,
        mask_selection_length=4,
    )
    text = tf.data.Dataset.from_tensor_slices(tiny.SENTENCES).batch(7).map(preprocessor)
    _, _, distiller = make()
    history = distiller.fit(text, epochs=5, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["distillation_loss"][-1] < history["distillation_loss"][0]


def test_fit_with_any_keras_optimizer_and_validation_data():
    _, _, distiller = make(compile_with=keras.optimizers.Adam(1e-3))
    batches = dataset(tiny.batch(1), tiny.batch(2))
    history = distiller.fit(batches, validation_data=dataset(), epochs=2, verbose=0).history
    assert history["val_loss"][1] < history["val_loss"][0]


def test_tokens_per_second_leave_the_validation_out(monkeypatch):
    _, _, distiller = make()
    clock = iter(range(1000))  # every look at the clock takes a second
    monkeypatch.setattr("tf_distilbert.training.callbacks.time.perf_counter", lambda: next(clock))
    batches = dataset(tiny.batch(1), tiny.batch(2))
    history = distiller.fit(batches, validation_data=batches, epochs=2, verbose=0).history
    tokens = sum(tiny.batch(seed)[0]["padding_mask"].sum() for seed in (1, 2))
    assert history["tokens_per_second"] == [tokens / 2, tokens / 2]


@pytest.mark.parametrize("positions", ["all", "masked"])
def test_weights_of_slots_only_say_whether_they_are_in_use(positions):
    _, _, distiller = make(distillation_positions=positions)
    inputs, mask_ids, mask_weights = tiny.batch()
    assert evaluate(distiller, (inputs, mask_ids, mask_weights / 2)) == evaluate(distiller)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "temperature is 0"),
        ({"mlm_weight": -1}, "mlm_loss is -1"),
        ({"distillation_weight": 0, "mlm_weight": 0, "cosine_weight": 0}, "all loss weights are 0"),
        ({"distillation_positions": "some"}, "all or masked"),
        ({"chunk_size": 0}, "chunk_size is 0"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        make(**options)


def test_a_narrower_student_is_refused_with_the_cosine_term_alone():
    teacher, student = tiny.model(), tiny.model(hidden_size=8)
    with pytest.raises(UserError, match="hidden sizes 16 and 8"):
        Distiller(teacher, student)
    Distiller(teacher, student, cosine_weight=0.0)


def test_another_vocabulary_is_refused():
    with pytest.raises(UserError, match="different vocabularies"):
        Distiller(tiny.model(), tiny.model(vocabulary_size=40))
