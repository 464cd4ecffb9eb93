"""The JSON of TensorFlow Serving's REST API for ``predict``.

It is described in ``g3doc/api_rest.md`` of TensorFlow Serving, its details are those of
``util/json_tensor.cc``. Outputs that are called ``*_bytes`` would be base64; none of ours is, so
all our strings are plain.
"""

import base64
import json

import numpy as np
import tensorflow as tf
from served_export import RequestError


def read_request(body, find_signature):
    """Make arrays of a request.

    Args:
        body: JSON.
        find_signature: gives the ``SignatureDef`` of a name, which may be empty.

    Returns:
        The signature's name or nothing, the arrays by name, and whether they came in rows.
    """
    try:
        request = json.loads(body)
    except ValueError as error:
        raise _refusal(f"JSON Parse error: {error}") from error
    if not isinstance(request, dict):
        raise _refusal("Is not object")
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise _refusal("'signature_name' key must be a string value.")
    specs = find_signature(name).inputs
    if ("instances" in request) == ("inputs" in request):
        raise _refusal("expecting only one of 'inputs' or 'instances' keys to exist")
    in_rows = "instances" in request
    values = _columns(request["instances"], specs) if in_rows else request["inputs"]
    if not _is_object(values):
        if len(specs) > 1:
            raise _refusal("inputs is a plain value/list, but expecting an object")
        values = {next(iter(specs)): values}
    if set(specs) - set(values):
        raise _refusal(f"Missing named input: {sorted(set(specs) - set(values))}")
    return name, {key: _array(values[key], spec.dtype) for key, spec in specs.items()}, in_rows


def write_answer(answer, in_rows):
    """Give arrays by name as the body of a response."""
    written = {
        name: _nested(values, as_bytes=name.endswith("_bytes")) for name, values in answer.items()
    }
    if not in_rows:
        content = {"outputs": written if len(written) > 1 else next(iter(written.values()))}
    elif len({np.shape(values)[:1] for values in answer.values()} | {()}) > 2:
        raise _refusal("tensors have inconsistent batch sizes")
    elif len(written) > 1:
        rows = zip(*written.values(), strict=True)
        content = {"predictions": [dict(zip(written, row, strict=True)) for row in rows]}
    else:
        content = {"predictions": next(iter(written.values()))}
    # As in the server, bytes that are not UTF-8 are written as they are.
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogateescape")


def _refusal(message):
    return RequestError("INVALID_ARGUMENT", message)


def _is_object(value):
    return isinstance(value, dict) and set(value) != {"b64"}


def _columns(instances, specs):
    """Rows to columns."""
    if not isinstance(instances, list) or not instances:
        raise _refusal("Expecting 'instances' to be a list with values")
    if not any(map(_is_object, instances)):
        return instances
    if any(not _is_object(row) or set(row) != set(specs) for row in instances):
        raise _refusal(f"keys must be equal to: {','.join(sorted(specs))}")
    return {name: [row[name] for row in instances] for name in specs}


def _array(value, data_type):
    data_type = tf.dtypes.as_dtype(data_type)
    kinds = {tf.string: (str, dict), tf.int32: (int,)}[data_type]
    try:
        array = np.array(_decoded(value, kinds), data_type.as_numpy_dtype)
    except (OverflowError, ValueError) as error:
        raise _refusal(f"not a tensor: {error}") from error
    if data_type == tf.string and any(isinstance(element, list) for element in array.flat):
        raise _refusal("Encountered list at unexpected size")
    return array


def _decoded(value, kinds):
    if isinstance(value, list):
        return [_decoded(element, kinds) for element in value]
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise _refusal(f"JSON Value: {value!r} is not of expected type")
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True)
    return value.encode() if isinstance(value, str) else value


def _nested(values, as_bytes):
    """Make an array's lists of strings, ints and floats."""
    if isinstance(values, np.ndarray):
        return [_nested(part, as_bytes) for part in values]
    if isinstance(values, np.floating):
        return float(str(values))  # as many digits as it takes, not a double's
    if isinstance(values, np.integer):
        return int(values)
    if as_bytes:
        return {"b64": base64.b64encode(values).decode()}
    return values.decode("utf-8", "surrogateescape")
