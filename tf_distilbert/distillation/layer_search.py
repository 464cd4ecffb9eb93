"""Which of a teacher's layers a student starts from, found by trying.

A student that starts from some of its teacher's layers can be tried before it exists: the teacher
runs with these layers alone. What is measured is how near that is to the whole teacher, in what it
predicts and in its last hidden states: the one alone prefers low layers, which predict words and
are of little use for tasks, the other high ones (docs/quality.md). Of a model that predicts no
words it is the hidden states alone, of a sentence encoder its vectors.

Dimensions: B batch, S sequence, P prediction slots, D hidden, L layers.

Source: the idea of measuring which layers to keep, Sajjad et al. 2023, "On the effect of dropping
layers of pre-trained transformer models"; the measure and the search are this project's.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from keras import KerasTensor as Tensor
from keras import ops

from tf_distilbert.losses.per_token import cosine_loss, masked_mean
from tf_distilbert.models.encoder import seen_keys
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.models.masked_language_model import MaskedLanguageModel, gather_positions
from tf_distilbert.models.sentence_encoder import SentenceEncoder
from tf_distilbert.training.batch import real_texts

MOST_TRIALS = 64
"""How many maps are tried."""

SEQUENCES = 64
"""On how many sequences, roughly: those of whole batches."""

MARGIN = 0.02
"""A map whose score is higher by less is not known to be better: of about a thousand masked words,
as 64 sequences of 128 tokens have, an agreement is known to about so much."""


@dataclass(frozen=True)
class Trial:
    """A map that was tried.

    Attributes:
        layers: the teacher's layers, from 0, in order.
        agreement: share of masked tokens at which the top answer is the whole teacher's; None of a
            model without a masked-LM head.
        cosine_loss: mean of 1 - cos of the last hidden states, over real tokens; of a sentence
            encoder of its vectors, over texts.
    """

    layers: tuple[int, ...]
    agreement: float | None
    cosine_loss: float

    @property
    def score(self) -> float:
        """What is compared: higher is better."""
        return (self.agreement or 0.0) - self.cosine_loss


def search_layers(
    teacher: EncoderModel,
    num_layers: int,
    start: Sequence[int],
    sample: Iterable[Any],
    most_trials: int = MOST_TRIALS,
) -> list[Trial]:
    """Try maps of layers on some text.

    All maps in ascending order are tried if there are no more than the most. Otherwise, from a
    first one on, those that have one other layer than the best so far: first of the next layer,
    then, if none of them is better, of the one after it, and so on, until none is better at all or
    the most are tried.

    Args:
        teacher: whose layers they are.
        num_layers: of the student.
        start: the first map, which is kept unless another one is better by `MARGIN`.
        sample: batches of `masked_lm_dataset`, of which the first `SEQUENCES` are read.
        most_trials: how many maps are tried.

    Returns:
        What was tried: the map to take first, then the others, the best ones first.
    """
    measure = _measure(teacher, _first(sample, SEQUENCES))
    depth = teacher.architecture.num_layers
    tried: dict[tuple[int, ...], Trial] = {}
    if comb(depth, num_layers) <= most_trials:
        for layers in combinations(range(depth), num_layers):
            tried[layers] = measure(layers)
    else:
        best = tuple(start)
        tried[best] = measure(best)
        distance = 1
        while distance < depth and len(tried) < most_trials:
            for layers in _neighbours(best, depth, distance):
                if layers not in tried and len(tried) < most_trials:
                    tried[layers] = measure(layers)
            top = max(tried.values(), key=lambda trial: trial.score).layers
            best, distance = top, 1 if top != best else distance + 1
    found = sorted(tried.values(), key=lambda trial: -trial.score)
    first = tried.get(tuple(start))
    if first and found[0].score < first.score + MARGIN:
        found.remove(first)
        found.insert(0, first)
    return found


def _first(sample: Iterable[Any], sequences: int) -> list[Any]:
    batches: list[Any] = []
    for batch in sample:
        if sum(len(targets) for _, targets, _ in batches) >= sequences:
            break
        batches.append(batch)
    return batches


def _neighbours(layers: tuple[int, ...], depth: int, distance: int) -> list[tuple[int, ...]]:
    """List the maps that have one other layer, so many layers away."""
    found = set()
    for i, layer in enumerate(layers):
        for other in (layer - distance, layer + distance):
            if 0 <= other < depth and other not in layers:
                found.add(tuple(sorted((*layers[:i], other, *layers[i + 1 :]))))
    return sorted(found)


def _measure(teacher: EncoderModel, batches: Sequence[Any]) -> Callable[[tuple[int, ...]], Trial]:
    """Make the function that tries a map."""
    predicts = isinstance(teacher, MaskedLanguageModel)
    expected = []
    for inputs, _, _ in batches:
        embedded, *_, last = teacher.hidden_states(inputs)
        top = _top_answers(teacher, last, inputs) if predicts else None
        expected.append((embedded, last, top))

    def measure(layers: tuple[int, ...]) -> Trial:
        hits = masked = distance = count = 0.0
        for (inputs, _, weights), (embedded, last, top) in zip(batches, expected, strict=True):
            found = _run(teacher, layers, embedded, inputs)
            if predicts:
                counts = np.ravel(weights).astype("float32")
                hits += float(counts @ (_top_answers(teacher, found, inputs) == top))
                masked += float(counts.sum())
            values, real = _distances(teacher, found, last, inputs["padding_mask"])
            distance += float(masked_mean(values, real, count=1.0))
            count += float(ops.sum(real))
        agreement = hits / max(masked, 1.0) if predicts else None
        return Trial(layers, agreement, distance / count)

    return measure


def _distances(
    teacher: EncoderModel, found: Tensor, last: Tensor, padding_mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Compare hidden states, of a sentence encoder vectors; and say which of them count."""
    if isinstance(teacher, SentenceEncoder):
        vectors = (teacher.embed(hidden, padding_mask) for hidden in (found, last))
        return cosine_loss(*vectors), real_texts(padding_mask)
    return cosine_loss(found, last), ops.cast(padding_mask, "float32")


def _run(teacher: EncoderModel, layers: Sequence[int], embedded: Tensor, inputs: Any) -> Tensor:
    """Run some of the layers on embeddings: last hidden states, float [B, S, D]."""
    seen = seen_keys(inputs["padding_mask"], inputs.get("sequence_ids"))
    length = embedded.shape[1]
    tokens = ops.reshape(embedded, (-1, embedded.shape[-1]))
    for layer in layers:
        tokens = teacher.encoder.blocks[layer](tokens, seen, sequence_length=length)
    return ops.reshape(tokens, embedded.shape)


def _top_answers(teacher: MaskedLanguageModel, hidden: Tensor, inputs: Any) -> np.ndarray:
    """Give the top answer in each slot: int [B·P]."""
    projection = teacher.projection(gather_positions(hidden, inputs["mask_positions"]))
    # In bfloat16 many logits are equal, and of these the first would be the answer of both.
    hidden, table, bias = (ops.cast(each, "float32") for each in projection)
    logits = ops.matmul(hidden, ops.transpose(table)) + bias
    return ops.convert_to_numpy(ops.argmax(logits, axis=-1))
