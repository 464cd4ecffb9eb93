"""Encoders with the heads of downstream tasks, as Hugging Face's classes of the same tasks have.

Dimensions: B batch, S sequence, D hidden, C labels.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
from keras import KerasTensor as Tensor

from tf_distilbert.errors import UserError
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.dropout import Dropout
from tf_distilbert.models.encoder_model import EncoderModel

if TYPE_CHECKING:  # it needs TensorFlow; the models run on any backend
    from tf_distilbert.tokenization.tokenizer import Tokenizer

PROBLEMS = ("single_label", "multi_label", "regression")

# What comes between the dense layer on [CLS] and the output: in BERT's pooler and RoBERTa's head
# tanh, in DistilBERT's head relu.
_POOLED_ACTIVATION = {"bert": "tanh", "roberta": "tanh", "distilbert": "relu"}


class TaskHead(keras.layers.Layer):
    """A projection to a few numbers, of every token or of the first one.

    Args:
        architecture: of the encoder.
        outputs: how many numbers.
        pooled: take the first token alone, through a dense layer with activation.
        dropout: on what the projection takes, and, in a pooled RoBERTa, on the token before it.
    """

    def __init__(
        self,
        architecture: Architecture,
        outputs: int,
        pooled: bool = False,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.architecture, self.pooled = architecture, pooled
        self.transform: Any = None
        if pooled:
            self.transform = keras.layers.Dense(
                architecture.hidden_size,
                activation=_POOLED_ACTIVATION[architecture.family],
                kernel_initializer=_initializer(architecture),
                name="transform",
                dtype=self.dtype_policy,
            )
        self.output_dense = keras.layers.Dense(
            outputs,
            kernel_initializer=_initializer(architecture),
            name="output_dense",
            dtype=self.dtype_policy,
        )
        self.dropout = Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape: tuple | None = None) -> None:
        """Create the weights; they depend on the arguments alone."""
        hidden = (None, self.architecture.hidden_size)
        for layer in (self.transform, self.output_dense):
            if layer is not None:
                layer.build(hidden)

    def call(self, hidden: Tensor, training: bool = False) -> Tensor:
        """Project last hidden states, float [B, S, D], to float [B, S, C]; pooled to [B, C]."""
        if self.pooled:
            hidden = hidden[:, 0]
            if self.architecture.family == "roberta":
                hidden = self.dropout(hidden, training=training)
            hidden = self.transform(hidden)
        return self.output_dense(self.dropout(hidden, training=training))


def _initializer(architecture: Architecture) -> keras.initializers.Initializer:
    # A new one for each layer: one object gives all of them the same numbers.
    return keras.initializers.RandomNormal(stddev=architecture.initializer_range)


@keras.saving.register_keras_serializable("tf_distilbert")
class SequenceClassifier(EncoderModel):
    """A class, several classes or a number for a text or a pair of texts.

    The head of ``BertForSequenceClassification`` (with its pooler), ``RobertaFor...`` and
    ``DistilBertFor...``.

    Args:
        architecture: of the encoder.
        labels: names of the classes in the order of the logits; one for a regression.
        tokenizer: the tokenizer whose ids it was trained on.
        problem: ``single_label`` (softmax), ``multi_label`` (sigmoid) or ``regression``; by
            default a regression if there is one label.
        head_dropout: before the output, while training.

    Called as `EncoderModel` it gives logits, float [B, C].

    Raises:
        UserError: no label, two of the same name, a problem that is none of these, or a regression
            with more than one label.
    """

    task = "sequence_classification"

    def __init__(
        self,
        architecture: Architecture,
        labels: Sequence[str] = ("LABEL_0", "LABEL_1"),
        tokenizer: "Tokenizer | None" = None,
        problem: str | None = None,
        head_dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        self.labels = _checked_labels(labels)
        self.problem = problem or ("regression" if len(self.labels) == 1 else "single_label")
        if self.problem not in PROBLEMS:
            raise UserError(f"problem {problem!r}: use one of {', '.join(PROBLEMS)}")
        if self.problem == "regression" and len(self.labels) > 1:
            raise UserError(f"a regression gives one number, here are {len(self.labels)} labels")
        self.head_dropout = head_dropout
        super().__init__(architecture, tokenizer, **kwargs)

    def _make_head(self, **options: Any) -> TaskHead:
        return TaskHead(self.architecture, len(self.labels), True, self.head_dropout, **options)

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Give logits, float [B, C]."""
        return self.head(self.hidden_states(inputs, training)[-1], training=training)

    def _settings(self) -> dict[str, Any]:
        settings = ("labels", "problem", "head_dropout")
        return {name: getattr(self, name) for name in settings}


@keras.saving.register_keras_serializable("tf_distilbert")
class TokenClassifier(EncoderModel):
    """A class for every token: the head of the ``...ForTokenClassification`` classes.

    Args:
        architecture: of the encoder.
        labels: names of the classes in the order of the logits.
        tokenizer: the tokenizer whose ids it was trained on.
        head_dropout: before the output, while training.

    Called as `EncoderModel` it gives logits, float [B, S, C].

    Raises:
        UserError: no label, or two of the same name.
    """

    task = "token_classification"

    def __init__(
        self,
        architecture: Architecture,
        labels: Sequence[str] = ("LABEL_0", "LABEL_1"),
        tokenizer: "Tokenizer | None" = None,
        head_dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        self.labels, self.head_dropout = _checked_labels(labels), head_dropout
        super().__init__(architecture, tokenizer, **kwargs)

    def _make_head(self, **options: Any) -> TaskHead:
        return TaskHead(self.architecture, len(self.labels), False, self.head_dropout, **options)

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Give logits, float [B, S, C]."""
        return self.head(self.hidden_states(inputs, training)[-1], training=training)

    def _settings(self) -> dict[str, Any]:
        return {"labels": self.labels, "head_dropout": self.head_dropout}


@keras.saving.register_keras_serializable("tf_distilbert")
class QuestionAnswerer(EncoderModel):
    """Where in a text an answer starts and ends: the ``...ForQuestionAnswering`` classes.

    Args:
        architecture: of the encoder.
        tokenizer: the tokenizer whose ids it was trained on.
        head_dropout: before the output, while training.

    Called as `EncoderModel` it gives logits, float [B, S, 2]: of the start, of the end.
    """

    task = "question_answering"

    def __init__(
        self,
        architecture: Architecture,
        tokenizer: "Tokenizer | None" = None,
        head_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self.head_dropout = head_dropout
        super().__init__(architecture, tokenizer, **kwargs)

    def _make_head(self, **options: Any) -> TaskHead:
        return TaskHead(self.architecture, 2, False, self.head_dropout, **options)

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Give logits, float [B, S, 2]."""
        return self.head(self.hidden_states(inputs, training)[-1], training=training)

    def _settings(self) -> dict[str, Any]:
        return {"head_dropout": self.head_dropout}


def _checked_labels(labels: Sequence[str]) -> tuple[str, ...]:
    labels = tuple(map(str, labels))
    if not labels or len(set(labels)) < len(labels):
        raise UserError(f"labels {list(labels)}: give one or more, each with a name of its own")
    return labels
