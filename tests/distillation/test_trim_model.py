"""Models of fewer tokens: which they keep; logits, sizes and folders are those they must be."""

import keras
import numpy as np
import pytest

from support import tiny
from support.spelling import ids_of
from support.task_model import LABELS, task_model
from tf_distilbert.distillation.trimming import kept_tokens, trim_model
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.folder import load_task_model, save_model
from tf_distilbert.model_files.task_config import TASK_MODELS
from tf_distilbert.tokenization.trimming import least_kept

TOKENIZER = tiny.tokenizer()


def counts_of(tokenizer, **counts):
    found = np.zeros(len(tokenizer.vocabulary), np.int64)
    for token, count in counts.items():
        found[tokenizer.vocabulary.index(token)] = count
    return found


def kept_beside_least(tokenizer, counts, **how_many):
    kept = kept_tokens(tokenizer, counts, **how_many)
    assert kept == sorted(kept) and {*kept} >= {*least_kept(tokenizer)}
    return {tokenizer.vocabulary[i] for i in {*kept} - {*least_kept(tokenizer)}}


def test_the_commonest_tokens_are_kept():
    least = len(least_kept(TOKENIZER))
    assert least == 5 + len([".", ",", "?", "a", "##s"])
    counts = counts_of(TOKENIZER, paris=4, rome=9, sea=4, city=1, a=50)
    for size, tokens in enumerate([{"rome"}, {"rome", "sea"}, {"rome", "sea", "paris"}], least + 1):
        assert kept_beside_least(TOKENIZER, counts, size=size) == tokens
    assert kept_beside_least(TOKENIZER, counts, size=least) == set()
    # What the text lacks fills up; the shortest that comes first.
    filled = {"rome", "sea", "paris", "city", "of"}
    assert kept_beside_least(TOKENIZER, counts, size=least + 5) == filled
    assert kept_beside_least(TOKENIZER, counts, min_count=4) == {"rome", "sea", "paris"}
    assert kept_beside_least(TOKENIZER, counts, min_count=10) == set()


def test_parts_are_kept_before_what_is_made_of_them():
    tokenizer = tiny.byte_pair_tokenizer()
    least = len(least_kept(tokenizer))
    counts = counts_of(tokenizer, the=5, Ġcat=7)
    chains = [["Ġc"], ["Ġc", "Ġca"], ["Ġc", "Ġca", "Ġcat"], ["Ġc", "Ġca", "Ġcat", "th"]]
    for size, tokens in enumerate(chains, least + 1):
        assert kept_beside_least(tokenizer, counts, size=size) == {*tokens}
    assert kept_beside_least(tokenizer, counts, min_count=6) == {"Ġc", "Ġca", "Ġcat"}
    assert kept_beside_least(tokenizer, counts, min_count=5) == {"Ġc", "Ġca", "Ġcat", "th", "the"}


@pytest.mark.parametrize(
    ("how_many", "message"),
    [
        ({}, r"size and min_count: give one of the two$"),
        ({"size": 20, "min_count": 2}, r"size and min_count: give one of the two$"),
        ({"size": 9}, r"size: 9 is too small: .* are 10; give 10 or more$"),
        (
            {"size": 47},
            r"size: 47 is no less than the vocabulary has, 47; there is nothing to cut$",
        ),
        ({"min_count": 0}, r"min_count: 0 is too small; give 1 or more$"),
    ],
)
def test_numbers_that_cut_nothing_or_too_much_are_refused(how_many, message):
    assert len(TOKENIZER.vocabulary) == 47
    with pytest.raises(UserError, match=message):
        kept_tokens(TOKENIZER, counts_of(TOKENIZER, rome=1), **how_many)


def test_counts_that_cut_nothing_or_are_not_of_the_text_are_refused():
    everywhere = np.full(47, 3)
    with pytest.raises(
        UserError, match=r"all 47 tokens occur 3 times .*; there is nothing to cut$"
    ):
        kept_tokens(TOKENIZER, everywhere, min_count=3)
    with pytest.raises(UserError, match=r"counts: there are 46, the vocabulary has 47 tokens"):
        kept_tokens(TOKENIZER, everywhere[1:], min_count=4)
    with pytest.raises(UserError, match=r"no token of the vocabulary but \[UNK\]; give text in a"):
        kept_tokens(TOKENIZER, counts_of(TOKENIZER, **{"[UNK]": 9, "[CLS]": 1}), size=20)


def trimmed_pair(task, family, tokens):
    """A model, the same trimmed, and a batch of kept tokens in the ids of each."""
    if task == "masked_lm":
        sizes = {"family": "distilbert", "num_segments": 0} if family == "distilbert" else {}
        model = tiny.roberta() if family == "roberta" else tiny.model(**sizes)
    else:
        model = task_model(task, family)
    least = least_kept(model.tokenizer)
    kept = sorted({*least, *ids_of(model.tokenizer, tokens)})
    assert len(kept) < len(model.tokenizer.vocabulary)
    generator = np.random.default_rng(0)
    new_ids = generator.integers(0, len(kept), (4, 12)).astype(np.int32)
    inputs = {"padding_mask": np.arange(12) < np.array([[12], [9], [12], [3]])}
    if task == "masked_lm":
        inputs["mask_positions"] = np.tile(np.arange(3, dtype=np.int32), (4, 1))
    old = inputs | {"token_ids": np.array(kept, np.int32)[new_ids]}
    return model, trim_model(model, kept), old, inputs | {"token_ids": new_ids}, kept


TOKENS = {"bert": ["paris", "rome", "new"], "roberta": ["th", "the", "Ġc"]}
TOKENS["distilbert"] = TOKENS["bert"]


@pytest.mark.parametrize("family", TOKENS)
@pytest.mark.parametrize("task", TASK_MODELS)
def test_outputs_for_kept_tokens_are_the_models_own(task, family):
    model, trimmed, old, new, kept = trimmed_pair(task, family, TOKENS[family])
    expected = np.asarray(model(old))
    expected = expected[..., kept] if task == "masked_lm" else expected
    assert expected.std() > 0.1
    np.testing.assert_allclose(np.asarray(trimmed(new)), expected, rtol=1e-6, atol=1e-6)
    assert type(trimmed) is type(model)
    assert trimmed.tokenizer.vocabulary == tuple(model.tokenizer.vocabulary[i] for i in kept)
    hidden = model.architecture.hidden_size
    lost = len(model.tokenizer.vocabulary) - len(kept)
    fewer = lost * (hidden + (task == "masked_lm"))
    assert model.count_params() - trimmed.count_params() == fewer > 0


@pytest.mark.parity
@pytest.mark.parametrize("family", TOKENS)
@pytest.mark.parametrize("task", ["masked_lm", "sequence_classification"])
def test_transformers_opens_the_folder_and_computes_the_same(task, family, tmp_path):
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    _, trimmed, _, new, kept = trimmed_pair(task, family, TOKENS[family])
    save_model(trimmed, tmp_path)
    heads = {"masked_lm": "AutoModelForMaskedLM"}
    reader = getattr(transformers, heads.get(task, "AutoModelForSequenceClassification"))
    theirs = reader.from_pretrained(tmp_path).eval()
    assert theirs.config.vocab_size == len(kept)
    assert theirs.get_input_embeddings().weight.shape[0] == len(kept)
    assert theirs.config.pad_token_id == trimmed.tokenizer.pad_id
    full = np.where(new["padding_mask"], new["token_ids"], trimmed.tokenizer.pad_id)
    tensors = {"input_ids": torch.tensor(full).long()}
    tensors["attention_mask"] = torch.tensor(new["padding_mask"]).long()
    if family == "roberta":  # it counts positions by what is no padding
        full[full == trimmed.tokenizer.pad_id] = 5
        tensors = {"input_ids": torch.tensor(full).long()}
        new = new | {"token_ids": full, "padding_mask": np.ones_like(full, bool)}
    with torch.no_grad():
        expected = theirs(**tensors).logits.numpy()
    expected = expected[:, :3] if task == "masked_lm" else expected
    np.testing.assert_allclose(np.asarray(trimmed(new)), expected, rtol=1e-5, atol=1e-5)
    again = load_task_model(tmp_path)
    np.testing.assert_array_equal(np.asarray(again(new)), np.asarray(trimmed(new)))


def test_settings_and_precision_stay():
    model = task_model("sequence_classification", "bert", problem="multi_label", head_dropout=0.3)
    keras.config.set_dtype_policy("mixed_bfloat16")
    trimmed = trim_model(model, least_kept(model.tokenizer))
    assert trimmed.dtype_policy.name == model.dtype_policy.name == "float32"
    assert (trimmed.labels, trimmed.problem, trimmed.head_dropout) == (LABELS, "multi_label", 0.3)


def test_models_that_cannot_be_trimmed_are_refused():
    model = tiny.model()
    with pytest.raises(UserError, match=r"kept_ids lacks 0, '\[PAD\]'"):
        trim_model(model, range(1, 20))
    model.tokenizer = None
    with pytest.raises(UserError, match=r"has no tokenizer to trim; set model\.tokenizer first$"):
        trim_model(model, range(20))
    with pytest.raises(UserError, match=r"a keras-nlp model cannot be trimmed"):
        trim_model(keras.Sequential(), range(20))
