"""What services answer, against NumPy: windows one by one, never padded, every span looked at."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from support import tiny
from support.service_reference import (
    MAX_LENGTH,
    QUESTIONS,
    TEXTS,
    answer,
    batch_of,
    expected_logits,
    expected_words,
    model_of,
    run_alone,
    service_of,
    softmax,
    span_sums,
    tokens_of,
    windows_of,
)
from support.task_model import LABELS
from tf_distilbert.errors import UserError
from tf_distilbert.serving.question_answering import MAX_ANSWER_LENGTH, MAX_QUESTION_LENGTH
from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.service import LONG_TEXTS, WINDOWS_AT_ONCE
from tf_distilbert.serving.services import SERVICES

cases = pytest.mark.parametrize("long_texts", LONG_TEXTS)
# A sentence encoder has one vector for the beginning of a text, and no windows.
in_windows = pytest.mark.parametrize("task", [task for task in SERVICES if task != "embedding"])
ways = pytest.mark.parametrize(
    ("task", "long_texts"),
    [
        (task, way)
        for task in SERVICES
        for way in LONG_TEXTS
        if (task, way) != ("embedding", "window")
    ],
)


# --- each service ---


@cases
def test_masked_lm(long_texts):
    service = service_of("masked_lm", long_texts, top_k=4)
    found = answer(service, TEXTS)
    expected = [expected_words(service, text, 4) for text in TEXTS]
    counts = [len(positions) for positions, _, _ in expected]
    assert found["mask_count"].tolist() == counts
    if long_texts == "window":
        assert counts == [text.count("[MASK]") for text in TEXTS]
    assert found["scores"].shape == found["tokens"].shape == (len(TEXTS), max(counts), 4)
    for row, (positions, words, scores) in enumerate(expected):
        used = counts[row]
        assert found["mask_positions"][row, :used].tolist() == positions
        assert [[w.decode() for w in k] for k in found["tokens"][row, :used]] == words
        np.testing.assert_allclose(found["scores"][row, :used], np.reshape(scores, (-1, 4)), 1e-4)
        for name, filler in {"mask_positions": -1, "tokens": b"", "scores": 0}.items():
            assert (found[name][row, used:] == filler).all()


@cases
@pytest.mark.parametrize(
    ("family", "problem"),
    [("bert", "single_label"), ("distilbert", "multi_label"), ("roberta", "regression")],
)
@pytest.mark.parametrize("pair", [False, True])
def test_classification(long_texts, family, problem, pair):
    settings = {"labels": ("x",)} if problem == "regression" else {"problem": problem}
    service = service_of("sequence_classification", long_texts, family, **settings)
    texts = (TEXTS, TEXTS[::-1]) if pair else (TEXTS,)
    found = answer(service, *texts)
    logits = np.stack([expected_logits(service, *one) for one in zip(*texts, strict=True)])
    if problem == "regression":
        np.testing.assert_allclose(found["value"], logits[:, 0], 1e-5, 1e-5)
        assert found.keys() == {"value"}
        return
    multiple = problem == "multi_label"
    probabilities = 1 / (1 + np.exp(-logits)) if multiple else np.stack([*map(softmax, logits)])
    np.testing.assert_allclose(found["probabilities"], probabilities, 1e-5, 1e-5)
    assert [label.decode() for label in found["label"]] == [LABELS[i] for i in logits.argmax(1)]


@cases
def test_token_classification(long_texts):
    service = service_of("token_classification", long_texts)
    found = answer(service, TEXTS)
    for row, text in enumerate(TEXTS):
        ids, offsets = tokens_of(text)
        used = len(ids) if long_texts == "window" else min(len(ids), MAX_LENGTH - 2)
        assert found["token_count"][row] == used
        best = {}
        for window in windows_of(service, ids):
            probabilities = [softmax(logits) for logits in run_alone(service, window)]
            for column in np.flatnonzero(window["owned"]):
                best[window["starts"] + column - 1] = probabilities[column]
        assert sorted(best) == list(range(used))
        expected = [best[token] for token in range(used)]
        tokens = [token.decode() for token in found["tokens"][row, :used]]
        assert tokens == [tiny.VOCABULARY[i] for i in ids[:used]]
        places = zip(found["start"][row, :used], found["end"][row, :used], strict=True)
        assert list(places) == offsets[:used]
        labels = [label.decode() for label in found["labels"][row, :used]]
        assert labels == [LABELS[p.argmax()] for p in expected]
        scores = [p.max() for p in expected]
        np.testing.assert_allclose(found["scores"][row, :used], scores, 1e-5, 1e-5)
        fillers = {"start": -1, "end": -1, "tokens": b"", "labels": b"", "scores": 0}
        for name, filler in fillers.items():
            assert (found[name][row, used:] == filler).all()


@cases
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_question_answering(long_texts, family):
    service = service_of("question_answering", long_texts, family)
    found = answer(service, QUESTIONS, TEXTS)
    for row, (question, context) in enumerate(zip(QUESTIONS, TEXTS, strict=True)):
        start, end = found["start"][row], found["end"][row]
        assert found["answer"][row].decode() == context[start:end]
        _, offsets = tokens_of(context)
        if not offsets:
            assert (start, end, found["score"][row]) == (0, 0, 0)
            *_, null = span_sums(service, question, context)
            np.testing.assert_allclose(found["no_answer"][row], null, 1e-4, 1e-5)
            continue
        sums, starts, ends, null = span_sums(service, question, context)
        (first, last), best = max(sums.items(), key=lambda item: item[1])
        assert (start, end) == (offsets[first][0], offsets[last][1])
        logs = np.log(np.exp(starts).sum()) + np.log(np.exp(ends).sum())
        np.testing.assert_allclose(found["score"][row], np.exp(best - logs), 1e-4)
        np.testing.assert_allclose(found["no_answer"][row], null - best, 1e-4, 1e-5)


@cases
def test_embedding(long_texts):
    service = service_of("encoder", long_texts)
    found = answer(service, TEXTS)
    for row, text in enumerate(TEXTS):
        states = [run_alone(service, window) for window in windows_of(service, tokens_of(text)[0])]
        np.testing.assert_allclose(found["mean"][row], np.concatenate(states).mean(0), 1e-4, 1e-5)
        first = np.mean([state[0] for state in states], axis=0)
        np.testing.assert_allclose(found["cls"][row], first, 1e-4, 1e-5)


def test_a_sentence_encoder_reads_the_beginning():
    service = service_of("embedding")
    found = answer(service, TEXTS)["embedding"]
    for row, text in enumerate(TEXTS):
        [window] = windows_of(service, tokens_of(text)[0])
        np.testing.assert_allclose(found[row], run_alone(service, window), 1e-4, 1e-5)
    with pytest.raises(UserError, match=r"^--long-texts window: a sentence encoder gives one vec"):
        service_of("embedding", "window")


# --- whatever the task ---


def assert_same_row(found, row, alone):
    """Compare a row of a batch with what is said of it alone, which is padded less."""
    for name, values in alone.items():
        inside = tuple(slice(size) for size in values.shape[1:])
        own = found[name][(slice(row, row + 1), *inside)]
        if values.dtype == np.float32:
            np.testing.assert_allclose(own, values, 1e-5, 1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(own, values, name)


def padded(service, length=2 * MAX_LENGTH):
    """The service's model, shown rows that are filled up with padding."""

    def run(inputs):
        real = inputs["token_ids"].shape[1]
        rows = {
            name: tf.pad(values, [[0, 0], [0, length - real]])
            for name, values in inputs.items()
            if name != "mask_positions"
        }
        output = service.run(inputs | rows)
        of_tokens = service.model.task not in ("masked_lm", "sequence_classification", "embedding")
        return output[:, :real] if of_tokens else output

    return run


@ways
def test_a_text_is_answered_alike_alone_in_any_batch_and_with_padding(task, long_texts):
    service, texts = service_of(task, long_texts), batch_of(task)
    found = answer(service, *texts)
    backwards = answer(service, *(part[::-1] for part in texts))
    fixed = answer(service.with_run(padded(service)), *texts)
    for row, one in enumerate(zip(*texts, strict=True)):
        alone = answer(service, *([text] for text in one))
        assert_same_row(found, row, alone)
        assert_same_row(backwards, len(TEXTS) - 1 - row, alone)
        assert_same_row(fixed, row, alone)


NOTHING = {
    "masked_lm": [(0,), (0, 0), (0, 0, 5), (0, 0, 5)],  # a count; positions, words, scores
    "sequence_classification": [(0, len(LABELS)), (0,)],
    "token_classification": [(0,), *[(0, 0)] * 5],
    "question_answering": [(0,)] * 5,
    "encoder": [(0, 16)] * 2,
    "embedding": [(0, 16)],
}


@ways
def test_a_graph_gives_what_python_gives(task, long_texts):
    service = service_of(task, long_texts)
    names = service.signatures["serving_default"]
    specs = {name: tf.TensorSpec([None], tf.string) for name in names}
    graph = tf.function(service.answer, autograph=False).get_concrete_function(**specs)
    for rows in (len(TEXTS), 1, 0):
        texts = [part[:rows] for part in batch_of(task)]
        expected = answer(service, *texts)
        found = graph(**dict(zip(names, map(tf.constant, texts, [tf.string] * 2), strict=False)))
        assert found.keys() == expected.keys()
        for name, values in found.items():
            assert values.shape == expected[name].shape
            if values.dtype == tf.float32:
                np.testing.assert_allclose(values, expected[name], 1e-5, 1e-6)
            else:
                np.testing.assert_array_equal(values, expected[name])
    assert [values.shape for values in expected.values()] == NOTHING[task]


@in_windows
def test_windows_go_through_the_model_a_few_at_a_time(task):
    service, rows = service_of(task, "window"), []
    run = service.run
    service.run = lambda inputs: rows.append(len(inputs["token_ids"])) or run(inputs)
    answer(service, *(part * 3 for part in batch_of(task)))
    assert sum(rows) > 3 * WINDOWS_AT_ONCE
    assert max(rows) == WINDOWS_AT_ONCE


@pytest.mark.parametrize("top_k", [0, len(tiny.VOCABULARY) + 1])
def test_a_wrong_setting_is_refused_in_one_line(top_k):
    for task in SERVICES:
        with pytest.raises(UserError, match=r"^--long-texts 'all': use one of cut, window$"):
            service_of(task, "all")
    size = len(tiny.VOCABULARY)
    message = rf"^--top-k is {top_k}; the vocabulary has {size} tokens$"
    with pytest.raises(UserError, match=message):
        service_of("masked_lm", top_k=top_k)
    found = answer(service_of("masked_lm", top_k=size), ["[MASK]"])
    assert sorted(map(bytes.decode, found["tokens"][0, 0])) == sorted(tiny.VOCABULARY)
    with pytest.raises(UserError, match=r"^--max-length is 2; the model takes 4 to 32$"):
        service_of("masked_lm", max_length=2)


# --- answers ---


def test_an_answer_needs_room_for_one_token():
    with pytest.raises(UserError, match=r"^[^\n]*max-length is 3[^\n]*$"):
        answer(service_of("question_answering", max_length=3), ["is"], ["paris"])
    found = answer(service_of("question_answering", "window", max_length=4), ["is"], ["in paris"])
    assert found["answer"][0] in (b"in", b"paris", b"in paris")


def fond_of(starts, ends, max_length=200):
    """A service whose model gives logits to some words; and the rows of ids that it was shown."""
    tables = [[words.get(word, 0.0) for word in tiny.VOCABULARY] for words in (starts, ends)]
    rows = []

    def run(inputs):
        rows.extend(inputs["token_ids"].numpy().tolist())
        return tf.stack([tf.gather(table, inputs["token_ids"]) for table in tables], axis=-1)

    served = replace(ServedModel.of(model_of("question_answering")), max_length=max_length)
    return SERVICES["question_answering"](served, run, "window"), rows


def test_an_answer_ends_within_reach():
    # Windows share half of their tokens, so that each start has 31 or more after it.
    service, _ = fond_of({"paris": 5.0}, {"rome": 4.0, "paris": 1.0}, 256)
    whole = "paris " + "the " * (MAX_ANSWER_LENGTH - 2) + "rome"
    texts = [whole, whole.replace("rome", "the rome")]
    for before in range(0, 500, 29):
        contexts = ["of " * before + text + " of" * 300 for text in texts]
        found = answer(service, ["is"] * 2, contexts)["answer"].tolist()
        assert found == [whole.encode(), b"paris"]


def test_of_equal_answers_the_first_is_given():
    service, _ = fond_of({"paris": 5.0}, {"paris": 5.0}, 20)
    found = answer(service, [""], ["the " * 30 + "paris " + "the " * 40 + "paris"])
    assert found["start"][0] == 4 * 30


def test_a_long_question_leaves_room_for_the_context():
    for max_length, most in ((200, MAX_QUESTION_LENGTH), (50, 23)):
        service, rows = fond_of({}, {}, max_length)
        answer(service, ["sea " * 100], ["paris"])
        question = [tiny.VOCABULARY.index("sea")] * most
        assert rows[0] == [2, *question, 3, tiny.VOCABULARY.index("paris"), 3]
