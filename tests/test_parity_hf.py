"""Our encoder and head against `transformers` in PyTorch: every hidden state, and the logits."""

import json

import numpy as np
import pytest

from tf_distilbert.hf_weights import name_table, named_variables
from tf_distilbert.model_folder import load_model, save_model

torch = pytest.importorskip("torch", reason="needs the extra `parity` (torch, transformers)")
transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")

pytestmark = pytest.mark.parity
TOLERANCE = 2e-5
WORDS = [f"word{i}" for i in range(95)]


def write_folder(path, model):
    """Save a PyTorch model with the small vocabulary that fits it."""
    model.eval().save_pretrained(path)  # makes the folder
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (path / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    return path


def randomize(model):
    """Make norms and biases something else than the ones and zeros they start as."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.1 * noise if parameter.ndim > 1 else 0.3 * noise)
    return model


def bert(kind="BertForMaskedLM", **sizes):
    config = {
        "vocab_size": 100,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 24,
    }
    return randomize(getattr(transformers, kind)(transformers.BertConfig(**config | sizes)))


def distilbert():
    config = transformers.DistilBertConfig(
        vocab_size=100, dim=32, n_layers=2, n_heads=2, hidden_dim=48, max_position_embeddings=24
    )
    return randomize(transformers.DistilBertForMaskedLM(config))


def random_batch(seed, batch, length, vocabulary_size=100, segments=False):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, length + 1, batch)
    lengths[0] = length
    inputs = {
        "token_ids": generator.integers(5, vocabulary_size, (batch, length)).astype("int32"),
        "padding_mask": np.arange(length)[None, :] < lengths[:, None],
    }
    if segments:
        inputs["segment_ids"] = generator.integers(0, 2, (batch, length)).astype("int32")
    inputs["mask_positions"] = np.tile(np.arange(length, dtype="int32"), (batch, 1))
    return inputs


def theirs(model, inputs):
    arguments = {
        "input_ids": torch.tensor(inputs["token_ids"], dtype=torch.long),
        "attention_mask": torch.tensor(inputs["padding_mask"], dtype=torch.long),
    }
    if "segment_ids" in inputs:
        arguments["token_type_ids"] = torch.tensor(inputs["segment_ids"], dtype=torch.long)
    with torch.no_grad():
        output = model(**arguments, output_hidden_states=True)
    logits = output.logits if "logits" in output else output.prediction_logits
    return [state.numpy() for state in output.hidden_states], logits.numpy()


def assert_equal_outputs(ours, model, inputs):
    states, logits = theirs(model, inputs)
    our_states = ours.hidden_states(inputs)
    assert len(our_states) == len(states)
    for our_state, state in zip(our_states, states, strict=True):
        np.testing.assert_allclose(our_state, state, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(ours(inputs), logits, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("kind", ["BertForMaskedLM", "BertForPreTraining"])
def test_bert_from_their_folder(tmp_path, kind, segments):
    model = bert(kind)
    ours = load_model(write_folder(tmp_path, model))
    for length in (1, 7, 24):
        inputs = random_batch(length, 5, length, segments=segments)
        assert_equal_outputs(ours, model, inputs)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"])
def test_each_activation(tmp_path, activation):
    model = bert(hidden_act=activation)
    ours = load_model(write_folder(tmp_path, model))
    assert_equal_outputs(ours, model, random_batch(0, 4, 12))


def test_distilbert_from_their_folder(tmp_path):
    model = distilbert()
    ours = load_model(write_folder(tmp_path, model))
    for length in (1, 9, 24):
        assert_equal_outputs(ours, model, random_batch(length, 5, length))


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
    assert_equal_outputs(ours, model.eval(), random_batch(3, 4, 11))
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "ours").mask_token_id == 4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_folders_are_read(tmp_path, dtype):
    model = bert().to(dtype)
    ours = load_model(write_folder(tmp_path, model))
    assert_equal_outputs(ours, model.float(), random_batch(1, 3, 10))


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
    assert_equal_outputs(load_model(path), model, inputs)
