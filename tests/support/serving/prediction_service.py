"""A stand-in for TensorFlow Serving's ModelServer: its gRPC and REST services, for predictions.

    python prediction_service.py EXPORT_DIR... PORT [--rest_api_port PORT]

A model's name is that of its folder, and its highest version is served. The ports are those of the
loopback address; 0 stands for any that is free. A line on standard output says which when all
models are loaded: ``ready PORT REST_API_PORT``.

It is not the server: it shows that an export's signatures work behind the server's protocols.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import grpc
import tensorflow as tf
from rest_api import make_rest_server
from served_export import DEFAULT_SIGNATURE, RequestError, ServedExport
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)


class Exports:
    """What is served, by name."""

    def __init__(self, folders):
        self.by_name = {folder.name: ServedExport(folder) for folder in folders}

    def find(self, name, version=None):
        export = self.by_name.get(name)
        if export is None or version not in (None, export.version):
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise RequestError("NOT_FOUND", f"Servable not found for request: {wanted}")
        return export

    def of(self, model_spec):
        given = model_spec.HasField("version")
        return self.find(model_spec.name, model_spec.version.value if given else None)


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """The methods of ``prediction_service.proto`` that a SavedModel needs.

    Args:
        exports: what is served.
    """

    def __init__(self, exports):
        self.exports = exports

    def Predict(self, request, context):
        try:
            return self._predict(request)
        except RequestError as error:
            context.abort(getattr(grpc.StatusCode, error.code), str(error))

    def GetModelMetadata(self, request, context):
        try:
            return self._metadata(request)
        except RequestError as error:
            context.abort(getattr(grpc.StatusCode, error.code), str(error))

    def _predict(self, request):
        spec = request.model_spec
        export = self.exports.of(spec)
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        answer = export.predict(spec.signature_name, inputs, list(request.output_filter))
        response = predict_pb2.PredictResponse()
        response.model_spec.name = spec.name
        response.model_spec.signature_name = spec.signature_name or DEFAULT_SIGNATURE
        response.model_spec.version.value = export.version
        for name, values in answer.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(values))
        return response

    def _metadata(self, request):
        if set(request.metadata_field) != {"signature_def"}:
            raise RequestError("INVALID_ARGUMENT", "the only metadata field is signature_def")
        export = self.exports.of(request.model_spec)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in export.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = export.name
        response.model_spec.version.value = export.version
        response.metadata["signature_def"].Pack(signatures)
        return response


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("exports", metavar="EXPORT_DIR", nargs="+", type=Path)
    parser.add_argument("port", metavar="PORT", type=int)
    parser.add_argument("--rest_api_port", default=0, type=int)
    arguments = parser.parse_args()
    exports = Exports(arguments.exports)
    # The server, too, takes messages of any length.
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(8), options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(exports), server
    )
    port = server.add_insecure_port(f"127.0.0.1:{arguments.port}")
    server.start()
    rest = make_rest_server(exports.find, arguments.rest_api_port)
    Thread(target=rest.serve_forever, daemon=True).start()
    print("ready", port, rest.server_port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
