"""Examples of texts and of labelled words as rows of token ids.

Questions have a file of their own: `answer_windows`.
"""

from collections.abc import Sequence

import numpy as np

from tf_distilbert.finetuning.example import TextExample, TokenExample
from tf_distilbert.finetuning.task_rows import IGNORED, Row, TaskRows, cut_longest_first, join
from tf_distilbert.serving.served_model import SPECIAL_TOKENS, separators
from tf_distilbert.tokenization.tokenizer import Tokenizer


def encode_texts(
    examples: Sequence[TextExample],
    tokenizer: Tokenizer,
    *,
    family: str,
    segments: bool,
    max_length: int,
    scores: bool,
) -> TaskRows:
    """Encode texts and pairs of texts; what is too long is cut as `transformers` cuts it.

    Args:
        examples: all with as many texts.
        tokenizer: the model's.
        family: the model's; RoBERTa has two tokens between the texts of a pair.
        segments: whether the model, or its teacher, tells the texts of a pair apart by segment ids.
        max_length: tokens of a row, special tokens included.
        scores: whether the labels are numbers, not classes.
    """
    number = len(examples[0].texts)
    columns = [
        tokenizer.tokenize([example.texts[i] for example in examples]).to_list()
        for i in range(number)
    ]
    between = separators(family)
    room = max_length - SPECIAL_TOKENS - (between if number == 2 else 0)
    rows = []
    for i, example in enumerate(examples):
        texts = [column[i] for column in columns]
        if number == 2:
            kept = cut_longest_first([len(text) for text in texts], room)
            first, other = (text[:size] for text, size in zip(texts, kept, strict=True))
        else:
            first, other = texts[0][:room], None
        token_ids, second = join(tokenizer, first, other, double=between == 2)
        rows.append(Row(token_ids, second, 0 if example.label is None else example.label))
    return TaskRows(rows, tokenizer, segments, max_length, "float32" if scores else "int32")


def encode_words(
    examples: Sequence[TokenExample], tokenizer: Tokenizer, *, segments: bool, max_length: int
) -> TaskRows:
    """Encode sentences of labelled words: a word's label is that of its first token.

    Words beyond `max_length` are not counted. A tokenizer that marks where words begin is shown the
    space before each word but the first, as it sees it in a text.
    """
    space = " " if tokenizer.word_start else ""
    words = [space * (i > 0) + word for example in examples for i, word in enumerate(example.words)]
    tokens = iter(tokenizer.tokenize(words).to_list())
    rows = []
    for example in examples:
        labels = example.labels or (0,) * len(example.words)
        token_ids: list[int] = []
        targets: list[int] = []
        for label in labels:
            pieces = next(tokens) or [tokenizer.unknown_id]  # of a word of spaces alone
            token_ids += pieces
            targets += [label, *[IGNORED] * (len(pieces) - 1)][: len(pieces)]
        room = max_length - SPECIAL_TOKENS
        joined, second = join(tokenizer, token_ids[:room], None, double=False)
        target = np.array([IGNORED, *targets[:room], IGNORED], np.int32)
        rows.append(Row(joined, second, target))
    return TaskRows(rows, tokenizer, segments, max_length)
