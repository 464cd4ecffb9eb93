"""An export as TensorFlow Serving holds it: a session, and the signatures of its graph.

The checks and their messages follow ``servables/tensorflow/predict_util.cc`` of TensorFlow Serving.
"""

import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers its ops, as the server does

DEFAULT_SIGNATURE = "serving_default"


class RequestError(Exception):
    """A request that is refused.

    Args:
        code: name of a gRPC status.
        message: for the client.
    """

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class ServedExport:
    """The highest version of an export.

    Args:
        folder: its subfolders' names are the versions.

    Attributes:
        name: the folder's.
        version: the one that is served.
        signatures: ``SignatureDef`` by name.
    """

    def __init__(self, folder):
        self.name = folder.name
        self.version = max(int(path.name) for path in folder.iterdir() if path.name.isdigit())
        # The loader for sessions, which reads what the server's own reads: GraphDef, init op,
        # SignatureDef, and nothing of the Python objects that `tf.saved_model.load` restores.
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(
                self.session, ["serve"], str(folder / str(self.version))
            )
        self.signatures = dict(meta_graph.signature_def)

    def signature(self, name):
        if (name or DEFAULT_SIGNATURE) not in self.signatures:
            raise RequestError(
                "INVALID_ARGUMENT",
                f'Serving signature key "{name or DEFAULT_SIGNATURE}" not found.',
            )
        return self.signatures[name or DEFAULT_SIGNATURE]

    def predict(self, signature_name, inputs, output_filter=()):
        """Run a signature.

        Args:
            signature_name: empty for the default one.
            inputs: arrays by name.
            output_filter: names of the outputs that are wanted; none: all.

        Returns:
            Arrays by name.
        """
        signature = self.signature(signature_name)
        if set(inputs) != set(signature.inputs):
            raise RequestError(
                "INVALID_ARGUMENT",
                f"input size does not match signature: sent {sorted(inputs)}, "
                f"wanted {sorted(signature.inputs)}",
            )
        for name in output_filter:
            if name not in signature.outputs:
                raise RequestError(
                    "INVALID_ARGUMENT", f"output tensor alias not found in signature: {name}"
                )
        if len(set(output_filter)) < len(output_filter):
            raise RequestError("INVALID_ARGUMENT", "duplicate output tensor alias")
        wanted = {name: signature.outputs[name].name for name in output_filter or signature.outputs}
        for name, values in inputs.items():
            # Python's session would convert what the server's refuses.
            if tf.dtypes.as_dtype(values.dtype) != signature.inputs[name].dtype:
                raise RequestError("INVALID_ARGUMENT", f"{name} is of another data type")
        fed = {signature.inputs[name].name: values for name, values in inputs.items()}
        try:
            return self.session.run(wanted, fed)
        except (tf.errors.InvalidArgumentError, ValueError) as error:
            # A ValueError is a shape that does not fit: Python's session looks at them itself.
            raise RequestError("INVALID_ARGUMENT", str(error)) from error
