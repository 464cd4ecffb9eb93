"""What all services have in common: a model to run, texts to cut up, windows to run it on."""

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, ClassVar, Self

import tensorflow as tf

from tf_distilbert.errors import UserError
from tf_distilbert.serving.served_model import SPECIAL_TOKENS, Run, ServedModel

LONG_TEXTS = ("cut", "window")

WINDOWS_AT_ONCE = 16
"""How many windows go through the model together where their number has no limit."""


class Service:
    """Answers texts with a model.

    Args:
        model: what must be known of the model.
        run: the model: takes the int32 tensors of `ServedModel.input_names` by name and gives one
            float32 tensor: of a masked language model logits [B, P, V], of a sequence classifier
            logits [B, C], of a token classifier [B, S, C], of a question answerer [B, S, 2], of
            an encoder the last hidden states [B, S, D], of a sentence encoder vectors [B, E].
        long_texts: what becomes of texts that are longer than the model takes: ``cut``, or
            ``window``: all of it is read, in windows that overlap by a quarter.

    Raises:
        UserError: `long_texts` is neither.

    Attributes:
        signatures: for each way to ask, the names of its texts.
    """

    signatures: ClassVar[dict[str, tuple[str, ...]]] = {"serving_default": ("text",)}

    def __init__(
        self,
        model: ServedModel,
        run: Run,
        long_texts: str = "cut",
    ) -> None:
        if long_texts not in LONG_TEXTS:
            raise UserError(f"--long-texts {long_texts!r}: use one of {', '.join(LONG_TEXTS)}")
        self.model, self.run = model, run
        self.long_texts = long_texts
        self.overlap = None
        if long_texts == "window":
            self.overlap = (model.max_length - SPECIAL_TOKENS) // 4

    def with_run(self, run: Run) -> Self:
        """Give the same service with another model to run."""
        other = copy(self)
        other.run = run
        return other

    def answer(self, *args: Any, **texts: Any) -> dict[str, tf.Tensor]:
        """Answer a batch.

        Args:
            texts: string [B] by the names of one of the signatures.

        Returns:
            Tensors by name; the first dimension of each is B.
        """
        raise AssertionError("a subclass knows its answers")

    def run_windows(
        self, inputs: Mapping[str, tf.Tensor], reduce: Callable[[tf.Tensor], tuple] | None = None
    ) -> tuple[tf.Tensor, ...]:
        """Run the model on all windows.

        Where their number has no limit, or the output is so large that it is reduced at once, it
        is some at a time, so that memory stays bounded.

        Args:
            inputs: int32 [W, ...] by name.
            reduce: makes of the model's output what is kept: tensors whose first dimension is
                W; by default the output itself.

        Returns:
            What `reduce` gives, of all windows.
        """
        if self.overlap is None and reduce is None:
            return (self.run(inputs),)

        def part(turn: tf.Tensor) -> tuple[tf.Tensor, ...]:
            begin = turn * WINDOWS_AT_ONCE
            logits = self.run({n: t[begin : begin + WINDOWS_AT_ONCE] for n, t in inputs.items()})
            return reduce(logits) if reduce else (logits,)

        def step(turn: tf.Tensor, kept: tuple) -> tuple:
            parts = zip(kept, part(turn), strict=True)
            return turn + 1, tuple(array.write(turn, values) for array, values in parts)

        turns = -(-tf.shape(inputs["token_ids"])[0] // WINDOWS_AT_ONCE)
        # The first one in any case: it says what the others will look like.
        kept = tuple(_array_beginning_with(values, turns) for values in part(tf.constant(0)))
        _, kept = tf.while_loop(
            lambda turn, _: turn < turns, step, (tf.constant(1), kept), parallel_iterations=1
        )
        return tuple(array.concat() for array in kept)


def _array_beginning_with(values: tf.Tensor, turns: tf.Tensor) -> tf.TensorArray:
    shape = [None, *values.shape[1:]]
    size = tf.maximum(turns, 1)
    return tf.TensorArray(values.dtype, size, infer_shape=False, element_shape=shape).write(
        0, values
    )


def mean_by_text(values: tf.Tensor, texts: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Average what the windows of each text gave: float [W, ...] and int32 [W] to [count, ...]."""
    return tf.math.unsorted_segment_mean(values, texts, count)
