"""What a run learns from, as its loop sees it: batches by step, and how they are measured."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_distilbert.config.jobs import DistillConfig, PretrainConfig
from tf_distilbert.config.training import TrainConfig, resolve_steps
from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.data.pipeline import (
    distributed_dataset,
    evaluation_dataset,
    masked_lm_dataset,
    visiting_order,
)
from tf_distilbert.data.records import Records
from tf_distilbert.data.row_packing import PackedRecords
from tf_distilbert.data.shard_files import DamagedSequences
from tf_distilbert.training.strategy import num_replicas
from tf_distilbert.training.trainer import MaskedMeanTrainer

_AS_IT_IS = {"rate": 0.0}  # text in which no word is hidden

Validate = Callable[[list[keras.callbacks.Callback]], dict[str, float]]


@dataclass(frozen=True)
class TrainingBatches:
    """The batches of a run are a function of a step's number, so that it can go on from any.

    Attributes:
        identity: of the content; a run does not go on with another one.
        total_steps: of the run.
        steps_of: from other settings to the steps that they make of this content; what a run was to
            have before it was made longer.
        batch_size: rows in a step.
        description: of a step, for the run's first line.
        make_stream: from the first step to be made to the batches from there to the last step, in
            the form that the trainer's `fit` takes.
        describe_batch: from a step's number (from 1) to what its batch was made of, for replay.
        validate: gives the held-out metrics (with ``loss``), if there is held-out data; called with
            callbacks for the evaluation.
        damaged: where sequences that cannot be read are counted.
    """

    identity: str
    total_steps: int
    steps_of: Callable[[TrainConfig], int]
    batch_size: int
    description: str
    make_stream: Callable[[int], Any]
    describe_batch: Callable[[int], dict[str, Any]]
    validate: Validate | None = None
    damaged: Sequence[DamagedSequences] = ()


def masked_lm_batches(
    trainer: MaskedMeanTrainer,
    records: Records,
    held_out: Records | None,
    config: DistillConfig | PretrainConfig,
    vectors: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
) -> TrainingBatches:
    """Make masked batches of records, shared by the devices of a trainer.

    Args:
        trainer: whose strategy shares the batches, and which measures what is held out.
        records, held_out: what is learnt from, and what is measured on, if anything.
        config: of the run.
        vectors: the teacher's of both, if they come along; see `teacher_vectors`.
    """
    train, strategy = config.train, trainer.strategy
    masking = asdict(config.data.masking) | ({} if _predicts(trainer) else _AS_IT_IS)
    masker = TokenMasker.for_records(records, seed=train.seed, **masking)
    damaged = [records.damaged, *([held_out.damaged] if held_out else [])]
    rows = PackedRecords(records) if config.data.packing else records
    steps_of = partial(resolve_steps, num_sequences=rows.num_sequences, num_tokens=rows.num_tokens)
    total_steps = steps_of(train)

    def make_stream(first_step: int) -> Any:
        make = partial(
            masked_lm_dataset,
            rows,
            masker,
            train.global_batch_size,
            seed=train.seed,
            first_step=first_step,
            num_steps=total_steps - first_step,
            vectors=vectors[0],
        )
        return distributed_dataset(strategy, lambda n, parts: make(num_parts=n, parts=parts))

    tokens = train.global_batch_size * rows.num_tokens / rows.num_sequences
    return TrainingBatches(
        identity=rows.identity,
        total_steps=total_steps,
        steps_of=steps_of,
        batch_size=train.global_batch_size,
        description=f"{train.global_batch_size} sequences, about {tokens:,.0f} tokens each",
        make_stream=make_stream,
        describe_batch=partial(_describe_batch, rows, train),
        validate=_validation(trainer, held_out, train, vectors[1]) if held_out else None,
        damaged=damaged,
    )


def _predicts(trainer: MaskedMeanTrainer) -> bool:
    """Whether any metric is a mean over predictions: else no word is to be hidden."""
    return "predictions" in trainer.token_counts.values()


def _validation(
    trainer: MaskedMeanTrainer,
    held_out: Records,
    config: TrainConfig,
    vectors: np.ndarray | None,
) -> Validate:
    batch_size = config.validation_batch_size * num_replicas(trainer.strategy)
    # Masked as an evaluation masks, whatever training does: metrics of all runs compare.
    masking = {} if _predicts(trainer) else _AS_IT_IS
    masker = TokenMasker.for_records(held_out, **masking)
    make = partial(evaluation_dataset, held_out, masker, batch_size, vectors=vectors)
    batches = distributed_dataset(trainer.strategy, lambda n, parts: make(num_parts=n, parts=parts))
    steps = -(-len(held_out) // batch_size)
    return lambda callbacks: trainer.evaluate(
        batches, steps=steps, callbacks=callbacks, verbose=0, return_dict=True
    )


def _describe_batch(
    records: Records | PackedRecords, config: TrainConfig, step: int
) -> dict[str, Any]:
    first = (step - 1) * config.global_batch_size
    places = tf.range(first, first + config.global_batch_size, dtype=tf.int64)
    epochs, indices = visiting_order(places, len(records), config.seed)
    return {"epochs": epochs.numpy().tolist(), "indices": indices.numpy().tolist()}
