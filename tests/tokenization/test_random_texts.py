"""Any bytes at all, at the signatures of exported models: an answer, and always the same one.

Hypothesis makes up pieces of text; NumPy puts hundreds of strings together from them, so that one
example is a whole batch.
"""

from pathlib import Path
from tempfile import gettempdir

import numpy as np
import pytest
import tensorflow as tf

from support import tiny
from support.service_reference import model_of, service_of
from tf_distilbert.exports.saved_model import write_saved_model
from tf_distilbert.serving.served_model import model_function
from tf_distilbert.serving.service import LONG_TEXTS
from tf_distilbert.serving.services import SERVICES

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies
# It writes tables of Unicode to the working directory, whatever its settings say.
hypothesis.configuration.set_hypothesis_home_dir(Path(gettempdir()) / "tf_distilbert_hypothesis")

ROWS = 400
ALONE = 6
"""Strings of each batch that are asked for once more by themselves."""

EVERYDAY, FULL = 5_000, 100_000
TOLERANCE = 1e-5

HARD = [
    *(token.encode() for token in tiny.VOCABULARY[:5]),
    *(word.encode() for word in tiny.WORDS[:20]),
    *(b" ", b"   ", b"\t", b"\r\n", "\u3000".encode(), "\u00a0".encode(), "\u2028".encode()),
    *(b"\x00", b"\x01", b"\x02", b"\x03", b"\x1b", b"\x7f", "\u00ad".encode(), b"\xc2\x85"),
    *("é".encode(), "e\u0301".encode(), "İ".encode(), "ß".encode(), "ﬁ".encode(), "中".encode()),
    *("🙂".encode(), "👩\u200d👧".encode(), "𐐀".encode(), "\ue000".encode(), "\U0010ffff".encode()),
    *(b"[MASK", b"MASK]", b"[mask]", b"[[SEP]]", b"##s", b"#", b"x" * 101, b"\xef\xbb\xbf"),
    # Lone surrogates, overlong forms, bytes beyond Unicode, characters without beginning or end.
    *(b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xc0\x80", b"\xe0\x80\xaf", b"\xf4\x90\x80\x80"),
    *(b"\xff", b"\xfe", b"\x80", b"\xbf\xbf", b"\xc3", b"\xe4\xb8", b"\xf0\x9f\x99"),
]

characters = st.integers(0, 0x10FFFF).map(lambda c: chr(c).encode("utf-8", "surrogatepass"))
pieces = st.lists(characters | st.binary(max_size=6), min_size=8, max_size=40)


def batch_of(made_up, seed):
    """Strings of no to 30 pieces: some of any kind, some of few, some of one again and again."""
    random = np.random.default_rng(seed)
    texts = []
    for _ in range(ROWS):
        pool = [made_up, HARD, made_up + HARD][random.integers(3)]
        if random.random() < 0.3:
            pool = [pool[i] for i in random.integers(0, len(pool), random.integers(1, 4))]
        size = 30 if random.random() < 0.9 else 300
        chosen = random.integers(0, len(pool), random.integers(0, size))
        between = [b"", b" "][random.integers(2)]
        texts.append(between.join(pool[i] for i in chosen))
    return texts


# --- exported models ---


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Signatures by task and what becomes of long texts; made once."""
    made = {}

    def get(task, long_texts):
        if (task, long_texts) not in made:
            settings = {"labels": ("one", "other")} if "classification" in task else {}
            model = model_of(task, **settings)
            service = service_of(task, long_texts, max_length=None, **settings)
            run = model_function(model, service.model)
            service.run = lambda inputs: run(**inputs)
            folder = tmp_path_factory.mktemp(task) / "1"
            write_saved_model(model, service, folder)
            made[task, long_texts] = tf.saved_model.load(str(folder))
        return made[task, long_texts].signatures

    return get


def ask(signature, *texts):
    """Questions go with contexts as they come; else there are texts, or pairs of them."""
    names = ["text", "text_pair"] if len(texts) > 1 else ["text"]
    if "question" in signature.structured_input_signature[1]:
        names = ["question", "context"]
    given = {n: tf.constant(t, tf.string) for n, t in zip(names, texts, strict=True)}
    return {name: values.numpy() for name, values in signature(**given).items()}


# --- what must be true of each answer ---


def characters_in(text):
    return sum(byte & 0xC0 != 0x80 or not i for i, byte in enumerate(text))


def assert_sound(found, contexts):
    """Finite numbers; places inside the text; probabilities that are some."""
    for values in found.values():
        assert len(values) == len(contexts)
        if values.dtype == np.float32:
            assert np.isfinite(values).all()
    for name in ("scores", "score", "probabilities"):
        if name in found:
            assert ((found[name] >= 0) & (found[name] <= 1 + TOLERANCE)).all()
    if "start" in found:
        sizes = np.array([characters_in(text) for text in contexts])
        starts, ends = found["start"], found["end"]
        if "answer" not in found:  # tokens: what is beyond their number is -1
            sizes = sizes[:, None]
            used = np.arange(starts.shape[1]) < found["token_count"][:, None]
            assert (starts[used] < ends[used]).all()
            assert (starts[~used] == -1).all() and (ends[~used] == -1).all()
            # Tokens follow each other; two of one character begin at the same place.
            assert (np.diff(starts, axis=1) >= 0)[used[:, 1:]].all()
            starts = np.where(used, starts, 0)
        assert ((starts >= 0) & (starts <= ends.clip(0)) & (ends <= sizes)).all()
    for row, text in enumerate(contexts if "answer" in found else []):
        start, end = found["start"][row], found["end"][row]
        try:
            expected = text.decode()[start:end].encode()
        except UnicodeDecodeError:  # then bytes that begin a character are counted
            assert found["answer"][row] in text
        else:
            assert found["answer"][row] == expected


def is_a_tie(name, found, row, place):
    """Whether two classes or two words are so close that rounding may decide between them.

    The models have two classes, so that one probability tells the other. Where a text repeats
    itself, so do windows, and their answers are equal: that two answers have the same sum of logits
    is seen by `no_answer`, which is compared, too. All other places and counts must be the same.
    """
    if "no_answer" in found and name in ("answer", "start", "end"):
        return True
    if name == "label":
        one, other = found["probabilities"][row]
        return abs(one - other) < 2 * TOLERANCE
    if name == "labels":
        return abs(found["scores"][(row, *place)] - 0.5) < TOLERANCE
    if name == "tokens" and "mask_count" in found:
        *slot, rank = place
        others = np.delete(found["scores"][(row, *slot)], rank)
        return np.abs(others - found["scores"][(row, *place)]).min() < TOLERANCE
    return False


def assert_same_alone(found, row, alone):
    for name, values in alone.items():
        inside = tuple(slice(size) for size in values.shape[1:])
        own = found[name][(slice(row, row + 1), *inside)]
        if values.dtype == np.float32:
            np.testing.assert_allclose(own, values, TOLERANCE, TOLERANCE, err_msg=name)
            continue
        for place in np.argwhere(own[0] != values[0]).tolist():
            assert is_a_tie(name, found, row, place), (name, place, own[0], values[0])


def check(signature, *texts, alone=range(ALONE)):
    found = ask(signature, *texts)
    assert_sound(found, texts[-1])
    for row in alone:
        assert_same_alone(found, row, ask(signature, *([part[row]] for part in texts)))


# --- tests ---


def check_many(signatures, task, total):
    """Check ``total`` strings, in batches, each of them as the text that is answered about."""
    checked = [0]

    @hypothesis.seed(0)
    @hypothesis.settings(
        max_examples=-(-total // ROWS),
        database=None,
        deadline=None,
        derandomize=True,
        # A small failing example would take many batches; the pieces of any are few.
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(pieces, st.integers(0, 2**32 - 1))
    def run(made_up, seed):
        texts = batch_of(made_up, seed)
        others = np.random.default_rng(seed).permutation(np.array(texts, object)).tolist()
        pair = (others, texts) if task == "question_answering" else (texts,)
        check(signatures["serving_default"], *pair)
        if "text_pair" in signatures and seed % 5 == 0:
            check(signatures["text_pair"], texts, others, alone=[0])
        checked[0] += ROWS

    run()
    assert checked[0] >= total


def longest_of(task):
    """How a task reads as much of a text as it can; a sentence encoder reads its beginning."""
    return "cut" if task == "embedding" else "window"


@pytest.mark.slow
@pytest.mark.parametrize("task", SERVICES)
def test_some_strings(task, exported):
    check_many(exported(task, longest_of(task)), task, EVERYDAY // len(SERVICES))


@pytest.mark.long
@pytest.mark.parametrize("long_texts", LONG_TEXTS)
@pytest.mark.parametrize("task", SERVICES)
def test_many_strings(task, long_texts, exported):
    if (task, long_texts) == ("embedding", "window"):
        long_texts = longest_of(task)
    total = FULL // len(SERVICES) // len(LONG_TEXTS)
    check_many(exported(task, long_texts), task, total)


@pytest.mark.parametrize("task", SERVICES)
def test_texts_of_100_kilobytes(task, exported):
    signature = exported(task, longest_of(task))["serving_default"]
    random = np.random.default_rng(0)
    words = [HARD[i] for i in random.integers(0, len(HARD), 25_000)]
    longest = [b" ".join(words), random.bytes(100_000), *(b * 100_000 for b in (b"x", b" ", b"."))]
    texts = [text[:100_000] for text in longest]
    assert set(map(len, texts)) == {100_000}
    pair = (texts[::-1], texts) if task == "question_answering" else (texts,)
    check(signature, *pair, alone=range(5))


@pytest.mark.parametrize("task", SERVICES)
def test_order_is_kept(task, exported):
    signature = exported(task, longest_of(task))["serving_default"]
    texts = batch_of(HARD, 1)
    pair = (texts, texts) if task == "question_answering" else (texts,)
    found = ask(signature, *pair)
    backwards = ask(signature, *(part[::-1] for part in pair))
    for row in range(0, ROWS, 8):
        one = {name: values[::-1][row : row + 1] for name, values in backwards.items()}
        assert_same_alone(found, row, one)
