"""What a sentence encoder says of the examples of a task, without a head: cosines, and rankings.

Dimensions: N examples, D passages found for each query.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from rich.console import Console

from tf_distilbert.console.time_left import TimeLeft
from tf_distilbert.finetuning.examples import Example, QueryExample, TextExample
from tf_distilbert.finetuning.ranking_metrics import DEPTH
from tf_distilbert.finetuning.rows import Row, TaskBatches, TaskRows
from tf_distilbert.finetuning.search import nearest, unit_rows
from tf_distilbert.finetuning.sentence_texts import encode_alone, passage_prompt, query_prompt
from tf_distilbert.finetuning.tasks import Task
from tf_distilbert.models.sentence_encoder import SentenceEncoder

Forward = Callable[[Mapping[str, np.ndarray]], Any]
Embed = Callable[[Sequence[str], Callable[[SentenceEncoder], str]], np.ndarray]

_PASSAGES_AT_ONCE = 2**15
"""Their vectors of 768 numbers take 100 MB."""


def predict_by_vectors(
    forward: Forward,
    model: SentenceEncoder,
    task: Task,
    examples: Sequence[Example],
    batch_size: int = 64,
    console: Console | None = None,
) -> np.ndarray:
    """Predict the examples of a split.

    Each text is embedded by itself, and cut at the model's `max_length`. Pairs get the model's
    default prompt, queries and passages those of `query_prompt` and `passage_prompt`.

    Args:
        forward: of the model; see `forward_pass`.
        model: with its tokenizer.
        task: one of `VECTOR_KINDS`.
        examples: of it.
        batch_size: texts at a time.
        console: where progress is shown; None: nowhere.

    Returns:
        As `score` takes it: of pairs their cosines, float64 [N]; of queries the numbers of the
        passages of the largest cosines, int64 [N, D]; D is `DEPTH`, or all passages.

    Raises:
        UserError: a model without a tokenizer.
        NotFiniteError: a vector is not finite.
    """

    def embed(texts: Sequence[str], prompt: Callable[[SentenceEncoder], str]) -> np.ndarray:
        return _embed(texts, prompt(model), forward, model, batch_size)

    if task.kind == "retrieval":
        return _ranking(embed, cast(Sequence[QueryExample], examples), console)
    pairs = cast(Sequence[TextExample], examples)
    with TimeLeft(console, f"evaluating {task.name}"):
        texts = [pair.texts[place] for place in (0, 1) for pair in pairs]
        vectors = unit_rows(embed(texts, SentenceEncoder.prompt))
        cosines = np.einsum("ne,ne->n", *np.split(vectors, 2))
        return cosines.astype(np.float32).astype(np.float64)  # those of equal texts are all 1


def _ranking(embed: Embed, queries: Sequence[QueryExample], console: Console | None) -> np.ndarray:
    texts = queries[0].passages.texts
    blocks = range(0, len(texts), _PASSAGES_AT_ONCE)
    with TimeLeft(console, f"searching {len(texts):,} passages", len(blocks)) as progress:

        def vectors() -> Iterator[np.ndarray]:
            for begin in blocks:
                yield embed(texts[begin : begin + _PASSAGES_AT_ONCE], passage_prompt)
                progress.advance()

        return nearest(embed([query.text for query in queries], query_prompt), vectors(), DEPTH)


def _embed(
    texts: Sequence[str], prompt: str, forward: Forward, model: SentenceEncoder, batch_size: int
) -> np.ndarray:
    """Give each text its vector, float32 [n, E], and equal texts the same one to the last digit."""
    distinct = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    token_ids = encode_alone([prompt + text for text in distinct], model)
    assert model.tokenizer is not None  # which has encoded them
    rows = [Row(ids, len(ids)) for ids in token_ids]
    batches = TaskBatches(
        TaskRows(rows, model.tokenizer, segments=False, max_length=model.max_length),
        batch_size,
        seed=None,
    )
    vectors = np.stack(batches.predict(forward))
    return vectors[[distinct[text] for text in texts]]
