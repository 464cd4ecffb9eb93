"""Services, and what each should answer: windows one by one in NumPy, every span looked at."""

from functools import cache

import numpy as np
import tensorflow as tf

from support import tiny
from support.task_model import task_model
from support.windows import rows_of
from support.word_pieces import MAIN, reference
from tf_distilbert.serving.question_answering import MAX_ANSWER_LENGTH, MAX_QUESTION_LENGTH
from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.services import SERVICES

MAX_LENGTH = 13
LONG = " ".join(tiny.SENTENCES * 3)
TEXTS = [
    "Paris is the capital of [MASK] .",
    "",
    "the [MASK] and the [MASK] of Rome, an old city in Italy. [MASK]",
    "Pârïs — Köln, 中文 in 北京 🙂🙂 Élan vital 👩\u200d👧 rivers",
    " \t\n",
    LONG.replace("is", "[MASK]"),
    "people",
]
QUESTIONS = ["what is the capital?", "", "¿Qué? 中", "people " * 9, "is", "in rome ?", "[MASK]"]


@cache
def model_of(task, family="distilbert", **settings):
    return task_model(task, family, **settings)


@cache
def runner(model):
    """Compiled for shapes of any size: it is called for hundreds of windows, one by one."""
    compute = tf.function(model, autograph=False, reduce_retracing=True)
    return lambda inputs: compute(dict(inputs))


def service_of(task, long_texts="cut", family="distilbert", max_length=MAX_LENGTH, **settings):
    own = {name: settings.pop(name) for name in ("top_k",) if name in settings}
    model = model_of(task, family, **settings)
    return SERVICES[task](ServedModel.of(model, max_length), runner(model), long_texts, **own)


def answer(service, *texts):
    names = ("question", "context") if "question" in str(service.signatures) else ("text",)
    names = ("text", "text_pair") if len(texts) > len(names) else names
    given = {n: tf.constant(t, tf.string) for n, t in zip(names, texts, strict=True)}
    return {name: value.numpy() for name, value in service.answer(**given).items()}


def batch_of(task):
    return (QUESTIONS, TEXTS) if task == "question_answering" else (TEXTS,)


def tokens_of(text, service=None):
    """Ids and characters, by the `tokenizers` library; a RoBERTa's own is nothing else."""
    if service is not None and service.model.family == "roberta":
        return service.model.tokenizer.encode(text)[1:-1], None
    encoding = reference(tiny.VOCABULARY, MAIN).encode(text, add_special_tokens=False)
    return encoding.ids, encoding.offsets


def softmax(logits):
    powers = np.exp(np.asarray(logits, np.float64) - np.max(logits))
    return powers / powers.sum()


def run_alone(service, row, **more):
    """What the model gives for one window by itself."""
    ids = tf.constant([row["token_ids"]], tf.int32)
    inputs = {"token_ids": ids, "padding_mask": tf.ones_like(ids)} | more
    if service.model.segments:
        inputs["segment_ids"] = tf.constant([row["segment_ids"]], tf.int32)
    return service.run(inputs)[0].numpy().astype(np.float64)


def windows_of(service, body, prefix=None):
    separators = 2 if service.model.family == "roberta" else 1
    room = service.model.max_length - 2
    room -= 0 if prefix is None else len(prefix) + separators
    overlap = None
    if service.overlap is not None:
        overlap = min((service.model.max_length - 2) // 4, room // 2)
        if service.model.task == "question_answering":
            overlap = room - max(1, min(128, room // 2))
    tokenizer = service.model.tokenizer
    ids = tokenizer.start_id, tokenizer.end_id
    return rows_of(body, room, overlap, prefix, separators, ids)


def expected_words(service, text, top_k):
    ids, _ = tokens_of(text)
    positions, words, scores = [], [], []
    for row in windows_of(service, ids):
        for column in np.flatnonzero(row["owned"]):
            if row["token_ids"][column] == tiny.VOCABULARY.index("[MASK]"):
                logits = run_alone(service, row, mask_positions=tf.constant([[column]], tf.int32))
                probabilities = softmax(logits[0])
                best = np.argsort(-probabilities)[:top_k]
                positions.append(row["starts"] + column)
                words.append([tiny.VOCABULARY[i] for i in best])
                scores.append(probabilities[best])
    return positions, words, scores


def expected_logits(service, text, text_pair=None):
    first = tokens_of(text, service)[0]
    if text_pair is None:
        return np.mean([run_alone(service, row) for row in windows_of(service, first)], axis=0)
    second = tokens_of(text_pair, service)[0]
    room = service.model.max_length - (4 if service.model.family == "roberta" else 3)
    if service.overlap is None:
        shorter, longer = sorted((first, second), key=len)
        while len(first) + len(second) > room:
            # Of two that have become equally long, the one that was longer keeps more.
            (longer if len(longer) > len(shorter) else shorter).pop()
    else:
        first = first[: max(room // 2, room - max(len(second), 1))]
    return np.mean([run_alone(service, row) for row in windows_of(service, second, first)], axis=0)


def span_sums(service, question, context):
    """Sums of logits by first and last token; logits of starts, of ends; the least at [CLS]."""
    most = min(MAX_QUESTION_LENGTH, (service.model.max_length - 3) // 2)
    prefix = tokens_of(question)[0][:most]
    sums, starts, ends, null = {}, [], [], []
    for row in windows_of(service, tokens_of(context)[0], prefix):
        logits = run_alone(service, row)
        null.append(logits[0].sum())
        shown, shift = np.flatnonzero(row["shown"]), row["starts"] - row["body"]
        ends += list(logits[shown, 1])
        for first in np.flatnonzero(row["owned"]):
            starts.append(logits[first, 0])
            for last in shown[(shown >= first) & (shown < first + MAX_ANSWER_LENGTH)]:
                key = int(first + shift), int(last + shift)
                sums[key] = logits[first, 0] + logits[last, 1]
    return sums, starts, ends, min(null)
