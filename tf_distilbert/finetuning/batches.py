"""What a fine-tuning learns from: the splits of a task as batches, and how they are measured."""

from functools import partial
from typing import Any

import keras

from tf_distilbert.config.training import TrainConfig, resolve_steps
from tf_distilbert.data.pipeline import distributed_dataset
from tf_distilbert.finetuning.encoding import EncodedSplit
from tf_distilbert.finetuning.predictions import Predict
from tf_distilbert.finetuning.rows import TaskBatches
from tf_distilbert.runs.batches import TrainingBatches
from tf_distilbert.training.strategy import num_replicas
from tf_distilbert.training.trainer import MaskedMeanTrainer


def task_batches(
    trainer: MaskedMeanTrainer,
    predict: Predict,
    train: EncodedSplit,
    held_out: EncodedSplit,
    config: TrainConfig,
) -> TrainingBatches:
    """Make batches of a split, shared by the devices of a trainer.

    Args:
        trainer: whose strategy shares the batches.
        predict: with the model that is trained, which is measured.
        train: what is learnt from.
        held_out: what is measured on.
        config: how long and how to train.
    """
    batches = TaskBatches(train.rows, config.global_batch_size, config.seed)
    tokens = train.rows.num_tokens
    # The last batch of an epoch counts in full, as `resolve_steps` has it.
    rows = batches.steps_per_epoch * config.global_batch_size
    steps_of = partial(resolve_steps, num_sequences=rows, num_tokens=tokens)
    total_steps = steps_of(config)

    def make_stream(first_step: int) -> Any:
        return distributed_dataset(
            trainer.strategy,
            lambda num_parts, parts: batches.stream(first_step, total_steps, num_parts, parts),
        )

    def describe_batch(step: int) -> dict[str, Any]:
        return {"rows": batches.indices(step - 1).tolist()}

    average = config.global_batch_size * tokens / len(train.rows)
    return TrainingBatches(
        identity=train.rows.identity,
        total_steps=total_steps,
        steps_of=steps_of,
        batch_size=config.global_batch_size,
        description=f"{config.global_batch_size} rows, about {average:,.0f} tokens each",
        make_stream=make_stream,
        describe_batch=describe_batch,
        validate=_validation(trainer, predict, held_out, config),
    )


def _validation(
    trainer: MaskedMeanTrainer, predict: Predict, held_out: EncodedSplit, config: TrainConfig
) -> Any:
    batch_size = config.validation_batch_size * num_replicas(trainer.strategy)
    batches = TaskBatches(held_out.rows, batch_size, seed=None)
    steps = batches.steps_per_epoch
    stream = distributed_dataset(
        trainer.strategy,
        lambda num_parts, parts: batches.stream(0, steps, num_parts, parts),
    )

    def validate(callbacks: list[keras.callbacks.Callback]) -> dict[str, float]:
        metrics = trainer.evaluate(
            stream, steps=steps, callbacks=callbacks, verbose=0, return_dict=True
        )
        if getattr(trainer, "stop_evaluating", False):
            return metrics
        return metrics | predict(held_out, batch_size, None).scores()

    return validate
