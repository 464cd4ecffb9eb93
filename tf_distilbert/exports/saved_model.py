"""A SavedModel for TensorFlow Serving: written, warmed up, and opened as servers open it.

Text goes in and answers come out: the tokenizer is in the graph. The messages of warm-up requests
are written out here, for the package that has them wants a TensorFlow of its own.

Source: ``tensorflow_serving/apis/prediction_log.proto``, ``predict.proto``, ``model.proto``.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the tokenizer's operations

from tf_distilbert.errors import UserError
from tf_distilbert.exports.description import write_description
from tf_distilbert.exports.raw_model import input_specs
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.serving.served_model import model_function
from tf_distilbert.serving.service import Service
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer
from tf_distilbert.training.runtime import silenced

TOKEN_IDS = "token_ids"
"""The signature for clients that tokenise themselves."""


class ServedModule(tf.Module):
    """What is saved: weights, vocabulary, and a function for each signature.

    Args:
        model: computes; its dtype is the export's.
        service: says how texts are answered.
        files: become assets: the tokenizer's and ``metadata.json``, for clients that tokenise
            themselves.

    Attributes:
        functions: signature to function.
    """

    def __init__(self, model: EncoderModel, service: Service, files: list[Path]) -> None:
        super().__init__()
        # TensorFlow Serving's loader finds variables by the names under which a module holds
        # them, and does not look into Keras's own (tensorflow#72963).
        self.weights = [variable.value for variable in model.variables]
        self.assets = [tf.saved_model.Asset(str(path)) for path in files]
        served = service.model
        run = model_function(model, served)
        specs = {TOKEN_IDS: input_specs(served)}
        functions = {TOKEN_IDS: lambda **inputs: {served.output_name: run(inputs)}}
        if isinstance(served.tokenizer, WordPieceTokenizer):
            own = service.with_run(run)
            for name, texts in service.signatures.items():
                specs[name] = {text: tf.TensorSpec([None], tf.string, text) for text in texts}
                functions[name] = lambda **texts: own.answer(**texts)
        else:
            # The tokenizer runs outside of graphs alone; servers look for this name, too.
            specs["serving_default"] = specs[TOKEN_IDS]
            functions["serving_default"] = functions[TOKEN_IDS]
        self.functions = {
            name: tf.function(function, autograph=False).get_concrete_function(**specs[name])
            for name, function in functions.items()
        }


def write_saved_model(model: EncoderModel, service: Service, folder: Path) -> None:
    """Write a SavedModel with warm-up requests, in TensorFlow Serving's layout.

    Args:
        model: computes; its dtype is the export's, see `EncoderModel.cast_copy`.
        service: says how texts are answered.
        folder: of the version.

    Raises:
        UserError: it cannot be written.
    """
    with TemporaryDirectory() as temporary:
        facts = {"format": "saved_model", "precision": model.compute_dtype}
        facts["long_texts"] = service.long_texts
        write_description(Path(temporary), service.model, **facts)
        module = ServedModule(model, service, sorted(Path(temporary).iterdir()))
        try:
            with silenced("tensorflow"):
                tf.saved_model.save(module, str(folder), signatures=module.functions)
            write_warm_up_requests(folder, module.functions)
        except tf.errors.OpError as error:
            raise UserError(f"{folder}: cannot be written ({error.message}); make room") from None


def batching_parameters(max_batch_size: int) -> str:
    """Give a file for TensorFlow Serving's ``--batching_parameters_file``.

    Args:
        max_batch_size: texts that go through the model together.
    """
    # Rows of ids must have one length: the server would pad them with their first number.
    return f"max_batch_size {{ value: {max_batch_size} }}\nbatch_timeout_micros {{ value: 2000 }}\n"


class SavedModelSession:
    """Runs the signatures of a SavedModel through TensorFlow 1's loader.

    It finds variables by name, as TensorFlow Serving does; `tf.saved_model.load` opens files, too,
    that no server can.

    Args:
        folder: holds ``saved_model.pb``.

    Raises:
        UserError: it cannot be loaded.

    Attributes:
        inputs: signature to the names of its inputs.
    """

    def __init__(self, folder: Path) -> None:
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        # TensorFlow advises against this loader, which is the point of it here.
        with self._session.graph.as_default(), silenced("tensorflow"):
            try:
                loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder))
            except (OSError, RuntimeError, ValueError, tf.errors.OpError) as error:
                reason = " ".join(str(error).split())[:200]
                raise UserError(f"{folder}: no SavedModel that can be served ({reason})") from None
        self._signatures = {
            name: definition
            for name, definition in loaded.signature_def.items()
            if not name.startswith("__")
        }
        self.inputs = {name: tuple(sig.inputs) for name, sig in self._signatures.items()}

    def __call__(
        self, inputs: Mapping[str, np.ndarray], signature: str = "serving_default"
    ) -> dict[str, np.ndarray]:
        """Run a signature: arrays by name in, arrays by name out."""
        definition = self._signatures[signature]
        outputs = {name: info.name for name, info in definition.outputs.items()}
        fed = {definition.inputs[name].name: values for name, values in inputs.items()}
        return self._session.run(outputs, fed)


FILE = Path("assets.extra") / "tf_serving_warmup_requests"

# Of a text signature: one short text, a batch, a long text.
_TEXTS = (
    ["A short text."],
    ["A short text.", "A text of a few more words, with a [MASK] in it.", "", "One more."],
    ["A text of several more words, with a [MASK] in it. " * 20],
)
WARM_UP_BATCH = max(map(len, _TEXTS))
"""The largest batch among them; a server that batches must take it."""

_LENGTHS = (16, 64, 128)

# Numbers of the fields in the messages.
_PREDICT_LOG, _REQUEST = 6, 1
_MODEL_SPEC, _SIGNATURE_NAME, _INPUTS = 1, 3, 2
_KEY, _VALUE = 1, 2


def write_warm_up_requests(
    folder: Path, signatures: Mapping[str, tf.types.experimental.ConcreteFunction]
) -> None:
    """Write the requests beside a SavedModel: texts, and rows of ids, of several lengths.

    Args:
        folder: of the version.
        signatures: the SavedModel's.
    """
    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, function in signatures.items():
            for inputs in _inputs(function.structured_input_signature[1]):
                writer.write(prediction_log(name, inputs))


def prediction_log(signature: str, inputs: Mapping[str, np.ndarray]) -> bytes:
    """Encode a ``PredictionLog`` that holds a ``PredictRequest``."""
    request = _field(_MODEL_SPEC, _field(_SIGNATURE_NAME, signature.encode()))
    for name, values in inputs.items():
        tensor = tf.make_tensor_proto(values).SerializeToString()
        request += _field(_INPUTS, _field(_KEY, name.encode()) + _field(_VALUE, tensor))
    return _field(_PREDICT_LOG, _field(_REQUEST, request))


def _inputs(specs: Mapping[str, tf.TensorSpec]) -> list[dict[str, np.ndarray]]:
    if all(spec.dtype == tf.string for spec in specs.values()):
        return [{name: np.array(texts, object) for name in specs} for texts in _TEXTS]
    return [
        {name: np.ones((1, 1 if name == "mask_positions" else length), np.int32) for name in specs}
        for length in _LENGTHS
    ]


def _field(number: int, content: bytes) -> bytes:
    """Encode a field of bytes: its number with the wire type 2, its length, the bytes."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Encode a number, seven bits a byte, the lowest first."""
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
