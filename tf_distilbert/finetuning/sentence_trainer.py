"""Trains a sentence encoder on pairs with scores, or on queries with their passages.

    loss = the objective of the vectors of a batch's texts, a mean over the rows

Dimensions: B rows of a batch, T texts of a row, S sequence, E the vector.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import KerasTensor as Tensor
from keras import ops

from tf_distilbert.errors import UserError
from tf_distilbert.losses.per_token import masked_mean
from tf_distilbert.losses.sentence_pairs import OBJECTIVES, OF_THE_WHOLE_BATCH, matryoshka_loss
from tf_distilbert.models.sentence_encoder import SentenceEncoder
from tf_distilbert.training.batch import Batch
from tf_distilbert.training.strategy import num_replicas
from tf_distilbert.training.trainer import MaskedMeanTrainer


class SentenceTrainer(MaskedMeanTrainer):
    """Trains a `SentenceEncoder` in place.

    A batch is ``(inputs, targets, weights)``, as `SentenceRows` makes it: the model's inputs for
    the T texts of the first row, then of the second, and so on, [B·T, S] each; what the objective
    takes, [B] or [B, T]; and what each row counts, 1 or 0, [B].

    Args:
        model: what is trained.
        objective: a key of `OBJECTIVES`.
        matryoshka: sizes of the vectors' beginnings that are to stand for the whole, each in 1..E;
            None: the whole alone.
        micro_batches: into how many parts a batch is split; see `MaskedMeanTrainer`.
        **kwargs: `seed` (of dropout) and `name`; see there.

    Raises:
        UserError: a size is out of range or there twice; or the objective is of the whole batch,
            which micro-batches or replicas would share.

    Source: Reimers and Gurevych 2019, section 3; of the objectives, see `sentence_pairs`.

    Example:
        >>> trainer = SentenceTrainer(model, "in_batch_negatives")
        >>> trainer.compile(tf_distilbert.AdamW(2e-5, weight_decay=0.01, clip_norm=1.0))
    """

    def __init__(
        self,
        model: SentenceEncoder,
        objective: str,
        matryoshka: Sequence[int] | None = None,
        micro_batches: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(micro_batches=micro_batches, **kwargs)
        size = model.embedding_size
        self.sizes = [size] if matryoshka is None else list(matryoshka)
        if not self.sizes or len({*self.sizes} & {*range(1, size + 1)}) < len(self.sizes):
            raise UserError(
                f"loss.matryoshka is {self.sizes}; give different sizes from 1 to {size}, the "
                "numbers of the model's vector"
            )
        if objective in OF_THE_WHOLE_BATCH:
            _check_whole_batch(objective, micro_batches, num_replicas(self.strategy))
        self.model, self.objective = model, OBJECTIVES[objective]
        self.loss_weights = {"task_loss": 1.0}
        self.token_counts = {"task_loss": "predictions"}
        self.input_names = ["token_ids", "padding_mask"]
        self.built = True

    def readers(self) -> Sequence[keras.Model]:
        """Give the model."""
        return [self.model]

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Give the texts' vectors."""
        return self.model(inputs, training=training)

    def loss_and_metrics(
        self, batch: Batch, token_weights: Mapping[str, Tensor], training: bool
    ) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
        """Compute the objective; see `MaskedMeanTrainer.loss_and_metrics`."""
        inputs, targets, weights = batch
        weights = ops.cast(weights, "float32")
        vectors = ops.cast(self.model(inputs, training=training), "float32")
        vectors = ops.reshape(vectors, (ops.shape(weights)[0], -1, self.model.embedding_size))
        values = matryoshka_loss(self.objective, vectors, targets, weights, self.sizes)
        loss = token_weights["task_loss"] * masked_mean(values, weights, count=1.0)
        return loss, {"task_loss": (values, weights)}


def _check_whole_batch(objective: str, micro_batches: int, replicas: int) -> None:
    what = f"the loss {objective.replace('_', ' ')}"
    if micro_batches > 1:
        raise UserError(
            f"{what} compares all rows of a batch with each other, which micro-batches do not "
            "see together; leave train.micro_batch_size out, and lower train.global_batch_size"
        )
    if replicas > 1:
        raise UserError(
            f"{what} compares all rows of a batch with each other, which {replicas} replicas "
            "do not see together; train on one device, train.strategy=one"
        )
