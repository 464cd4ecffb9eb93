"""Arrays as the JSON of TensorFlow Serving's REST service, and back."""

import base64

import numpy as np


def as_json(values):
    """An array as REST wants it: text where it is text, else base64."""
    if isinstance(values, np.ndarray):
        return [as_json(part) for part in values]
    if not isinstance(values, bytes):
        return int(values)
    try:
        return values.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(values).decode()}


def from_json(values, like):
    """The array that a list of REST's is; it cannot say all of an empty one's shape."""
    array = np.array(values, like.dtype).reshape(np.shape(values) if like.size else like.shape)
    if like.dtype == object:
        encode = [text.encode("utf-8", "surrogateescape") for text in array.flat]
        array = np.array(encode, object).reshape(array.shape)
    return array
