"""Trains a model on a task, by itself or with a teacher that has learnt the task.

    loss = task_weight         · loss of the labels
         + distillation_weight · divergence from the teacher's softened output, times T²
         + hidden_weight       · squared distance of hidden states, layer by layer

each a mean over the batch's examples (tokens, for a token classification and hidden states). A term
of weight 0 is not computed.

Dimensions: B batch, S sequence, C labels, N = B examples or B·S tokens.

Source: Sanh et al. 2019, section 3 (the second step of distillation, on SQuAD). The reference's
script lets padding and the question take part in the teacher's distribution over the places of an
answer; here they have no share.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import KerasTensor as Tensor
from keras import ops

from tf_distilbert.distillation.layer_pairs import HiddenStateComparison
from tf_distilbert.errors import UserError
from tf_distilbert.losses.per_token import distillation_loss, masked_lm_loss, masked_mean
from tf_distilbert.models.task_models import QuestionAnswerer, SequenceClassifier, TokenClassifier
from tf_distilbert.training.batch import Batch
from tf_distilbert.training.trainer import MaskedMeanTrainer

# Where an answer cannot be; exp() of it is 0, and it is finite in float32.
_NO_PLACE = -1e9


class TaskTrainer(MaskedMeanTrainer):
    """Trains a `SequenceClassifier`, `TokenClassifier` or `QuestionAnswerer` in place.

    A batch is ``(inputs, targets, weights)``, as `TaskRows` makes it: the model's inputs (for
    questions also ``answer_mask``, bool [B, S], where an answer may be); class numbers int32 [B] or
    [B, S], scores float32 [B], or the first and last token of the answer int32 [B, 2]; and what
    each example, or token, counts: 1, 0 or a fraction.

    Args:
        model: what is trained.
        teacher: a model of the same kind and labels, whose output it learns from; None for none.
        temperature: T > 0 of the teacher's and the model's output. A regression has none.
        task_weight, distillation_weight, hidden_weight: of the three terms, >= 0; without a teacher
            the labels alone count.
        hidden_layers: pairs ``[teacher, model]`` of layers, from 0, whose outputs are compared;
            see `HiddenStateComparison`, which has the default, and projections where widths differ.
        micro_batches: into how many parts a batch is split; see `MaskedMeanTrainer`.
        **kwargs: `seed` (of dropout) and `name`; see there.

    Raises:
        UserError: a weight is out of range, or teacher and model do not fit each other.

    Source: Devlin et al. 2019, section 4; with a teacher Sanh et al. 2019, section 3.

    Example:
        >>> trainer = TaskTrainer(model, teacher)
        >>> trainer.compile(tf_distilbert.AdamW(3e-5, weight_decay=0.01, clip_norm=1.0))
    """

    def __init__(
        self,
        model: keras.Model,
        teacher: keras.Model | None = None,
        temperature: float = 2.0,
        task_weight: float = 0.5,
        distillation_weight: float = 0.5,
        hidden_weight: float = 0.0,
        hidden_layers: Sequence[Sequence[int]] | None = None,
        micro_batches: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(micro_batches=micro_batches, **kwargs)
        weights = {"task_loss": 1.0}
        if teacher is not None:
            weights = {
                "task_loss": task_weight,
                "distillation_loss": distillation_weight,
                "hidden_loss": hidden_weight,
            }
            _check_numbers(weights, temperature)
            _check_pair(model, teacher)
            teacher = teacher.as_teacher()
        if getattr(model, "problem", None) == "multi_label":
            raise UserError("a model of several labels a text cannot be fine-tuned; use one label")
        self.model = model
        # A closure: as an attribute, or behind a property, Keras would save the teacher too.
        self._teacher: Callable[[], Any] = lambda: teacher
        self.temperature = temperature
        self.loss_weights = {name: weight for name, weight in weights.items() if weight}
        self.token_counts = dict.fromkeys(self.loss_weights, "predictions")
        if "hidden_loss" in self.loss_weights:
            assert teacher is not None  # without one the labels alone count
            self.token_counts["hidden_loss"] = "tokens"
            with self.scope():
                self.hidden_states = HiddenStateComparison(
                    teacher.architecture,
                    model.architecture,
                    hidden_layers,
                    dtype=model.dtype_policy,
                )
        self._has_classes = not isinstance(model, QuestionAnswerer) and (
            getattr(model, "problem", "single_label") == "single_label"
        )
        if self._has_classes:
            self.token_counts["accuracy"] = "predictions"
        self.input_names = ["token_ids", "padding_mask"]
        if isinstance(model, QuestionAnswerer):
            self.input_names.append("answer_mask")
        self.built = True

    def readers(self) -> Sequence[keras.Model]:
        """Give the model, and the teacher, if there is one."""
        return [model for model in (self.model, self._teacher()) if model is not None]

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Give the model's logits."""
        return self.model(inputs, training=training)

    def loss_and_metrics(
        self, batch: Batch, token_weights: Mapping[str, Tensor], training: bool
    ) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
        """Compute every term and measure; see `MaskedMeanTrainer.loss_and_metrics`."""
        inputs, targets, weights = batch
        counts = ops.cast(ops.ravel(weights), "float32")
        hidden = self.model.hidden_states(inputs, training=training)
        logits = self._logits(self.model, hidden, inputs, training)
        metrics = {}
        if "task_loss" in token_weights:
            metrics["task_loss"] = self._label_loss(logits, targets), counts
        if token_weights.keys() & {"distillation_loss", "hidden_loss"}:
            teacher_hidden = list(map(ops.stop_gradient, self._teacher().hidden_states(inputs)))
        if "distillation_loss" in token_weights:
            of_teacher = self._logits(self._teacher(), teacher_hidden, inputs, False)
            metrics["distillation_loss"] = self._divergence(logits, of_teacher), counts
        if "hidden_loss" in token_weights:
            values = self.hidden_states(hidden, teacher_hidden, inputs["padding_mask"])
            metrics["hidden_loss"] = ops.ravel(values), ops.ravel(inputs["padding_mask"])
        if self._has_classes:
            prediction = ops.argmax(logits, axis=-1)
            is_right = prediction == ops.cast(ops.ravel(targets), prediction.dtype)
            metrics["accuracy"] = is_right, counts
        terms = {name: metrics[name] for name in token_weights}
        loss = sum(
            token_weights[name] * masked_mean(*term, count=1.0) for name, term in terms.items()
        )
        return loss, metrics

    def _logits(
        self,
        model: keras.Model,
        hidden: Sequence[Tensor],
        inputs: Mapping[str, Tensor],
        training: bool,
    ) -> Tensor:
        """Give logits, float32 [N, C]; of questions the start's and the end's, [B, 2, S]."""
        logits = _float32(model.head(hidden[-1], training=training))
        if isinstance(model, QuestionAnswerer):
            possible = ops.cast(inputs["answer_mask"], "bool")[:, None, :]
            return ops.where(possible, ops.transpose(logits, (0, 2, 1)), _NO_PLACE)
        return ops.reshape(logits, (-1, logits.shape[-1]))

    def _label_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        if isinstance(self.model, QuestionAnswerer):
            return ops.mean(masked_lm_loss(logits, targets), axis=-1)
        if self._has_classes:
            return masked_lm_loss(logits, ops.ravel(targets))
        return ops.square(logits[:, 0] - _float32(targets))

    def _divergence(self, logits: Tensor, of_teacher: Tensor) -> Tensor:
        if isinstance(self.model, QuestionAnswerer):
            return ops.mean(distillation_loss(logits, of_teacher, self.temperature), axis=-1)
        if self._has_classes:
            return distillation_loss(logits, of_teacher, self.temperature)
        return ops.square(logits[:, 0] - of_teacher[:, 0])


def _float32(values: Tensor) -> Tensor:
    return ops.cast(values, "float32")


def _check_numbers(weights: Mapping[str, float], temperature: float) -> None:
    if temperature <= 0:
        raise UserError(f"loss.temperature is {temperature}; it must be above 0")
    negative = [name for name, weight in weights.items() if weight < 0]
    if negative:
        raise UserError(f"the weight of {negative[0]} is {weights[negative[0]]}; use 0 or more")
    if not any(weights.values()):
        raise UserError("all loss weights are 0; there is nothing to learn")


def _check_pair(model: keras.Model, teacher: keras.Model) -> None:
    if model.task != teacher.task:
        raise UserError(
            f"the teacher is a model for {teacher.task}, the student is one for {model.task}; "
            "fine-tune the teacher on the same task first"
        )
    if isinstance(model, (SequenceClassifier, TokenClassifier)) and model.labels != teacher.labels:
        raise UserError(
            f"the teacher knows the labels {', '.join(teacher.labels)}, the student "
            f"{', '.join(model.labels)}; fine-tune the teacher on the same data first"
        )
    tokenizers = {m.tokenizer.sha256 for m in (model, teacher) if m.tokenizer}
    if len(tokenizers) > 1:
        raise UserError(
            "teacher and student have different vocabularies or tokenizers; they cannot read the "
            "same tokens"
        )
