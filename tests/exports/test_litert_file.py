"""LiteRT files: the model's numbers in each quantization, names, operations, what is refused."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from support import tiny

pytest.importorskip("ai_edge_litert")

from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tf_distilbert.errors import UserError
from tf_distilbert.exports.litert_file import QUANTIZATIONS, LiteRTRunner, convert_to_litert

LENGTH, SLOTS = 16, 3
# Root mean square of the differences, a share of the logits' own. float32: sums in another order.
# float16: weights rounded to 11 bits. int8: weights and the rows before each product rounded to
# 8 bits; full_int8: all activations, on one scale a tensor. Measured with two sets of weights
# 9e-7, 0.0014, 0.039 and 0.11; random weights with sharp attention are worse than trained ones.
TOLERANCE = {"float32": 1e-5, "float16": 0.004, "int8": 0.1, "full_int8": 0.3}


def random_model():
    # The converter leaves weights of less than 1024 numbers as they are.
    return tiny.model(hidden_size=64, intermediate_size=128, num_layers=2)


def traced(model):
    specs = {name: tf.TensorSpec([1, LENGTH], tf.int32, name) for name in NAMES[:3]}
    specs["mask_positions"] = tf.TensorSpec([1, SLOTS], tf.int32, "mask_positions")
    run = tf.function(lambda **inputs: {"logits": model(inputs)}, autograph=False)
    return run.get_concrete_function(**specs)


NAMES = ("token_ids", "padding_mask", "segment_ids", "mask_positions")


def rows_of_inputs(seed=0, rows=8):
    inputs, _, _ = tiny.batch(seed, rows, LENGTH, SLOTS)
    return {**inputs, "segment_ids": np.tile(np.arange(LENGTH) >= 6, (rows, 1)).astype("int32")}


def calibration():
    inputs = rows_of_inputs(seed=1, rows=32)
    return [{name: array[i : i + 1] for name, array in inputs.items()} for i in range(32)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    model, folder = random_model(), tmp_path_factory.mktemp("litert")
    function = traced(model)
    paths = {}
    for quantization in QUANTIZATIONS:
        paths[quantization] = folder / f"{quantization}.tflite"
        paths[quantization].write_bytes(convert_to_litert(function, quantization, calibration()))
    return model, paths


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_a_file_gives_the_models_logits_row_by_row(exported, quantization):
    model, paths = exported
    inputs = rows_of_inputs()
    expected = model(inputs).numpy()
    found = LiteRTRunner(paths[quantization])({**inputs, "unknown": np.zeros(3)})
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    difference = np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2))
    assert difference <= TOLERANCE[quantization]
    if quantization == "float32":
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_names_and_dtypes_are_the_functions_and_operations_litert_s_own(exported, quantization):
    _, paths = exported
    interpreter = plain_interpreter(paths[quantization])
    signatures = interpreter.get_signature_list()
    assert signatures == {"serving_default": {"inputs": sorted(NAMES), "outputs": ["logits"]}}
    dtypes = {detail["dtype"] for detail in interpreter.get_input_details()}
    assert dtypes == {np.int32}
    assert [detail["dtype"] for detail in interpreter.get_output_details()] == [np.float32]
    assert LiteRTRunner(paths[quantization]).input_shapes == {
        **dict.fromkeys(NAMES[:3], (1, LENGTH)),
        "mask_positions": (1, SLOTS),
    }
    names = operations(interpreter)
    assert not [name for name in names if name.startswith("Flex") or "CUSTOM" in name]
    assert not [name for name in names if "VARIABLE" in name]


def test_an_int8_file_holds_the_tied_table_once(exported):
    _, paths = exported
    model = random_model()
    shape = model.encoder.token_table.shape
    tensors = plain_interpreter(paths["int8"]).get_tensor_details()
    tables = [tensor for tensor in tensors if tuple(tensor["shape"]) == shape]
    assert [table["dtype"] for table in tables] == [np.int8]
    assert len(tables[0]["quantization_parameters"]["scales"]) == shape[0]


def test_integer_activations_leave_no_operation_in_float(exported):
    _, paths = exported
    found = operations(plain_interpreter(paths["full_int8"]))
    assert found["DEQUANTIZE"] == 1  # of the output
    assert found["QUANTIZE"] == 0


@pytest.mark.parametrize("quantization", ["float32", "float16", "int8"])
def test_what_stands_in_the_padding_does_not_matter(exported, quantization):
    _, paths = exported
    runner = LiteRTRunner(paths[quantization])
    inputs = rows_of_inputs()
    other = np.where(inputs["padding_mask"], inputs["token_ids"], 7)
    assert (other != inputs["token_ids"]).any()
    np.testing.assert_array_equal(runner(inputs), runner({**inputs, "token_ids": other}))


def test_an_encoder_without_a_head_can_be_converted(tmp_path):
    model = random_model()

    def last(**inputs):
        return {"last_hidden_state": model.hidden_states(inputs)[-1]}

    specs = {name: tf.TensorSpec([1, LENGTH], tf.int32, name) for name in NAMES[:2]}
    function = tf.function(last, autograph=False).get_concrete_function(**specs)
    path = tmp_path / "encoder.tflite"
    path.write_bytes(convert_to_litert(function, "float32"))
    inputs = {name: rows_of_inputs(rows=1)[name] for name in NAMES[:2]}
    [(name, expected)] = last(**inputs).items()
    [details] = plain_interpreter(path).get_signature_list().values()
    assert details["outputs"] == [name]
    np.testing.assert_allclose(LiteRTRunner(path)(inputs), expected, atol=1e-5)


def test_conversion_and_opening_print_nothing(capfd, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(convert_to_litert(traced(random_model()), "full_int8", calibration()))
    LiteRTRunner(path)(rows_of_inputs(rows=1))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("examples", [None, []])
def test_a_calibration_without_examples_is_refused(examples):
    with pytest.raises(UserError, match="the calibration of full_int8 has no examples; give"):
        convert_to_litert(traced(tiny.model()), "full_int8", examples)


def test_an_unknown_quantization_is_refused():
    with pytest.raises(UserError, match="'int4' is unknown; use float32, float16, int8, full_int8"):
        convert_to_litert(traced(tiny.model()), "int4")


def test_files_and_inputs_that_do_not_fit_are_explained(exported, tmp_path):
    _, paths = exported
    runner, inputs = LiteRTRunner(paths["float32"]), rows_of_inputs()
    with pytest.raises(UserError, match="the inputs lack token_ids; the file takes"):
        runner({name: inputs[name] for name in NAMES[1:]})
    with pytest.raises(UserError, match=r"token_ids has the shape \[8, 9\], the file takes"):
        runner({**inputs, "token_ids": inputs["token_ids"][:, :9]})
    with pytest.raises(UserError, match="no such file"):
        LiteRTRunner(tmp_path / "missing.tflite")
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(paths["float32"].read_bytes()[:1000])
    with pytest.raises(UserError, match=r"broken.tflite: LiteRT cannot open it \("):
        LiteRTRunner(broken)
    (tmp_path / "text.tflite").write_text("no model at all")
    with pytest.raises(UserError, match=r"text.tflite: LiteRT cannot open it \("):
        LiteRTRunner(tmp_path / "text.tflite")


def plain_interpreter(path):
    """Without XNNPACK, which replaces operations with one of its own."""
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return Interpreter(str(path), experimental_op_resolver_type=resolver)


def operations(interpreter):
    return Counter(operation["op_name"] for operation in interpreter._get_ops_details())
