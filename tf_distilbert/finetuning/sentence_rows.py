"""What a sentence encoder learns from: rows of several texts, each of which it reads by itself.

Dimensions: N rows, T texts of a row, B rows of a batch, S tokens of its longest text.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.examples import Example, QueryExample, TextExample
from tf_distilbert.finetuning.rows import BatchRows
from tf_distilbert.finetuning.sentence_texts import encode_alone, passage_prompt, query_prompt
from tf_distilbert.finetuning.tasks import Task
from tf_distilbert.models.sentence_encoder import SentenceEncoder
from tf_distilbert.tokenization.tokenizer import Tokenizer


@dataclass(frozen=True)
class SentenceRows(BatchRows):
    """Rows of texts.

    Attributes:
        token_ids: of each row T texts, each int32 [n], special tokens included.
        targets: scores float32 [N], or a number for each text int32 [N, T].
        tokenizer: whose ids they are made of.
        max_length: tokens of the longest possible text.
    """

    token_ids: Sequence[Sequence[np.ndarray]]
    targets: np.ndarray
    tokenizer: Tokenizer
    max_length: int
    lengths: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        lengths = np.array([max(map(len, texts)) for texts in self.token_ids], np.int64)
        object.__setattr__(self, "lengths", lengths)

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def num_tokens(self) -> int:
        """The tokens of all texts."""
        return sum(len(text) for texts in self.token_ids for text in texts)

    @property
    def identity(self) -> str:
        """A hash of the content."""
        digest = hashlib.sha256(self.targets.tobytes())
        for texts in self.token_ids:
            for text in texts:
                digest.update(len(text).to_bytes(4) + text.tobytes())
        return digest.hexdigest()

    def batch(
        self, indices: Sequence[int] | np.ndarray, length: int
    ) -> tuple[dict, np.ndarray, np.ndarray]:
        """Put rows together for a `SentenceTrainer`; see `BatchRows.batch`."""
        per_row = len(self.token_ids[0])
        shape = len(indices) * per_row, length
        inputs = {
            "token_ids": np.full(shape, self.tokenizer.pad_id, np.int32),
            "padding_mask": np.zeros(shape, bool),
        }
        targets = np.zeros((len(indices), *self.targets.shape[1:]), self.targets.dtype)
        weights = np.zeros(len(indices), np.float32)
        for row, index in enumerate(indices):
            if index < 0:
                continue
            for place, text in enumerate(self.token_ids[index], start=row * per_row):
                inputs["token_ids"][place, : len(text)] = text
                inputs["padding_mask"][place, : len(text)] = True
            targets[row], weights[row] = self.targets[index], 1.0
        return inputs, targets, weights


@dataclass(frozen=True)
class ScoreRange:
    """Which scores the cosines 0 and 1 are.

    Attributes:
        low, high: the scores.
    """

    low: float
    high: float

    @classmethod
    def of(cls, task: Task, examples: Sequence[TextExample]) -> "ScoreRange":
        """Find the range of a training split.

        Scores from -1 to 1 are what cosines can be, and stay as they are; others are brought from
        the lowest and the highest to 0 and 1.

        Raises:
            UserError: all scores are the same.
        """
        scores = [cast(float, example.label) for example in examples]
        low, high = min(scores), max(scores)
        if low == high:
            raise UserError(
                f"{task.name}: all scores of its split train are {low:g}, of which nothing can be "
                "learnt; give others"
            )
        return cls(0.0, 1.0) if low >= -1 and high <= 1 else cls(low, high)

    def __call__(self, scores: Sequence[float]) -> np.ndarray:
        """Bring scores to the cosines that they stand for, float32."""
        return ((np.array(scores) - self.low) / (self.high - self.low)).astype(np.float32)


def encode_sentence_splits(
    task: Task, splits: Mapping[str, Sequence[Example]], model: SentenceEncoder
) -> dict[str, SentenceRows]:
    """Encode all splits of a fine-tuning; see `encode_sentences`.

    Args:
        task: one of `VECTOR_KINDS`.
        splits: by name, ``train`` among them, whose scores tell the range.
        model: whose tokenizer, length and prompts are used.

    Raises:
        UserError: as `ScoreRange.of`.
    """
    score_range = None
    if task.kind == "similarity":
        score_range = ScoreRange.of(task, cast(Sequence[TextExample], splits["train"]))
    return {
        name: encode_sentences(task, examples, model, score_range)
        for name, examples in splits.items()
    }


def encode_sentences(
    task: Task,
    examples: Sequence[Example],
    model: SentenceEncoder,
    score_range: ScoreRange | None = None,
) -> SentenceRows:
    """Encode the rows of a split, each text as `embed` does: its prompt, and cut at `max_length`.

    A row is a pair with a score; or a query, a relevant passage and, in training, a hard negative.
    Of a query with several relevant passages there is a row for each.

    Args:
        task: one of `VECTOR_KINDS`.
        examples: of it.
        model: whose tokenizer, length and prompts are used.
        score_range: of the training split; a retrieval has none.
    """
    rows = [texts for example in examples for texts in _texts_of(example)]
    prompts = [model.prompt()] * len(rows[0])
    if task.kind == "retrieval":
        prompts = [query_prompt(model), *[passage_prompt(model)] * (len(rows[0]) - 1)]
        numbers = {text: n for n, text in enumerate(dict.fromkeys(t for row in rows for t in row))}
        targets = np.array([[numbers[text] for text in row] for row in rows], np.int32)
    else:
        assert score_range is not None
        targets = score_range([cast(float, cast(TextExample, e).label) for e in examples])
    columns = zip(prompts, zip(*rows, strict=True), strict=True)
    encoded = [encode_alone([prompt + text for text in texts], model) for prompt, texts in columns]
    assert model.tokenizer is not None  # which has encoded them
    return SentenceRows(
        list(zip(*encoded, strict=True)), targets, model.tokenizer, model.max_length
    )


def _texts_of(example: Example) -> list[tuple[str, ...]]:
    if isinstance(example, QueryExample):
        return [(example.text, example.passages.texts[number]) for number in example.relevant]
    return [cast(TextExample, example).texts]
