"""The workloads of this project's own models."""

from collections.abc import Callable, Mapping
from typing import Any

from tf_distilbert.architecture import Architecture
from tf_distilbert.benchmark.batch import random_batch
from tf_distilbert.runtime import set_precision_and_seed, start_keras


class OurStep:
    """One update by `Distiller`, as ``fit`` makes it.

    Args:
        teacher, student: fields of `Architecture`.
        batch_size, sequence_length: of the batch, which is the same in every step.
        precision: see `set_precision_and_seed`.
        options: of `Distiller`, the models aside.

    Attributes:
        distiller: holds the student.
    """

    def __init__(
        self,
        teacher: Mapping[str, Any],
        student: Mapping[str, Any],
        batch_size: int,
        sequence_length: int,
        precision: str = "float32",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        start_keras()
        import keras
        import tensorflow as tf

        from tf_distilbert.distiller import Distiller
        from tf_distilbert.masked_language_model import MaskedLanguageModel
        from tf_distilbert.optimization import AdamW

        set_precision_and_seed(precision, 0)
        self.distiller = Distiller(
            MaskedLanguageModel(Architecture(**teacher)),
            MaskedLanguageModel(Architecture(**student)),
            **options or {},
        )
        self.distiller.compile(AdamW(5e-4, clip_norm=5.0))
        self._batch = random_batch(teacher["vocabulary_size"], batch_size, sequence_length)
        self._batches = None
        if keras.backend.backend() == "tensorflow":  # whose step takes batches within the graph
            self._batches = iter(tf.data.Dataset.from_tensors(self._batch).repeat())
            self.distiller.make_train_function()

    def __call__(self) -> float:
        """Make an update and give its loss."""
        self.distiller.reset_metrics()
        if self._batches is None:
            return self.distiller.train_on_batch(*self._batch, return_dict=True)["loss"]
        return float(self.distiller.train_function(self._batches)["loss"])


def step(**arguments: Any) -> dict[str, Callable[[], float]]:
    """Give the case ``step``; arguments as in `OurStep`."""
    return {"step": OurStep(**arguments)}


def inference(
    architecture: Mapping[str, Any], shapes: Mapping[str, tuple[int, int]], precision: str
) -> dict[str, Callable[[], None]]:
    """Give a case for each shape: token ids to last hidden states, under `tf.function`.

    Args:
        architecture: fields of `Architecture`.
        shapes: case to batch size and sequence length.
        precision: a Keras policy; ``bfloat16`` holds the weights in it, too.
    """
    start_keras()
    import tensorflow as tf

    from tf_distilbert.encoder import Encoder

    set_precision_and_seed(precision, 0)
    encoder = Encoder(Architecture(**architecture))
    encoder.build()
    last = tf.function(lambda ids, mask: encoder(ids, mask)[-1], autograph=False)

    def case(shape: tuple[int, int]) -> Callable[[], None]:
        inputs, _, _ = random_batch(architecture["vocabulary_size"], *shape)
        ids, mask = (tf.constant(inputs[name]) for name in ("token_ids", "padding_mask"))
        return lambda: _wait_for(last(ids, mask))

    return {name: case(shape) for name, shape in shapes.items()}


def _wait_for(tensor: Any) -> None:
    tensor.numpy()
