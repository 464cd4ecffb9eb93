"""The stand-in for TensorFlow Serving as a process of its own, and requests to it."""

import os
import subprocess
import sys
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

SCRIPT = Path(__file__).parent / "prediction_service.py"
TIMEOUT_SECONDS = 120


class ServerProcess:
    """Serves exports until its context ends; it takes seconds to start, and nobody waits here.

    Args:
        folders: of the exports.
        cwd: where to run, away from the package's source.
        **environment: variables besides those of this process.
    """

    def __init__(self, folders, cwd, **environment):
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT, *folders, "0"],
            cwd=cwd,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ports = None

    @property
    def ports(self):
        """Give the ports of gRPC and of REST when all models are loaded."""
        if self._ports is None:
            line = self.process.stdout.readline()
            assert line.startswith("ready "), "the server did not start"
            self._ports = tuple(map(int, line.split()[1:]))
        return self._ports

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate()


def predict_request(model, signature, inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return request


def arrays(response):
    return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
