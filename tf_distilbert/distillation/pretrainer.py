"""Masked language modelling alone: how a teacher is made from scratch."""

from collections.abc import Mapping, Sequence
from typing import Any

from keras import KerasTensor as Tensor
from keras import Model, ops

from tf_distilbert.losses.per_token import masked_lm_loss, masked_mean
from tf_distilbert.models.masked_language_model import MaskedLanguageModel, gather_positions
from tf_distilbert.training.batch import Batch
from tf_distilbert.training.trainer import MaskedMeanTrainer


class MaskedLMPretrainer(MaskedMeanTrainer):
    """Trains a model to predict masked words.

    Args:
        model: what is trained; one of ours, or of keras-nlp's masked language models.
        micro_batches: into how many parts a batch is split; see `MaskedMeanTrainer`.
        **kwargs: `seed` (of dropout) and `name`; see there.

    Source: Devlin et al. 2019, section 3.1, without next-sentence prediction (Liu et al. 2019).
    """

    loss_weights = {"mlm_loss": 1.0}
    token_counts = {"mlm_loss": "predictions", "mlm_accuracy": "predictions"}

    def __init__(self, model: Model, micro_batches: int = 1, **kwargs: Any) -> None:
        super().__init__(micro_batches=micro_batches, **kwargs)
        self.model = as_masked_lm(model)
        self.built = True

    def readers(self) -> Sequence[Model]:
        """Give the model."""
        return [self.model]

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Give the model's logits; see `MaskedLanguageModel`."""
        return self.model(inputs, training=training)

    def loss_and_metrics(
        self, batch: Batch, token_weights: Mapping[str, Tensor], training: bool
    ) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
        """Compute loss and accuracy; see `MaskedMeanTrainer.loss_and_metrics`."""
        inputs, mask_ids, mask_weights = batch
        hidden = self.model.hidden_states(inputs, training=training)[-1]
        logits = self.model.logits(gather_positions(hidden, inputs["mask_positions"]))
        prediction = ops.argmax(logits, axis=-1)
        mask_ids, counts = ops.cast(ops.ravel(mask_ids), prediction.dtype), ops.ravel(mask_weights)
        losses = masked_lm_loss(logits, mask_ids)
        loss = token_weights["mlm_loss"] * masked_mean(losses, counts, count=1.0)
        is_right = prediction == mask_ids
        return loss, {"mlm_loss": (losses, counts), "mlm_accuracy": (is_right, counts)}


def as_masked_lm(model: Model) -> MaskedLanguageModel:
    """Take a model of keras-nlp's as one of ours; what is one already needs no TensorFlow.

    Raises:
        UserError: it is no masked language model.
    """
    if isinstance(model, MaskedLanguageModel):
        return model
    from tf_distilbert.model_files.keras_nlp_models import as_model

    return as_model(model)
