"""OpenVINO files: equal to Keras, in float32."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from support import tiny

pytest.importorskip("openvino")
pytest.importorskip("onnx")
pytest.importorskip("tf2onnx")

from tf_distilbert.errors import UserError
from tf_distilbert.exports.onnx_file import convert_to_onnx
from tf_distilbert.exports.openvino_file import OpenVINORunner, convert_to_openvino

# Keras says so at sequences of one token; here they are meant.
pytestmark = pytest.mark.filterwarnings("ignore:(?s).*softmax over axis -1:UserWarning")

NAMES = ("token_ids", "padding_mask", "mask_positions")


def batch(rows, length):
    generator = np.random.default_rng(0)
    mask = generator.random((rows, length)) < 0.7
    mask[:, 0] = True
    return {
        "token_ids": generator.integers(0, len(tiny.VOCABULARY), (rows, length)).astype("int32"),
        "padding_mask": mask,
        "mask_positions": generator.integers(0, length, (rows, 3)).astype("int32"),
    }


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model and its file."""
    folder = tmp_path_factory.mktemp("openvino")
    model = tiny.model(num_layers=2, family="distilbert", num_segments=0)
    signature = [tf.TensorSpec([None, None], tf.int32, name) for name in NAMES]
    call = tf.function(
        lambda *tensors: {"logits": model(dict(zip(NAMES, tensors, strict=True)))},
        input_signature=signature,
    )
    convert_to_onnx(call.get_concrete_function(), folder / "model.onnx")
    convert_to_openvino(folder / "model.onnx", folder / "model.xml")
    return model, folder / "model.xml"


def test_logits_are_those_of_keras(exported):
    model, path = exported
    runner = OpenVINORunner(path)
    assert runner.input_names == NAMES
    # bfloat16, its own choice on some processors, would be off by hundredths.
    for rows, length in [(8, 16), (3, 5), (1, 1), (0, 7), (2, 32)]:
        inputs = batch(rows, length)
        logits = runner(inputs | {"further": 0})
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, np.asarray(model(inputs)), atol=5e-6)


def test_results_do_not_share_memory(exported):
    runner = OpenVINORunner(exported[1])
    first = runner(batch(2, 8))
    kept = first.copy()
    inputs = batch(2, 8)
    inputs["token_ids"] = inputs["token_ids"][::-1]
    runner(inputs)
    np.testing.assert_array_equal(first, kept)


def test_weights_are_float32_and_the_table_is_there_once(exported):
    model, path = exported
    weights = 4 * model.count_params()
    assert weights <= path.with_suffix(".bin").stat().st_size < weights + 1000


def test_a_missing_input_is_named(exported):
    with pytest.raises(UserError, match="lack mask_positions"):
        OpenVINORunner(exported[1])({name: np.ones((1, 4)) for name in NAMES[:2]})


def test_a_missing_package_is_named(exported, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    for call in (
        lambda: OpenVINORunner(exported[1]),
        lambda: convert_to_openvino(exported[1].with_suffix(".onnx"), tmp_path / "model.xml"),
    ):
        with pytest.raises(UserError, match=r"^openvino: .*'tf_distilbert\[openvino\]'"):
            call()


def test_broken_files_are_named(exported, tmp_path):
    broken = tmp_path / "broken.onnx"
    for content in (None, b"", b"hello"):
        if content is not None:
            broken.write_bytes(content)
        with pytest.raises(UserError, match=r"broken\.onnx: "):
            convert_to_openvino(broken, tmp_path / "model.xml")
    broken.with_suffix(".xml").write_text("hello")
    with pytest.raises(UserError, match=r"broken\.xml: "):
        OpenVINORunner(broken.with_suffix(".xml"))
    with pytest.raises(UserError, match=r"absent\.xml: no such file"):
        OpenVINORunner(tmp_path / "absent.xml")


def test_nothing_is_printed(exported, tmp_path, capfd):
    onnx_path = exported[1].with_suffix(".onnx")
    convert_to_openvino(onnx_path, tmp_path / "model.xml")
    OpenVINORunner(tmp_path / "model.xml")
    assert capfd.readouterr() == ("", "")
