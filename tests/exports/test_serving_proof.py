"""Exports give the Keras model's answers wherever TensorFlow Serving's parts are to be had.

There is no ModelServer in a Python environment. So each export goes through everything else that
reads a SavedModel: a process without this package, the loader for sessions, a program in C, and
the server's protocols.
"""

import json
import pickle
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from support.serving import c_program
from support.serving.exports import SETTINGS, VERSION, assert_equal_answers, write_export
from support.serving.json_values import as_json, from_json
from support.serving.served_export import ServedExport

pytestmark = pytest.mark.slow  # six exports, several processes and a compiler

TEXT_OPS = {"FastBertNormalize", "FastWordpieceTokenizeWithOffsets"}
"""In `tensorflow_text`'s ``ops_lib``, which TensorFlow Serving links."""


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    root = tmp_path_factory.mktemp("exports")
    return {name: write_export(name, root) for name in SETTINGS}


@pytest.fixture(scope="module", params=SETTINGS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def export(exports, name):
    return exports[name]


@pytest.fixture(scope="module")
def alone(exports, tmp_path_factory):
    """Start `load_alone.py` on all exports; what is given waits for its end."""
    folder = tmp_path_factory.mktemp("alone")
    requests = [(e.saved_model, c.signature, c.inputs) for e in exports.values() for c in e.cases]
    (folder / "requests").write_bytes(pickle.dumps(requests))
    script = Path(__file__).parents[1] / "support" / "serving" / "load_alone.py"
    command = [sys.executable, "-I", script, "requests", "answers"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)

    def result():
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        return pickle.loads((folder / "answers").read_bytes())

    yield result
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def server(exports, tmp_path_factory):
    """Start the stand-in for the server; None without the package of its protocols."""
    try:
        from support.serving.server_process import ServerProcess
    except ModuleNotFoundError:
        yield None
        return
    folders = [export.folder for export in exports.values()]
    with ServerProcess(folders, tmp_path_factory.mktemp("server")) as process:
        yield process


@pytest.fixture
def predict(server):
    """Send a request over gRPC."""
    pytest.importorskip("tensorflow_serving")
    import grpc
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

    with grpc.insecure_channel(f"127.0.0.1:{server.ports[0]}") as channel:
        yield PredictionServiceStub(channel).Predict


@pytest.fixture
def post(server):
    """Send a JSON object to the REST server; give the status and the object that comes back."""
    pytest.importorskip("tensorflow_serving")

    def send(path, content):
        url = f"http://127.0.0.1:{server.ports[1]}{path}"
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        try:
            with urllib.request.urlopen(url, data, timeout=60) as response:
                status, body = response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                status, body = error.code, error.read()
        # An answer may be cut from a text that is not UTF-8.
        return status, json.loads(body.decode("utf-8", "surrogateescape"))

    return send


# The other processes are started first, and work while this one does.
def test_the_loader_for_sessions(export, alone, server):
    served = ServedExport(export.folder)
    assert served.version == VERSION
    assert set(served.signatures) >= {case.signature for case in export.cases}
    for case in export.cases:
        assert_equal_answers(served.predict(case.signature, case.inputs), case.expected)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    return c_program.compile_program(tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="module")
def c_answers(exports, program):
    """Run the program once for each export, two at a time."""

    def run(export):
        requests = [(case.signature, case.inputs) for case in export.cases]
        return c_program.predict(program, export.saved_model, requests)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(exports, pool.map(run, exports.values()), strict=True))


def test_a_program_in_c(name, export, c_answers):
    for answer, case in zip(c_answers[name], export.cases, strict=True):
        assert_equal_answers(answer, case.expected)


@pytest.mark.parametrize(
    ("signature", "libraries", "message"),
    [
        ("serving_default", (), "Op type not registered 'Fast"),
        ("summary", c_program.LIBRARIES, "there is no signature summary"),
    ],
)
def test_the_program_fails_with_a_message(exports, program, signature, libraries, message):
    folder = exports["encoder"].saved_model
    requests = [(signature, {"text": np.array([b"a"], object)})]
    finished = c_program.start(program, folder, requests, libraries)
    assert finished.returncode == 1
    assert message in finished.stderr


def test_a_process_without_this_package(exports, alone):
    answers = iter(alone()["answers"])
    for export in exports.values():
        for case in export.cases:
            assert_equal_answers(next(answers), case.expected)


def test_the_graph_holds_no_op_that_a_server_lacks(alone):
    found = alone()
    assert found["unknown_ops"] == TEXT_OPS
    assert not {op for op in found["ops"] if "PyFunc" in op or "NumpyFunction" in op}


def test_no_path_of_this_machine_is_written(export, tmp_path):
    places = {Path.cwd(), Path.home(), Path(sys.prefix), Path(tempfile.gettempdir())}
    places |= {export.folder, Path(__file__).parents[2], Path(tf.__file__).parent}
    for path in filter(Path.is_file, export.saved_model.rglob("*")):
        content = path.read_bytes()
        assert not [place for place in places if f"{place}/".encode() in content], path


def test_grpc(name, export, predict):
    from support.serving.server_process import arrays, predict_request

    for case in export.cases:
        response = predict(predict_request(name, case.signature, case.inputs))
        assert_equal_answers(arrays(response), case.expected)
        spec = response.model_spec
        assert (spec.name, spec.version.value) == (name, VERSION)
        assert spec.signature_name == case.signature


def test_grpc_chooses_signature_version_and_outputs(exports, predict):
    from support.serving.server_process import arrays, predict_request

    case = exports["encoder"].cases[0]
    request = predict_request("encoder", "", case.inputs)
    request.model_spec.version.value = VERSION
    request.output_filter.append("cls")
    response = predict(request)
    assert response.model_spec.signature_name == "serving_default"
    assert_equal_answers(arrays(response), {"cls": case.expected["cls"]})


def test_grpc_refuses(predict):
    import grpc

    from support.serving.server_process import predict_request

    texts = {"text": np.array([b"a"], object)}
    other_version = predict_request("encoder", "", texts)
    other_version.model_spec.version.value = VERSION + 1
    other_output = predict_request("encoder", "", texts)
    other_output.output_filter.append("max")
    ids = {"token_ids": np.ones((1, 4), "int32"), "padding_mask": np.ones((1, 5), "int32")}
    for request, code, message in (
        (predict_request("summary", "", texts), "NOT_FOUND", "Latest(summary)"),
        (other_version, "NOT_FOUND", f"Specific(encoder, {VERSION + 1})"),
        (predict_request("encoder", "summary", texts), "INVALID_ARGUMENT", '"summary" not found'),
        (other_output, "INVALID_ARGUMENT", "alias not found in signature: max"),
        (predict_request("encoder", "", {}), "INVALID_ARGUMENT", "does not match signature"),
        (predict_request("encoder", "", {"text": [[b"a"]]}), "INVALID_ARGUMENT", "shape"),
        (predict_request("encoder", "", {"text": [1]}), "INVALID_ARGUMENT", "type"),
        (predict_request("encoder", "token_ids", ids), "INVALID_ARGUMENT", ""),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            predict(request)
        assert refused.value.code().name == code, request
        assert message in refused.value.details()


def test_metadata(name, export, server):
    pytest.importorskip("tensorflow_serving")
    import grpc
    from tensorflow_serving.apis import get_model_metadata_pb2
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = name
    with grpc.insecure_channel(f"127.0.0.1:{server.ports[0]}") as channel:
        response = PredictionServiceStub(channel).GetModelMetadata(request)
    assert response.model_spec.version.value == VERSION
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    for case in export.cases:
        signature = signatures.signature_def[case.signature]
        assert signature.method_name == "tensorflow/serving/predict"
        for values, described in (
            (case.inputs, signature.inputs),
            (case.expected, signature.outputs),
        ):
            assert sorted(values) == sorted(described)
            for key, array in values.items():
                info = described[key]
                assert info.dtype == tf.dtypes.as_dtype(array.dtype)
                shape = tf.TensorShape(info.tensor_shape)
                assert shape.is_compatible_with(array.shape)
                assert shape[0] is None  # any number of texts


def test_rest(name, export, post):
    for case in export.cases:
        columns = {key: as_json(values) for key, values in case.inputs.items()}
        request = {"signature_name": case.signature}
        only = next(iter(case.expected)) if len(case.expected) == 1 else None

        path = f"/v1/models/{name}/versions/{VERSION}:predict"
        status, response = post(path, request | {"inputs": columns})
        assert (status, list(response)) == (200, ["outputs"]), response
        outputs = {only: response["outputs"]} if only else response["outputs"]
        found = {key: from_json(outputs[key], case.expected[key]) for key in outputs}
        assert_equal_answers(found, case.expected)

        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        status, response = post(f"/v1/models/{name}:predict", request | {"instances": rows})
        assert (status, list(response)) == (200, ["predictions"]), response
        if only:
            outputs = {only: response["predictions"]}
        else:
            outputs = {key: [row[key] for row in response["predictions"]] for key in case.expected}
        found = {key: from_json(outputs[key], case.expected[key]) for key in outputs}
        assert_equal_answers(found, case.expected)


def test_rest_takes_a_single_input_without_its_name(exports, post):
    case = exports["encoder"].cases[0]
    texts = as_json(case.inputs["text"])
    status, response = post("/v1/models/encoder:predict", {"instances": texts})
    assert status == 200
    found = np.array([row["mean"] for row in response["predictions"]], "float32")
    np.testing.assert_allclose(found, case.expected["mean"], rtol=1e-5, atol=1e-5)
    status, columns = post("/v1/models/encoder:predict", {"inputs": texts})
    assert status == 200
    assert columns["outputs"]["mean"] == [row["mean"] for row in response["predictions"]]


@pytest.mark.parametrize(
    ("path", "content", "status", "message"),
    [
        ("encoder:predict", b"{", 400, "JSON Parse error"),
        ("encoder:predict", {}, 400, "'inputs' or 'instances'"),
        ("encoder:predict", {"inputs": ["a"], "instances": ["a"]}, 400, "only one of"),
        ("encoder:predict", {"instances": []}, 400, "instances"),
        ("encoder:predict", {"instances": [1]}, 400, "not of expected type"),
        ("encoder:predict", {"instances": [{"texts": "a"}]}, 400, "keys must be equal to: text"),
        ("encoder:predict", {"instances": [["a"], ["b", "c"]]}, 400, "unexpected size"),
        ("encoder:predict", {"inputs": "a"}, 400, "shape"),
        ("encoder:predict", {"instances": ["a"], "signature_name": "b"}, 400, '"b" not found'),
        ("summary:predict", {"instances": ["a"]}, 404, "Latest(summary)"),
        ("encoder/versions/1:predict", {"instances": ["a"]}, 404, "Specific(encoder, 1)"),
        ("encoder:summarise", {"instances": ["a"]}, 404, "Malformed request"),
    ],
)
def test_rest_refuses(path, content, status, message, post):
    found, response = post(f"/v1/models/{path}", content)
    assert (found, list(response)) == (status, ["error"])
    assert message in response["error"]


def test_warm_up_requests(name, export, predict):
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    from support.serving.server_process import arrays

    path = export.saved_model / "assets.extra" / "tf_serving_warmup_requests"
    logs = [PredictionLog.FromString(r.numpy()) for r in tf.data.TFRecordDataset([str(path)])]
    assert len(logs) <= 1000  # more are an error to the server
    signatures = set()
    for log in logs:
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        signatures.add(request.model_spec.signature_name)
        # In the file no model is named: the server asks the one that it is about to load.
        assert not request.model_spec.name
        request.model_spec.name = name
        for values in arrays(predict(request)).values():
            assert values.dtype == object or np.isfinite(values).all()
    assert signatures == {case.signature for case in export.cases}
