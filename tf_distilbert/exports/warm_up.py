"""Requests that TensorFlow Serving sends to a new model before its users do.

Source: ``tensorflow_serving/apis/prediction_log.proto``, ``predict.proto``, ``model.proto``. The
three messages are written out here, for the package that has them wants a TensorFlow of its own.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

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
