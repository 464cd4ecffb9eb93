"""Size, speed and held-out metrics of models, as the retention table gives them."""

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tf_distilbert.backend import step
from tf_distilbert.model_files.folder import load_task_model
from tf_distilbert.model_files.provenance import read_provenance
from tf_distilbert.models.encoder_model import EncoderModel

LENGTH = 128
"""Tokens of the text whose latency is measured."""

HELD_OUT = (
    *("mlm_loss", "mlm_accuracy", "teacher_agreement"),
    *("distillation_loss", "cosine_loss", "relation_loss", "hidden_loss"),
)
"""The metrics on held-out text that a table shows; see `Distiller`."""


def measure_models(models: Mapping[str, str], rounds: int = 15) -> dict[str, dict[str, float]]:
    """Count the parameters of encoders, and time them in turns.

    Args:
        models: name to folder.
        rounds: how often each is timed.

    Returns:
        Name to ``parameters`` (of the encoder, without a head), ``vocabulary`` (its tokens) and
        ``milliseconds``: the median time of one text of `LENGTH` tokens.
    """
    encoders = {name: load_task_model(folder, "encoder") for name, folder in models.items()}
    times = time_in_turns({name: _run_of(model) for name, model in encoders.items()}, rounds)
    return {
        name: {
            "parameters": encoder.count_params(),
            "vocabulary": encoder.architecture.vocabulary_size,
            "milliseconds": times[name],
        }
        for name, encoder in encoders.items()
    }


def time_in_turns(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Time functions, one call of each a round, so that a busy moment of the machine hits all.

    Args:
        runs: by name. Each is called twice more at first, when it may compile.
        rounds: that are timed.

    Returns:
        Name to the median time of a call in milliseconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 2):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            found = time.perf_counter() - start
            if turn >= 2:  # the first ones compile
                seconds[name].append(found)
    return {name: 1000 * statistics.median(found) for name, found in seconds.items()}


def held_out_metrics(path: str) -> dict[str, float]:
    """Give what a model's own run measured last on held-out text.

    Args:
        path: of the model.

    Returns:
        Those of `HELD_OUT` that there are; nothing of a model that came from elsewhere.
    """
    found = read_provenance(Path(path)).get("validation", {})
    return {name: found[name] for name in HELD_OUT if name in found}


def _run_of(encoder: EncoderModel) -> Callable[[], np.ndarray]:
    length = min(LENGTH, encoder.architecture.max_positions)
    inputs = {
        "token_ids": np.full((1, length), 7, np.int32),
        "padding_mask": np.ones((1, length), bool),
    }
    forward = step.forward_pass(encoder)
    return lambda: np.asarray(forward(inputs))
