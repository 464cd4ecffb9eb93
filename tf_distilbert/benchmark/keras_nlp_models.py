"""The workloads of keras-nlp's models: plain training step, Keras's own distiller, bare encoders.

Both steps compute all logits of both models and the same three losses as the reference; see the
classes for what has to be bent for it. The optimizer is Adam, which is AdamW without decay and
without the walk through all weights that Keras's AdamW makes for a decay of 0.

keras-nlp's BERT has the tanh form of GELU, which is the faster one; its head an epsilon of 1e-5.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tf_distilbert.benchmark.batch import (
    IGNORED,
    TEMPERATURE,
    WEIGHTS,
    Cases,
    Fields,
    Shapes,
    encoder_cases,
    labels_of,
    random_batch,
)
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.training.runtime import set_precision_and_seed, start_keras

start_keras()

import keras  # noqa: E402
import keras_nlp  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import ops  # noqa: E402


class _Step:
    """Two models of keras-nlp, wrapped so that they give all logits, and a batch."""

    def __init__(
        self,
        teacher: Fields,
        student: Fields,
        batch_size: int,
        sequence_length: int,
        precision: str = "float32",
    ) -> None:
        set_precision_and_seed(precision, 0)
        self.teacher, self.student = task(teacher), task(student)
        self._teacher_outputs = with_all_logits(self.teacher)
        self._student_outputs = with_all_logits(self.student)
        self._batch = random_batch(teacher["vocabulary_size"], batch_size, sequence_length)
        names = "token_ids", "padding_mask"
        self._inputs = {name: _int32(self._batch[0][name]) for name in names}
        self._optimizer = keras.optimizers.Adam(
            5e-4, beta_2=0.98, epsilon=1e-6, global_clipnorm=5.0
        )


class PlainStep(_Step):
    """One update in a `tf.function` as it is written by hand; arguments as in `OurStep`.

    Attributes:
        teacher, student: keras-nlp's masked language models.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._optimizer.build(self._student_outputs.trainable_variables)
        self._constants = tf.nest.map_structure(tf.constant, self._batch)
        self._update = tf.function(self._make_update, jit_compile=False, autograph=False)

    def __call__(self) -> float:
        """Make an update and give its loss."""
        return float(self._update(self._inputs, self._constants))

    def _make_update(self, inputs: dict[str, tf.Tensor], batch: tuple) -> tf.Tensor:
        teacher = self._teacher_outputs(inputs, training=False)
        variables = self._student_outputs.trainable_variables
        with tf.GradientTape() as tape:
            loss = self._loss(teacher, self._student_outputs(inputs, training=True), batch)
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        self._optimizer.apply(gradients, variables)
        return loss

    def _loss(self, teacher: tuple, student: tuple, batch: tuple) -> tf.Tensor:
        (teacher_logits, teacher_hidden), (student_logits, student_hidden) = teacher, student
        inputs, mask_ids, mask_weights = batch
        real = tf.cast(inputs["padding_mask"], tf.float32)
        student_logits = tf.cast(student_logits, tf.float32)
        student_soft = tf.nn.log_softmax(student_logits / TEMPERATURE)
        teacher_soft = tf.nn.log_softmax(tf.cast(teacher_logits, tf.float32) / TEMPERATURE)
        divergence = tf.reduce_sum(tf.exp(teacher_soft) * (teacher_soft - student_soft), axis=-1)
        masked = tf.gather(student_logits, inputs["mask_positions"], batch_dims=1)
        masked_lm = tf.nn.sparse_softmax_cross_entropy_with_logits(mask_ids, masked)
        cosine = 1.0 + keras.losses.cosine_similarity(
            tf.cast(teacher_hidden, tf.float32), tf.cast(student_hidden, tf.float32)
        )
        return (
            WEIGHTS["distillation"] * TEMPERATURE**2 * _mean(divergence, real)
            + WEIGHTS["mlm"] * _mean(masked_lm, mask_weights)
            + WEIGHTS["cosine"] * _mean(cosine, real)
        )


class KerasDistillerStep(_Step):
    """One update by `keras.distillation.Distiller`; arguments as in `PlainStep`.

    It wants one structure of inputs and outputs from both models, so both are wrapped: the teacher
    makes its own segment ids, and hidden states are an output, because asking for them by a
    layer's name would run the student twice. The divergence is right only with an *instance* of
    `keras.losses.KLDivergence`. The labels' share of the loss must be at most 1, so it is 1/4 and
    the other weights are scaled to match. Padding cannot be left out: it counts in both
    distillation terms.
    """

    LABELS_SHARE = 0.25

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        rest = 1 - self.LABELS_SHARE
        self.distiller = keras.distillation.Distiller(
            teacher=self._teacher_outputs,
            student=self._student_outputs,
            distillation_losses=[
                keras.distillation.LogitsDistillation(
                    TEMPERATURE, loss=(keras.losses.KLDivergence(), None)
                ),
                keras.distillation.FeatureDistillation(loss=(None, _cosine)),
            ],
            distillation_loss_weights=[WEIGHTS["distillation"] / rest, WEIGHTS["cosine"] / rest],
            student_loss_weight=self.LABELS_SHARE,
        )
        factor = WEIGHTS["mlm"] / self.LABELS_SHARE
        cross_entropy = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=IGNORED
        )
        self.distiller.compile(
            self._optimizer,
            loss=(
                lambda labels, logits: factor * cross_entropy(labels, logits),
                lambda labels, hidden: ops.zeros(()),
            ),
            jit_compile=False,
        )
        nothing = self._batch[2][:, :1]  # hidden states have no labels, but one structure must be
        targets = labels_of(self._batch).astype("int32"), nothing
        self._batches = iter(tf.data.Dataset.from_tensors((self._inputs, targets)).repeat())
        self.distiller.make_train_function()

    def __call__(self) -> float:
        """Make an update and give its loss."""
        self.distiller.reset_metrics()
        return float(self.distiller.train_function(self._batches)["total_loss"])


def plain_step(**arguments: Any) -> Cases:
    """Give the case ``step``; arguments as in `PlainStep`."""
    return {"step": PlainStep(**arguments)}


def distiller_step(**arguments: Any) -> Cases:
    """Give the case ``step``; arguments as in `KerasDistillerStep`."""
    return {"step": KerasDistillerStep(**arguments)}


def inference(architecture: Fields, shapes: Shapes, precision: str) -> Cases:
    """Give a case for each shape; arguments as in `our_models.inference`."""
    set_precision_and_seed(precision, 0)
    encoder = keras.Model(*_backbone_ends(backbone(architecture)))
    last = tf.function(lambda inputs: encoder(inputs, training=False), autograph=False)
    return encoder_cases(
        architecture, shapes, encoder.input, _int32, lambda taken: last(taken).numpy()
    )


def exported(architecture: Fields, shapes: Shapes, precision: str) -> Cases:
    """Give a case for each shape: the encoder, exported by keras-nlp as a SavedModel."""
    from tf_distilbert.exports.saved_model import SavedModelSession

    set_precision_and_seed(precision, 0)
    with TemporaryDirectory() as folder:
        backbone(architecture).export(folder, verbose=False)
        session = SavedModelSession(Path(folder))
    names = session.inputs["serving_default"]
    return encoder_cases(architecture, shapes, names, lambda array: array.astype("int32"), session)


def backbone(fields: Fields) -> keras_nlp.models.Backbone:
    """Make keras-nlp's encoder of an architecture of BERT or DistilBERT."""
    architecture = Architecture(**fields)
    is_bert = architecture.family == "bert"
    make = keras_nlp.models.BertBackbone if is_bert else keras_nlp.models.DistilBertBackbone
    return make(
        vocabulary_size=architecture.vocabulary_size,
        num_layers=architecture.num_layers,
        num_heads=architecture.num_heads,
        hidden_dim=architecture.hidden_size,
        intermediate_dim=architecture.intermediate_size,
        dropout=architecture.dropout,
        max_sequence_length=architecture.max_positions,
        **{"num_segments": architecture.num_segments} if is_bert else {},
    )


def task(fields: Fields) -> keras_nlp.models.MaskedLM:
    """Make keras-nlp's masked language model of an architecture of BERT or DistilBERT."""
    encoder = backbone(fields)
    is_bert = isinstance(encoder, keras_nlp.models.BertBackbone)
    make = keras_nlp.models.BertMaskedLM if is_bert else keras_nlp.models.DistilBertMaskedLM
    return make(encoder)


def with_all_logits(model: keras_nlp.models.MaskedLM) -> keras.Model:
    """Wrap a masked language model: two inputs, all logits and the last hidden states."""
    inputs = {
        "token_ids": keras.Input((None,), dtype="int32", name="token_ids"),
        "padding_mask": keras.Input((None,), dtype="int32", name="padding_mask"),
    }
    ids = inputs["token_ids"]
    available = {**inputs, "segment_ids": ops.zeros_like(ids)}
    ends, last = _backbone_ends(model.backbone)
    hidden = keras.Model(ends, last)({name: available[name] for name in ends})
    positions = ops.cumsum(ops.ones_like(ids), axis=1) - 1
    logits = model.masked_lm_head(hidden, positions)
    return keras.Model(inputs, (logits, hidden))


def _backbone_ends(encoder: keras_nlp.models.Backbone) -> tuple:
    """Give an encoder's inputs and its last hidden states, without BERT's pooler."""
    output = encoder.output
    return encoder.input, output["sequence_output"] if isinstance(output, dict) else output


def _int32(array: np.ndarray) -> tf.Tensor:
    return tf.constant(array, tf.int32)


def _cosine(teacher: tf.Tensor, student: tf.Tensor) -> tf.Tensor:
    return 1.0 + keras.losses.cosine_similarity(teacher, student)


def _mean(values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(values * weights) / tf.reduce_sum(weights)
