"""Our encoder and head against `transformers` in PyTorch: every hidden state, and the logits."""

import numpy as np
import pytest

from support import parity
from support.parity import bert, distilbert, random_batch, torch, transformers, write_folder
from tf_distilbert.model_files.folder import load_model, save_model
from tf_distilbert.model_files.hf_weights import name_table, named_variables

pytestmark = pytest.mark.parity
SECTION = "Hidden states and logits"
AGAINST = "transformers, float32"
TOLERANCE = 2e-5


def theirs(model, inputs):
    with torch.no_grad():
        output = model(**parity.to_torch(inputs), output_hidden_states=True)
    logits = output.logits if "logits" in output else output.prediction_logits
    return [state.numpy() for state in output.hidden_states], logits.numpy()


def assert_equal_outputs(ours, model, inputs, what):
    """Every hidden state and the logits, at padding too."""
    states, logits = theirs(model, inputs)
    our_states = ours.hidden_states(inputs)
    assert len(our_states) == len(states)
    assert [state.shape for state in our_states] == [state.shape for state in states]
    hidden = max(np.abs(a - b).max() for a, b in zip(our_states, states, strict=True))
    our_logits = ours(inputs)
    assert our_logits.shape == logits.shape
    parity.at_most(SECTION, f"{what}: hidden states", AGAINST, hidden, TOLERANCE)
    difference = np.abs(our_logits - logits).max()
    parity.at_most(SECTION, f"{what}: logits", AGAINST, difference, TOLERANCE)


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("kind", ["BertForMaskedLM", "BertForPreTraining"])
def test_bert_from_their_folder(tmp_path, kind, segments):
    model = bert(kind)
    ours = load_model(write_folder(tmp_path, model))
    for length in (1, 7, 24):
        inputs = random_batch(length, 5, length, segments=segments)
        assert_equal_outputs(ours, model, inputs, "BERT")


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"])
def test_each_activation(tmp_path, activation):
    model = bert(hidden_act=activation)
    ours = load_model(write_folder(tmp_path, model))
    assert_equal_outputs(ours, model, random_batch(0, 4, 12), "BERT, each activation")


def test_distilbert_from_their_folder(tmp_path):
    model = distilbert()
    ours = load_model(write_folder(tmp_path, model))
    for length in (1, 9, 24):
        assert_equal_outputs(ours, model, random_batch(length, 5, length), "DistilBERT")


SHAPE_NAMES = {
    bert: (
        *("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size"),
        *("vocab_size", "max_position_embeddings"),
    ),
    distilbert: (
        "n_layers",
        "n_heads",
        "dim",
        "hidden_dim",
        "vocab_size",
        "max_position_embeddings",
    ),
}
# Layers, heads, hidden size, intermediate size, vocabulary, positions.
SHAPES = [
    (1, 1, 8, 8, 6, 1),
    (1, 4, 64, 16, 1000, 40),
    (2, 8, 16, 50, 101, 13),
    (5, 3, 48, 192, 257, 64),
    (12, 2, 24, 96, 30, 33),
]


@pytest.mark.parametrize("padded", [True, False], ids=["padded", "full"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("make", [bert, distilbert])
def test_each_shape(tmp_path, make, shape, padded):
    names = SHAPE_NAMES[make]
    model = make(**dict(zip(names, shape, strict=True)))
    ours = load_model(write_folder(tmp_path, model))
    vocabulary_size, positions = shape[-2:]
    for length in sorted({1, (positions + 1) // 2, positions}):
        for segments in (False, True) if make is bert else (False,):
            inputs = random_batch(length, 4, length, vocabulary_size, segments, padded)
            what = f"{'BERT' if make is bert else 'DistilBERT'}, {len(SHAPES)} shapes"
            what += ", padded" if padded else ", no padding"
            assert_equal_outputs(ours, model, inputs, what + segments * ", segments")


@pytest.mark.parametrize(
    ("make", "kind"), [(bert, "BertForMaskedLM"), (distilbert, "DistilBertForMaskedLM")]
)
def test_our_folder_opens_in_transformers(tmp_path, make, kind):
    ours = load_model(write_folder(tmp_path, make()))
    save_model(ours, tmp_path / "ours")
    model, report = getattr(transformers, kind).from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert_equal_outputs(ours, model.eval(), random_batch(3, 4, 11), f"our folder as {kind}")
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "ours").mask_token_id == 4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_folders_are_read(tmp_path, dtype):
    model = bert().to(dtype)
    ours = load_model(write_folder(tmp_path, model))
    assert_equal_outputs(ours, model.float(), random_batch(1, 3, 10), "half-precision folders")


@pytest.mark.parametrize("make", [bert, distilbert])
def test_every_variable_and_tensor_is_used_exactly_once(tmp_path, make):
    model = make()
    ours = load_model(write_folder(tmp_path, model))
    table = name_table(ours.architecture)
    our_names, their_names = zip(*table, strict=True)
    assert len(set(our_names)) == len(our_names) and len(set(their_names)) == len(their_names)
    parts = {name: set() for name in named_variables(ours)}
    for name in our_names:
        base, _, part = name.partition("[")
        parts[base].add(part[:1])
    assert all(used in ({""}, {"0", "1", "2"}) for used in parts.values())
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    tied |= {"vocab_projector.weight"}
    assert set(their_names) == set(model.state_dict()) - tied


@pytest.mark.parametrize("lower_case", [True, False])
def test_a_folder_with_their_tokenizer_json_alone(tmp_path, lower_case):
    model = bert()
    ours = load_model(write_folder(tmp_path / "first", model))
    tokenizer = transformers.BertTokenizer(
        str(tmp_path / "first" / "vocab.txt"), do_lower_case=lower_case
    )
    model.save_pretrained(tmp_path / "theirs")
    tokenizer.save_pretrained(tmp_path / "theirs")
    (tmp_path / "theirs" / "vocab.txt").unlink(missing_ok=True)
    again = load_model(tmp_path / "theirs")
    assert again.tokenizer.vocabulary == ours.tokenizer.vocabulary
    assert again.tokenizer.lower_case is lower_case


def test_the_real_english_teacher(shared):
    path = shared / "models" / "bert-mini-en"
    model = transformers.BertForMaskedLM.from_pretrained(path).eval()
    inputs = random_batch(5, 3, 64, vocabulary_size=30522, segments=True)
    assert_equal_outputs(load_model(path), model, inputs, "a real BERT of 4 layers")
