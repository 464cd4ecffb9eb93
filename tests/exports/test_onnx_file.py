"""ONNX files, run with onnxruntime: equal to Keras, of any size, small in int8."""

import sys
from functools import cache

import numpy as np
import pytest
import tensorflow as tf

from support import tiny

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")

from tf_distilbert.errors import UserError  # noqa: E402
from tf_distilbert.exports.onnx_file import OnnxRunner, convert_to_onnx  # noqa: E402
from tf_distilbert.exports.onnx_int8 import quantize_onnx  # noqa: E402

# Keras says so at sequences of one token; here they are meant.
pytestmark = pytest.mark.filterwarnings("ignore:(?s).*softmax over axis -1:UserWarning")

KINDS = {
    "bert": {},
    "distilbert": {"family": "distilbert", "num_segments": 0},
    "gelu_tanh": {"activation": "gelu_tanh"},
    "relu": {"activation": "relu"},
}
# Rows and length: a batch, another one, a token, no row, the longest.
SHAPES = [(8, 16), (3, 5), (1, 1), (0, 7), (2, 32)]


def names_of(model, head=True):
    segments = ["segment_ids"] if model.architecture.num_segments else []
    return ["token_ids", "padding_mask", *segments, *(["mask_positions"] if head else [])]


def function(model, head=True):
    names = names_of(model, head)

    def call(*tensors):
        inputs = dict(zip(names, tensors, strict=True))
        if head:
            return {"logits": model(inputs)}
        return {"last_hidden_state": model.hidden_states(inputs)[-1]}

    signature = [tf.TensorSpec([None, None], tf.int32, name) for name in names]
    return tf.function(call, input_signature=signature).get_concrete_function()


def batch(rows, length, seed=0):
    generator = np.random.default_rng(seed)
    mask = generator.random((rows, length)) < 0.7
    mask[:, 0] = True
    return {
        "token_ids": generator.integers(0, len(tiny.VOCABULARY), (rows, length)).astype("int32"),
        "padding_mask": mask,
        "segment_ids": generator.integers(0, 2, (rows, length)).astype("int32"),
        "mask_positions": generator.integers(0, length, (rows, 3)).astype("int32"),
    }


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Give, by kind, a model of two layers and its file; each is converted once."""
    folder = tmp_path_factory.mktemp("onnx")

    @cache
    def make(kind="bert"):
        model, path = tiny.model(num_layers=2, **KINDS[kind]), folder / f"{kind}.onnx"
        convert_to_onnx(function(model), path)
        return model, path

    return make


def free_sizes(value):
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_keras(kind, exported):
    model, path = exported(kind)
    runner = OnnxRunner(path)
    assert runner.input_names == tuple(names_of(model))
    for shape in SHAPES:
        expected = np.asarray(model(batch(*shape)))
        logits = runner(batch(*shape))
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected, atol=5e-6)


def test_hidden_states_are_those_of_keras(tmp_path):
    model = tiny.model(num_layers=1)
    convert_to_onnx(function(model, head=False), tmp_path / "model.onnx")
    quantize_onnx(tmp_path / "model.onnx", tmp_path / "int8.onnx")
    runner, rounded = OnnxRunner(tmp_path / "model.onnx"), OnnxRunner(tmp_path / "int8.onnx")
    for shape in SHAPES:
        expected = np.asarray(model.hidden_states(batch(*shape))[-1])
        np.testing.assert_allclose(runner(batch(*shape)), expected, atol=5e-6)
        np.testing.assert_allclose(rounded(batch(*shape)), expected, atol=0.3)
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert graph.output[0].name == "last_hidden_state"
    assert free_sizes(graph.output[0]) == ["batch", "sequence", 16]


def test_a_norm_keeps_its_epsilon(tmp_path):
    """Hidden states of next to no variance, which 1e-5 in place of 1e-12 would shrink to 0."""
    model = tiny.model(num_layers=1)
    encoder = model.encoder
    for table in (encoder.token_table, encoder.position_table, encoder.segment_table):
        table.assign(table * 1e-5)
    convert_to_onnx(function(model), tmp_path / "model.onnx")
    runner = OnnxRunner(tmp_path / "model.onnx")
    np.testing.assert_allclose(runner(batch(4, 9)), np.asarray(model(batch(4, 9))), atol=1e-5)
    graph = onnx.load(tmp_path / "model.onnx").graph
    norms = [n for n in graph.node if n.op_type == "LayerNormalization"]
    epsilons = [a.f for norm in norms for a in norm.attribute if a.name == "epsilon"]
    np.testing.assert_allclose(epsilons, [1e-12] * 4, rtol=1e-6)


def test_names_sizes_and_operations(exported):
    model = onnx.load(exported()[1])
    assert {value.name: free_sizes(value) for value in model.graph.input} == {
        "token_ids": ["batch", "sequence"],
        "padding_mask": ["batch", "sequence"],
        "segment_ids": ["batch", "sequence"],
        "mask_positions": ["batch", "masks"],
    }
    [logits] = model.graph.output
    assert (logits.name, free_sizes(logits)) == ("logits", ["batch", "masks", len(tiny.VOCABULARY)])
    assert {node.domain for node in model.graph.node} == {""}
    counts = [n.op_type for n in model.graph.node]
    assert counts.count("LayerNormalization") == 1 + 2 * 2 + 1
    assert counts.count("Erf") == 2 + 1
    assert counts.count("Where") == 1
    assert "ReduceMean" not in counts and "Less" not in counts


def test_onnxruntime_finds_gelu_and_the_table_is_there_once(exported, tmp_path):
    import onnxruntime

    path = exported()[1]
    shapes = [list(t.dims) for t in onnx.load(path).graph.initializer]
    assert [shape for shape in shapes if len(tiny.VOCABULARY) in shape and len(shape) > 1] == [
        [len(tiny.VOCABULARY), 16]
    ]
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3  # it warns that the file is for this machine
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    counts = [n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert counts.count("Gelu") == 3 and "Erf" not in counts
    assert counts.count("Gemm") == 2 * 4 + 2


def test_what_is_padding_does_not_matter(exported):
    runner = OnnxRunner(exported()[1])
    inputs = batch(3, 8)
    inputs["mask_positions"][:] = 0  # where no padding is
    longer = {name: np.pad(inputs[name], ((0, 0), (0, 24))) for name in inputs}
    longer["mask_positions"] = inputs["mask_positions"]
    longer["token_ids"][~longer["padding_mask"]] = 7
    np.testing.assert_allclose(runner(longer), runner(inputs), atol=2e-6)


def test_a_missing_input_is_named(exported):
    runner = OnnxRunner(exported()[1])
    with pytest.raises(UserError, match="lack segment_ids, mask_positions"):
        runner({"token_ids": np.ones((1, 4)), "padding_mask": np.ones((1, 4)), "other": 1})


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_int8_is_close(kind, exported, tmp_path):
    path = exported(kind)[1]
    quantize_onnx(path, tmp_path / "int8.onnx")
    exact, rounded = OnnxRunner(path), OnnxRunner(tmp_path / "int8.onnx")
    assert rounded.input_names == exact.input_names
    for shape in SHAPES:
        expected, logits = exact(batch(*shape)), rounded(batch(*shape))
        assert logits.shape == expected.shape
        # Weights and activations are off by up to 1/254 and 1/510 of their range, in sums of 16 or
        # 32 terms, ten matrix products deep: some hundredths. A wrong scale would be 1 or more.
        assert np.abs(logits - expected).max(initial=0) < 0.3
        assert np.square(logits - expected).sum() <= 0.05**2 * logits.size


def test_int8_quarters_the_file(tmp_path):
    model = tiny.model(num_layers=2, hidden_size=128, intermediate_size=256)
    convert_to_onnx(function(model), tmp_path / "model.onnx")
    quantize_onnx(tmp_path / "model.onnx", tmp_path / "int8.onnx")
    graph = onnx.load(tmp_path / "int8.onnx").graph
    floats = [t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    matrices = [list(t.dims) for t in floats if len(t.dims) > 1]
    assert sorted(matrices) == [[2, 128], [32, 128]]  # segments and positions
    tables = [t for t in graph.initializer if list(t.dims) == [len(tiny.VOCABULARY), 128]]
    assert [t.data_type for t in tables] == [onnx.TensorProto.INT8]


def test_nothing_is_printed(tmp_path, capfd):
    convert_to_onnx(function(tiny.model(num_layers=1)), tmp_path / "model.onnx")
    quantize_onnx(tmp_path / "model.onnx", tmp_path / "int8.onnx")
    OnnxRunner(tmp_path / "int8.onnx")
    assert capfd.readouterr() == ("", "")


def test_an_operation_that_onnx_lacks_is_an_error(tmp_path):
    specs = [tf.TensorSpec([None, None], tf.int32, n) for n in ("token_ids", "padding_mask")]
    strange = tf.function(
        lambda ids, mask: {"logits": tf.math.lgamma(tf.cast(ids + mask, tf.float32))},
        input_signature=specs,
    )
    with pytest.raises(UserError, match="Lgamma"):
        convert_to_onnx(strange.get_concrete_function(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_too_large_a_model_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("tf_distilbert.exports.onnx_file._LARGEST_FILE", 1000)
    with pytest.raises(UserError, match="an ONNX file holds less"):
        convert_to_onnx(function(tiny.model(num_layers=1)), tmp_path / "model.onnx")


@pytest.mark.parametrize("package", ["onnx", "tf2onnx", "onnxruntime"])
def test_a_missing_package_is_named(package, tmp_path, monkeypatch):
    model = function(tiny.model(num_layers=1))
    monkeypatch.setitem(sys.modules, package, None)
    calls = {
        "onnx": lambda: quantize_onnx(tmp_path / "model.onnx", tmp_path / "int8.onnx"),
        "tf2onnx": lambda: convert_to_onnx(model, tmp_path / "model.onnx"),
        "onnxruntime": lambda: OnnxRunner(tmp_path / "model.onnx"),
    }
    with pytest.raises(UserError, match=rf"^{package}: .*pip install 'tf_distilbert\[onnx\]'"):
        calls[package]()


def test_broken_files_are_named(tmp_path):
    for content in (None, b"", b"hello" * 99):
        path = tmp_path / "broken.onnx"
        if content is not None:
            path.write_bytes(content)
        for call in (lambda p=path: OnnxRunner(p), lambda p=path: quantize_onnx(p, tmp_path / "q")):
            with pytest.raises(UserError, match=r"^\S*broken\.onnx: "):
                call()


def test_no_mask_at_all_gives_no_logits(exported):
    model, path = exported("bert")
    inputs = batch(2, 7) | {"mask_positions": np.zeros((2, 0), np.int32)}
    assert (
        OnnxRunner(path)(inputs).shape
        == np.asarray(model(inputs)).shape
        == (2, 0, len(tiny.VOCABULARY))
    )
