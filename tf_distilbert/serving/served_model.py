"""What must be known of a model to serve it, and the model as a function of named tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tf_distilbert.backend import step
from tf_distilbert.errors import UserError
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.models.sentence_encoder import SentenceEncoder
from tf_distilbert.tokenization.tokenizer import Tokenizer

SPECIAL_TOKENS = 2
"""Tokens beside the text: its start and its end."""

Run = Callable[[Mapping[str, tf.Tensor]], tf.Tensor]
"""A model as a function of named int32 tensors; see `Service` for what it gives."""


def separators(family: str) -> int:
    """Count the tokens between the two texts of a pair: BERT's one, RoBERTa's two."""
    return 2 if family == "roberta" else 1


@dataclass(frozen=True)
class ServedModel:
    """A model's task and everything around its numbers.

    Attributes:
        task: a key of `tf_distilbert.model_files.task_config.TASK_MODELS`.
        family: ``bert``, ``distilbert`` or ``roberta``.
        tokenizer: makes the ids that it takes.
        max_length: the most tokens that it takes at once, start and end included.
        segments: whether it takes ``segment_ids``.
        labels: names of its classes; none for tasks without.
        problem: of a sequence classifier, see `SequenceClassifier`; else empty.
        prompt: of a sentence encoder, what is put before every text.
    """

    task: str
    family: str
    tokenizer: Tokenizer
    max_length: int
    segments: bool
    labels: tuple[str, ...] = ()
    problem: str = ""
    prompt: str = ""

    @classmethod
    def of(cls, model: EncoderModel, max_length: int | None = None) -> "ServedModel":
        """Describe a model.

        Args:
            model: with its tokenizer attached.
            max_length: take no more tokens at once than this.

        Raises:
            UserError: there is no tokenizer, or the model has not as many positions.
        """
        if model.tokenizer is None:
            raise UserError("the model has no tokenizer; set model.tokenizer first")
        positions, family = model.architecture.max_positions, model.architecture.family
        own, prompt = positions, ""
        if isinstance(model, SentenceEncoder):
            own, prompt = model.max_length, model.prompt()
        # Room for a token between the special ones of a pair.
        least = SPECIAL_TOKENS + separators(family) + 1
        if max_length is not None and not least <= max_length <= positions:
            raise UserError(f"--max-length is {max_length}; the model takes {least} to {positions}")
        return cls(
            task=model.task,
            family=family,
            tokenizer=model.tokenizer,
            max_length=max_length or own,
            # RoBERTa has one row of segments, so there is nothing to say.
            segments=model.architecture.num_segments > 1,
            labels=getattr(model, "labels", ()),
            problem=getattr(model, "problem", ""),
            prompt=prompt,
        )

    @property
    def input_names(self) -> tuple[str, ...]:
        """The int32 inputs, in order; all [B, S], ``mask_positions`` [B, P]."""
        names = ["token_ids", "padding_mask"]
        if self.segments:
            names.append("segment_ids")
        if self.task == "masked_lm":
            names.append("mask_positions")
        return tuple(names)

    @property
    def output_name(self) -> str:
        """The float32 output; see `Service` for its shape."""
        names = {"encoder": "last_hidden_state", "embedding": "embedding"}
        return names.get(self.task, "logits")

    def facts(self) -> dict[str, Any]:
        """Give everything but the tokenizer as JSON can write it."""
        return {
            "task": self.task,
            "family": self.family,
            "max_length": self.max_length,
            "segments": self.segments,
            "labels": list(self.labels),
            "problem": self.problem,
            "prompt": self.prompt,
        }


def model_function(model: keras.Model, served: ServedModel) -> Run:
    """Give the model as a function from token ids to its raw output.

    Rows that are longer than the model takes are cut. On another backend than TensorFlow's the
    function can be called, but not be a part of a graph.

    Args:
        model: takes a dictionary of tensors.
        served: says which.

    Returns:
        A function of int32 [B, S] (``mask_positions``: [B, P]) by the names of
        `ServedModel.input_names`; see `Service`.
    """
    most = served.max_length

    def run(inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        rows = {name: t[:, :most] for name, t in inputs.items() if name != "mask_positions"}
        if "mask_positions" in inputs:
            rows["mask_positions"] = tf.minimum(inputs["mask_positions"], most - 1)
        return step.call_on_tensors(model, rows)

    return run
