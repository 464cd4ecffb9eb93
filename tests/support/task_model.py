"""Tiny models with the heads of downstream tasks."""

import numpy as np

from support import tiny
from tf_distilbert.model_files.task_config import TASK_MODELS

LABELS = ("bad", "so so", "good")


def task_model(task, family="distilbert", **settings):
    """A tiny model whose weights are all random."""
    if task in ("sequence_classification", "token_classification"):
        settings.setdefault("labels", LABELS)
    sizes = {"num_segments": 0} if family == "distilbert" else {}
    tokenizer = tiny.tokenizer()
    if family == "roberta":
        tokenizer = tiny.byte_pair_tokenizer()
        sizes = {"num_segments": 1, "reserved_positions": 2, "layer_norm_epsilon": 1e-5}
        sizes["vocabulary_size"] = len(tokenizer.vocabulary)
    architecture = tiny.architecture(family=family, num_layers=2, **sizes)
    model = TASK_MODELS[task](architecture, tokenizer=tokenizer, **settings)
    generator = np.random.default_rng(0)
    for variable in model.trainable_variables:
        noise = 0.2 * generator.standard_normal(variable.shape)
        variable.assign(noise + (variable.name == "gamma"))
    return model
