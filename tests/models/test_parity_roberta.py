"""RoBERTa against `transformers`: every hidden state and the logits, from their folder and back.

Compared at real tokens: at padding the two count positions differently, and nothing depends on it.
"""

import numpy as np
import pytest

from support import parity, tiny
from support.parity import random_batch, randomize, torch, transformers
from tf_distilbert.distillation.student import build_student
from tf_distilbert.model_files.folder import load_model, save_model

pytestmark = pytest.mark.parity
SECTION = "Hidden states and logits"
AGAINST = "transformers, float32"
TOLERANCE = 2e-5
TOKENIZER = tiny.byte_pair_tokenizer()
VOCABULARY_SIZE = len(TOKENIZER.vocabulary)


def roberta(layers=3, heads=4, hidden=32, intermediate=64, positions=24):
    """A small RoBERTa, all of whose weights are random."""
    config = transformers.RobertaConfig(
        vocab_size=VOCABULARY_SIZE,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_size=hidden,
        intermediate_size=intermediate,
        max_position_embeddings=positions + 2,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    torch.manual_seed(3)
    return randomize(transformers.RobertaForMaskedLM(config)).eval()


def write_folder(path, model):
    model.save_pretrained(path)
    TOKENIZER.save(path, model.config.max_position_embeddings - 2)
    return path


def assert_equal_outputs(ours, model, length, what, padded=True):
    inputs = random_batch(length, 4, length, VOCABULARY_SIZE, padded=padded)
    real = inputs["padding_mask"]
    inputs["token_ids"] = np.where(real, inputs["token_ids"], TOKENIZER.pad_id)
    with torch.no_grad():
        output = model(**parity.to_torch(inputs), output_hidden_states=True)
    states = zip(ours.hidden_states(inputs), output.hidden_states, strict=True)
    hidden = max(np.abs(np.asarray(a)[real] - b.numpy()[real]).max() for a, b in states)
    parity.at_most(SECTION, f"{what}: hidden states", AGAINST, hidden, TOLERANCE)
    logits = np.abs(np.asarray(ours(inputs))[real] - output.logits.numpy()[real]).max()
    parity.at_most(SECTION, f"{what}: logits", AGAINST, logits, TOLERANCE)


# Layers, heads, hidden size, intermediate size, positions.
SHAPES = [(1, 1, 8, 8, 1), (3, 4, 32, 64, 24), (5, 3, 48, 192, 64), (12, 2, 24, 96, 33)]


@pytest.mark.parametrize("padded", [True, False], ids=["padded", "full"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_from_their_folder(tmp_path, shape, padded):
    model = roberta(*shape)
    ours = load_model(write_folder(tmp_path, model))
    what = f"RoBERTa, {len(SHAPES)} shapes, {'padded' if padded else 'no padding'}"
    for length in sorted({1, (shape[-1] + 1) // 2, shape[-1]}):
        assert_equal_outputs(ours, model, length, what, padded)


@pytest.mark.parametrize("num_layers", [3, 1])
def test_our_folders_open_in_transformers(tmp_path, num_layers):
    """A RoBERTa as it is, and half of it."""
    ours = build_student(load_model(write_folder(tmp_path / "theirs", roberta())), num_layers)
    save_model(ours, tmp_path / "ours")
    model, report = transformers.RobertaForMaskedLM.from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert_equal_outputs(ours, model.eval(), 24, "our folder as RobertaForMaskedLM")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    text = "the cat sat on <mask>, the <mask> too"
    assert tokenizer(text)["input_ids"] == TOKENIZER.encode(text)


def test_every_tensor_of_theirs_is_used(tmp_path):
    model = roberta()
    ours = load_model(write_folder(tmp_path, model))
    assert ours.count_params() == model.num_parameters()
