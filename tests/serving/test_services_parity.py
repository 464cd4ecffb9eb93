"""What services answer, against pipelines of `transformers` that read the same folder."""

import numpy as np
import pytest

from support import parity, tiny
from support.parity import torch, transformers
from support.service_reference import QUESTIONS, TEXTS, answer, model_of, runner, service_of
from tf_distilbert.assets import asset
from tf_distilbert.model_files.folder import load_model, save_model
from tf_distilbert.serving.question_answering import MAX_ANSWER_LENGTH
from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.services import SERVICES

pytestmark = pytest.mark.parity
SECTION = "Texts in, answers out"
AGAINST = "pipelines of transformers, float32"
TOLERANCE = 1e-5
FAMILIES = ("bert", "distilbert", "roberta")
MASKED = [
    "paris is the capital of [MASK] .",
    "[MASK] and [MASK] are Colours. the [MASK] is [MASK]",
    "Two and two [MASK] four",
    "the [MASK] of the day " * 40,  # longer than the model's 128 positions
]


def pipeline(task, folder):
    return transformers.pipeline(task, model=str(folder), device="cpu")


def saved(task, family, folder, **settings):
    """A tiny model's service, and the folder that `transformers` shall read."""
    service = service_of(task, family=family, max_length=None, **settings)
    settings.pop("top_k", None)  # the service's, not the model's
    save_model(model_of(task, family, **settings), folder)
    return service, folder


def difference(ours, theirs):
    return np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)).max(initial=0)


# --- fill-mask ---


def assert_same_words(service, pipe, texts, what, top_k=7, strip=False):
    found = answer(service, texts)
    for row, text in enumerate(texts):
        blanks = pipe(text, top_k=top_k, tokenizer_kwargs={"truncation": True})
        # Of a text with one blank the pipeline gives no list of blanks.
        blanks = blanks if isinstance(blanks[0], list) else [blanks]
        assert found["mask_count"][row] == len(blanks)
        for blank, guesses in enumerate(blanks):
            scores = [guess["score"] for guess in guesses]
            words = [guess["token_str"] for guess in guesses]
            # A word has no space around it here; RoBERTa's pipeline shows the one in the token.
            words = [word.strip() for word in words] if strip else words
            assert [word.decode() for word in found["tokens"][row, blank]] == words
            least = difference(found["scores"][row, blank], scores)
            parity.at_most(SECTION, f"fill-mask, {what}: scores", AGAINST, least, TOLERANCE)


def test_the_words_of_the_sample_teacher():
    folder = asset("saved_models/sample_teacher")
    model = load_model(folder)
    service = SERVICES["masked_lm"](ServedModel.of(model), runner(model), top_k=7)
    assert_same_words(service, pipeline("fill-mask", folder), MASKED, "sample teacher")


@pytest.mark.parametrize("family", FAMILIES)
def test_words(family, tmp_path):
    service, folder = saved("masked_lm", family, tmp_path / "model", top_k=7)
    pipe = pipeline("fill-mask", folder)
    texts = [t.replace("[MASK]", pipe.tokenizer.mask_token) for t in MASKED]
    assert_same_words(service, pipe, texts, f"tiny {family}", strip=family == "roberta")


# --- classes ---


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("problem", ["single_label", "multi_label", "regression"])
def test_classes_of_texts_and_of_pairs(family, problem, tmp_path):
    settings = {"labels": ("x",)} if problem == "regression" else {"problem": problem}
    service, folder = saved("sequence_classification", family, tmp_path / "model", **settings)
    pipe = pipeline("text-classification", folder)
    # Never "": their tokenizer takes that for no second text at all, and makes no pair. Here the
    # signature alone decides that it is one; see `test_services.py`.
    others = [text or "Rome" for text in TEXTS[2:] + TEXTS[:2]]
    pairs = [{"text": a, "text_pair": b} for a, b in zip(TEXTS, others, strict=True)]
    for texts, inputs in (((TEXTS,), TEXTS), ((TEXTS, others), pairs)):
        found = answer(service, *texts)
        for row, one in enumerate(inputs):
            guesses = pipe(one, top_k=None, truncation=True)
            theirs = {guess["label"]: guess["score"] for guess in guesses}
            theirs = [theirs[label] for label in service.model.labels]
            kind = "value" if problem == "regression" else "probabilities"
            what = f"classes, {problem}: {kind}"
            least = difference(found[kind][row], theirs)
            parity.at_most(SECTION, what, AGAINST, least, TOLERANCE)
            if kind == "probabilities":
                assert found["label"][row].decode() == guesses[0]["label"]


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_classes_of_tokens(family, tmp_path):
    service, folder = saved("token_classification", family, tmp_path / "model")
    pipe = pipeline("token-classification", folder)
    found = answer(service, TEXTS)
    unknown = pipe.tokenizer.unk_token
    for row, text in enumerate(TEXTS):
        theirs = pipe(text, ignore_labels=[]) if text else []
        count = found["token_count"][row]
        assert count == len(theirs)
        ours = zip(*(found[n][row] for n in ("tokens", "start", "end", "labels")), strict=True)
        for (token, start, end, label), other in zip(ours, theirs, strict=False):
            assert (start, end) == (other["start"], other["end"])
            assert label.decode() == other["entity"]
            # The pipeline shows the text of what is unknown; ours what the token is.
            word = text[start:end] if token.decode() == unknown else token.decode()
            assert word == other["word"]
        scores = [other["score"] for other in theirs]
        least = difference(found["scores"][row, :count], scores)
        parity.at_most(SECTION, "classes of tokens: scores", AGAINST, least, TOLERANCE)


# --- vectors ---


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors(family, tmp_path):
    service, folder = saved("encoder", family, tmp_path / "model")
    pipe = pipeline("feature-extraction", folder)
    found = answer(service, TEXTS)
    for row, text in enumerate(TEXTS):
        states = np.array(pipe(text, truncation=True)[0])
        least = max(
            difference(found["mean"][row], states.mean(axis=0)),
            difference(found["cls"][row], states[0]),
        )
        parity.at_most(SECTION, "vectors", AGAINST, least, TOLERANCE)


# --- answers ---


def squad_answer(model, tokenizer, question, context, max_length, stride):
    """The best stretch, as BERT's script for SQuAD looks for it; transformers 5 has no pipeline.

    A start counts only in the window that shows most of what is around it. With windows of 26
    tokens and 3 to 5 that are special, the script's lists of the 20 best starts and ends leave
    some out, and so do these. Its step from tokens to whole words is left out.

    Returns:
        First and last character, the sum of logits, the least sum at ``[CLS]``; without any
        token of context the first three are None.
    """
    windows = tokenizer(
        question,
        context,
        truncation="only_second",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding=True,
        return_tensors="pt",
    )
    names = [name for name in tokenizer.model_input_names if name in windows]
    with torch.no_grad():
        output = model(**{name: windows[name] for name in names})
    logits = np.stack([output.start_logits, output.end_logits], -1).astype(np.float64)
    null = logits[:, 0].sum(-1).min()
    columns = [
        [column for column, part in enumerate(windows.sequence_ids(window)) if part == 1]
        for window in range(len(logits))
    ]
    offsets = windows["offset_mapping"].numpy()
    most, best = {}, (None, None, None)
    for window, shown in enumerate(columns):
        for column in shown:
            key = tuple(offsets[window, column])
            score = min(column - shown[0], shown[-1] - column) + 0.01 * len(shown)
            if score > most.get(key, (-1.0, None))[0]:
                most[key] = score, window
    for window, shown in enumerate(columns):
        real = windows["attention_mask"][window].sum()
        starts, ends = (np.argsort(-side, kind="stable")[:20] for side in logits[window, :real].T)
        for first in set(starts) & set(shown):
            if most[tuple(offsets[window, first])][1] != window:
                continue
            reach = range(first, min(first + MAX_ANSWER_LENGTH, shown[-1] + 1))
            for last in set(ends) & set(reach):
                total = logits[window, first, 0] + logits[window, last, 1]
                if best[2] is None or total > best[2]:
                    best = offsets[window, first, 0], offsets[window, last, 1], total
    return *best, null


@pytest.mark.parametrize("long_texts", ["cut", "window"])
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_answers(family, long_texts, tmp_path):
    max_length = 26
    service, folder = saved("question_answering", family, tmp_path / "model")
    service = service_of("question_answering", long_texts, family, max_length)
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    questions = [q for q in QUESTIONS if len(q) < 40] * 3
    order = np.random.default_rng(0).permutation
    contexts = TEXTS + [" ".join(order(tiny.SENTENCES * 3)) for _ in questions[len(TEXTS) :]]
    found = answer(service, questions, contexts)
    for row, (question, context) in enumerate(zip(questions, contexts, strict=True)):
        seen = context
        room = max_length - 3 - len(tokenizer(question, add_special_tokens=False).input_ids)
        if long_texts == "cut":
            offsets = tokenizer(context, return_offsets_mapping=True, add_special_tokens=False)
            ends = [end for _, end in offsets["offset_mapping"][:room]]
            seen = context[: ends[-1]] if ends else ""
        given = question, seen, max_length, room - room // 2
        start, end, total, null = squad_answer(model, tokenizer, *given)
        if total is None:
            assert found["answer"][row] == b""
            continue
        assert (found["start"][row], found["end"][row]) == (start, end)
        assert found["answer"][row].decode() == context[start:end]
        least = difference(found["no_answer"][row], null - total)
        what = "question answering: no_answer"
        parity.at_most(SECTION, what, "BERT's SQuAD decoding, float32", least, TOLERANCE)
