"""The distiller: a teacher and a student in one `keras.Model`, trained with the triple loss.

    loss =  distillation_weight · KL(teacher ‖ student) at temperature T, times T²
          + mlm_weight          · cross-entropy with the masked words
          + cosine_weight       · (1 - cos) of the last hidden states
          + mse_weight          · squared distance of the logits

each a mean over the tokens of the whole batch. A term of weight 0 is not computed.

Left out on purpose: losses between inner layers, and causal language models.

Dimensions: B batch, S sequence, P prediction slots, N = B·S or B·P rows, D hidden, V vocabulary.

Source: Sanh et al. 2019, section 2; the weights 5/2/1 and T = 2 are the authors' (their issue
thread 2013), the paper does not print them.
"""

from collections.abc import Mapping

from keras import KerasTensor as Tensor
from keras import Model, ops

from tf_distilbert.errors import UserError
from tf_distilbert.keras_nlp_models import as_model
from tf_distilbert.losses import (
    cosine_loss,
    distillation_loss,
    logits_mse_loss,
    masked_lm_loss,
)
from tf_distilbert.masked_language_model import MaskedLanguageModel, gather_positions
from tf_distilbert.trainer import Batch, MaskedMeanTrainer

POSITIONS = ("all", "masked")


class Distiller(MaskedMeanTrainer):
    """Trains a student to predict what its teacher predicts.

    The teacher runs once a step without dropout and without gradient; it is no part of the
    distiller's weights and of no checkpoint. The student runs once.

    Args:
        teacher: with a trained masked-LM head, and the student's vocabulary; one of `load_model`,
            or keras-nlp's ``BertMaskedLM``, ``DistilBertMaskedLM`` or ``RobertaMaskedLM``.
        student: what is trained, in place; see `build_student`. It may be one of keras-nlp's, too.
        temperature: T > 0 of the distillation term.
        distillation_weight, mlm_weight, cosine_weight, mse_weight: of the four terms, >= 0.
        distillation_positions: ``all`` compares the predictions at every real token, as the
            reference does; ``masked`` only at the masked ones (faster: no other logits are made).
        micro_batches: into how many parts a batch is split; see `MaskedMeanTrainer`.

    Raises:
        UserError: a weight or the temperature is out of range; one of the models is no masked
            language model; teacher and student differ in vocabulary, or in hidden size while the
            cosine term is on.

    Example:
        >>> distiller = Distiller(teacher, build_student(teacher))
        >>> distiller.compile(tf_distilbert.AdamW(5e-4, clip_norm=5.0))
        >>> distiller.fit(dataset, validation_data=held_out)
    """

    def __init__(
        self,
        teacher: Model,
        student: Model,
        temperature: float = 2.0,
        distillation_weight: float = 5.0,
        mlm_weight: float = 2.0,
        cosine_weight: float = 1.0,
        mse_weight: float = 0.0,
        distillation_positions: str = "all",
        micro_batches: int = 1,
        **kwargs,
    ) -> None:
        super().__init__(micro_batches=micro_batches, **kwargs)
        weights = {
            "distillation_loss": distillation_weight,
            "mlm_loss": mlm_weight,
            "cosine_loss": cosine_weight,
            "mse_loss": mse_weight,
        }
        _check_numbers(weights, temperature, distillation_positions)
        teacher, student = as_model(teacher), as_model(student)
        _check_pair(teacher, student, weights)
        self.student = student
        # A closure: as an attribute, or behind a property, Keras would save the teacher too.
        self._teacher = lambda: teacher
        self.temperature = temperature
        self.term_weights = {name: weight for name, weight in weights.items() if weight}
        # The logits of all positions are made only for a term that compares them.
        compares = {"distillation_loss", "mse_loss"} & self.term_weights.keys()
        self._compares_all = distillation_positions == "all" and bool(compares)
        compared = "tokens" if self._compares_all else "predictions"
        averaged_over = {
            "distillation_loss": compared,
            "mlm_loss": "predictions",
            "cosine_loss": "tokens",
            "mse_loss": compared,
        }
        measures = {"mlm_accuracy": "predictions", "teacher_agreement": "predictions"}
        self.averaged_over = {name: averaged_over[name] for name in self.term_weights} | measures
        self.built = True

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Give the student's logits; see `MaskedLanguageModel`."""
        return self.student(inputs, training=training)

    def per_token(self, batch: Batch, training: bool) -> dict[str, Tensor]:
        """Compute every term and measure; see `MaskedMeanTrainer.per_token`."""
        inputs, mask_ids, _ = batch
        teacher, positions = self._teacher(), inputs["mask_positions"]
        teacher_hidden = ops.stop_gradient(teacher.hidden_states(inputs)[-1])
        student_hidden = self.student.hidden_states(inputs, training=training)[-1]
        student_logits, student_masked = self._predict(self.student, student_hidden, positions)
        teacher_logits, teacher_masked = map(
            ops.stop_gradient, self._predict(teacher, teacher_hidden, positions)
        )
        student_guess = ops.argmax(student_masked, axis=-1)
        teacher_guess = ops.argmax(teacher_masked, axis=-1)
        mask_ids = ops.cast(ops.ravel(mask_ids), student_guess.dtype)
        values = {
            "mlm_accuracy": student_guess == mask_ids,
            "teacher_agreement": student_guess == teacher_guess,
        }
        if "distillation_loss" in self.term_weights:
            values["distillation_loss"] = distillation_loss(
                student_logits, teacher_logits, self.temperature
            )
        if "mlm_loss" in self.term_weights:
            values["mlm_loss"] = masked_lm_loss(student_masked, mask_ids)
        if "cosine_loss" in self.term_weights:
            values["cosine_loss"] = ops.ravel(cosine_loss(student_hidden, teacher_hidden))
        if "mse_loss" in self.term_weights:
            values["mse_loss"] = logits_mse_loss(student_logits, teacher_logits)
        return values

    def _predict(
        self, model: MaskedLanguageModel, hidden: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Give logits where the models are compared, [N, V], and where words are masked, [B·P, V].

        The masked rows are among all rows; picking them is cheaper than predicting them again.
        """
        if not self._compares_all:
            masked = model.logits(gather_positions(hidden, positions))
            return masked, masked
        logits = model.logits(ops.reshape(hidden, (-1, hidden.shape[-1])))
        by_sequence = ops.reshape(logits, (*ops.shape(hidden)[:2], logits.shape[-1]))
        return logits, gather_positions(by_sequence, positions)


def _check_numbers(weights: Mapping[str, float], temperature: float, positions: str) -> None:
    if temperature <= 0:
        raise UserError(f"temperature is {temperature}; it must be above 0")
    negative = [name for name, weight in weights.items() if weight < 0]
    if negative:
        raise UserError(f"the weight of {negative[0]} is {weights[negative[0]]}; use 0 or more")
    if not any(weights.values()):
        raise UserError("all loss weights are 0; there is nothing to learn")
    if positions not in POSITIONS:
        raise UserError(f"distillation_positions {positions!r}: use {' or '.join(POSITIONS)}")


def _check_pair(
    teacher: MaskedLanguageModel, student: MaskedLanguageModel, weights: Mapping[str, float]
) -> None:
    ours, theirs = student.architecture, teacher.architecture
    tokenizers = [model.tokenizer for model in (teacher, student) if model.tokenizer]
    if ours.vocabulary_size != theirs.vocabulary_size or len({t.sha256 for t in tokenizers}) > 1:
        raise UserError(
            f"teacher ({theirs.vocabulary_size} tokens) and student ({ours.vocabulary_size}) have "
            "different vocabularies or tokenizers; their predictions cannot be compared"
        )
    if weights["cosine_loss"] and ours.hidden_size != theirs.hidden_size:
        raise UserError(
            f"teacher and student have hidden sizes {theirs.hidden_size} and {ours.hidden_size}; "
            "the cosine term compares hidden states: set cosine_weight to 0 or use equal sizes"
        )
