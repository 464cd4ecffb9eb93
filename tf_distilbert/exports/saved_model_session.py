"""A SavedModel opened the way servers open it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the tokenizer's operations

from tf_distilbert.errors import UserError
from tf_distilbert.exports.silence import silenced


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
