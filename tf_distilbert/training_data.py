"""What a run learns from, as its loop sees it: batches by step, figures, what they were made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tf_distilbert.data.damaged import DamagedSequences

Validate = Callable[[list[keras.callbacks.Callback]], dict[str, float]]


@dataclass(frozen=True)
class TrainingData:
    """The batches of a run are a function of a step's number, so that it can go on from any.

    Attributes:
        identity: of the content; a run does not go on with another one.
        total_steps: of the run.
        batch_size: rows in a step.
        description: of a step, for the run's first line.
        make_stream: from the first step to be made to the batches from there to the last step, in
            the form that the trainer's `fit` takes.
        describe_batch: from a step's number (from 1) to what its batch was made of, for replay.
        validate: gives the held-out figures (with ``loss``), if there is held-out data; called with
            callbacks for the evaluation.
        damaged: where sequences that cannot be read are counted.
    """

    identity: str
    total_steps: int
    batch_size: int
    description: str
    make_stream: Callable[[int], Any]
    describe_batch: Callable[[int], dict[str, Any]]
    validate: Validate | None = None
    damaged: Sequence[DamagedSequences] = ()
