"""The workloads of this project's own models: a step, updates in a row on JAX, and encoders."""

import gc
import itertools
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_distilbert.benchmark.batch import Cases, Fields, Shapes, encoder_cases, random_batch
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.training.runtime import set_precision_and_seed, start_keras

if TYPE_CHECKING:
    from tf_distilbert.distillation.distiller import Distiller


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
        teacher: Fields,
        student: Fields,
        batch_size: int,
        sequence_length: int,
        precision: str = "float32",
        options: Fields | None = None,
    ) -> None:
        start_keras()
        import keras
        import tensorflow as tf

        set_precision_and_seed(precision, 0)
        self.distiller = _distiller(teacher, student, options)
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


class JaxRun:
    """Updates on JAX, driven as Keras's `fit` drives them; needs no TensorFlow.

    Each call makes some and waits for the last.

    Args:
        teacher, student, batch_size, sequence_length, options: as in `OurStep`.
        precision: a Keras policy.
        steps: how many updates a call makes.
        watched: whether each step is waited for, because the figures are read that a run's monitor
            reads. Otherwise the host prepares the next steps while the device computes.
    """

    def __init__(
        self,
        teacher: Fields,
        student: Fields,
        batch_size: int,
        sequence_length: int,
        precision: str = "mixed_bfloat16",
        steps: int = 1,
        watched: bool = False,
        options: Fields | None = None,
    ) -> None:
        import jax
        import keras

        self.steps, self._watched = steps, watched
        # Not by `set_precision_and_seed`, which refuses bfloat16 that is emulated.
        keras.config.set_dtype_policy(precision)
        keras.utils.set_random_seed(0)
        self.distiller = _distiller(teacher, student, options)
        gc.collect()  # the teacher in float32, of which the distiller has made its copy
        self.distiller.make_train_function()
        # Taken out of the variables: a step gives the memory of one state to the next.
        self._state = self.distiller._get_jax_state(
            trainable_variables=True,
            non_trainable_variables=True,
            optimizer_variables=True,
            metrics_variables=True,
            purge_model_variables=True,
        )
        batch = random_batch(teacher["vocabulary_size"], batch_size, sequence_length)
        self._batches = itertools.repeat(jax.device_put(batch))
        # The loss that a step gives is the mean over all steps so far.
        self._steps_made, self._sum_of_losses = 0, 0.0

    def __call__(self) -> dict[str, Any]:
        """Make updates and wait for the last.

        Returns:
            ``first_loss`` and ``last_loss`` of these updates, and ``device_peak_bytes``: the most
            memory of the device that this process has held; None for a processor.
        """
        import jax

        means = []
        for _ in range(self.steps):
            logs, self._state = self.distiller.train_function(self._state, self._batches)
            if self._watched:
                # What `Monitor` reads after each step of a run.
                for value in (logs["skipped_updates"], *self.distiller.signals.values()):
                    float(value)
            means.append(logs["loss"])
        jax.block_until_ready(self._state)
        losses = [self._loss_of_step(float(mean)) for mean in means]
        memory = jax.local_devices()[0].memory_stats() or {}
        return {
            "first_loss": losses[0],
            "last_loss": losses[-1],
            "device_peak_bytes": memory.get("peak_bytes_in_use"),
        }

    def _loss_of_step(self, mean: float) -> float:
        """Give the loss of the next step, after which the mean of all is this."""
        self._steps_made += 1
        before, self._sum_of_losses = self._sum_of_losses, mean * self._steps_made
        return self._sum_of_losses - before


def step(**arguments: Any) -> Cases:
    """Give the case ``step``; arguments as in `OurStep`."""
    return {"step": OurStep(**arguments)}


def run(**arguments: Any) -> Cases:
    """Give the case ``steps``; arguments as in `JaxRun`."""
    return {"steps": JaxRun(**arguments)}


def inference(architecture: Fields, shapes: Shapes, precision: str) -> Cases:
    """Give a case for each shape: token ids to last hidden states, under `tf.function`.

    Args:
        architecture: fields of `Architecture`.
        shapes: of the batches.
        precision: a Keras policy; ``bfloat16`` holds the weights in it, too.
    """
    start_keras()
    import tensorflow as tf

    from tf_distilbert.models.encoder import Encoder

    set_precision_and_seed(precision, 0)
    encoder = Encoder(Architecture(**architecture))
    encoder.build()
    last = tf.function(lambda ids, mask: encoder(ids, mask)[-1], autograph=False)
    names = "token_ids", "padding_mask"
    return encoder_cases(
        architecture, shapes, names, tf.constant, lambda taken: last(*taken.values()).numpy()
    )


def exported(architecture: Fields, shapes: Shapes, precision: str) -> Cases:
    """Give a case for each shape, by the SavedModel of an export; see `inference`.

    Args:
        architecture, shapes: as there.
        precision: of the export.
    """
    return _exported("saved_model", architecture, shapes, precision)


def exported_onnx(architecture: Fields, shapes: Shapes, precision: str) -> Cases:
    """Give a case for each shape, by the ONNX file of an export; arguments as in `exported`."""
    return _exported("onnx", architecture, shapes, precision)


def _exported(format_name: str, architecture: Fields, shapes: Shapes, precision: str) -> Cases:
    start_keras()
    from tf_distilbert.exports.exporter import export
    from tf_distilbert.exports.formats import open_raw
    from tf_distilbert.models.encoder_model import EncoderModel
    from tf_distilbert.serving.served_model import ServedModel
    from tf_distilbert.tokenization.tokenizer import BERT_TOKENS
    from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

    set_precision_and_seed("float32", 0)
    sizes = Architecture(**architecture)
    words = (f"word{i}" for i in range(sizes.vocabulary_size - len(BERT_TOKENS)))
    model = EncoderModel(sizes, WordPieceTokenizer([*BERT_TOKENS, *words]))
    served = ServedModel.of(model)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "export"
        written, _ = export(model, format_name, path, precision=precision, name="encoder")
        run = open_raw(written, served)
    return encoder_cases(architecture, shapes, served.input_names, _int32, run)


def _int32(array: np.ndarray) -> np.ndarray:
    return array.astype("int32")


def _distiller(teacher: Fields, student: Fields, options: Fields | None) -> "Distiller":
    from tf_distilbert.distillation.distiller import Distiller
    from tf_distilbert.models.masked_language_model import MaskedLanguageModel
    from tf_distilbert.training.optimizer import AdamW

    distiller = Distiller(
        MaskedLanguageModel(Architecture(**teacher)),
        MaskedLanguageModel(Architecture(**student)),
        **options or {},
    )
    distiller.compile(AdamW(5e-4, clip_norm=5.0))
    return distiller
