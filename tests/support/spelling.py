"""Tokenizers that can spell what they have no token for, and so can lose tokens."""

import json
from string import ascii_lowercase

from tokenizers import ByteLevelBPETokenizer

from tf_distilbert.sample.corpus import sample_text
from tf_distilbert.tokenization.byte_pair import BytePairTokenizer
from tf_distilbert.tokenization.tokenizer import BERT_TOKENS, ROBERTA_TOKENS
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

CHARACTERS = [".", "中", *ascii_lowercase, *(f"##{letter}" for letter in ascii_lowercase)]
WORDS = ["the", "is", "in", "of", "capital", "cap", "##ital", "##it", "paris", "france"]
TEXTS = [
    "Paris is the capital of France.",
    "capitals capita capit caps cap. the capitals of the capital",
    "a word [MASK] nobody <mask> knows: 中 é capé",
    "",
    "in paris",
]


def word_piece():
    """All letters, alone and within a word, and a few longer tokens."""
    return WordPieceTokenizer([*BERT_TOKENS, *CHARACTERS, *WORDS], lower_case=True)


def byte_pair(size=700):
    """Byte-level BPE learnt from the sample: merges on merges."""
    *first, mask = ROBERTA_TOKENS
    learner = ByteLevelBPETokenizer()
    lines = sample_text("validation").split("\n")[:400]
    learner.train_from_iterator(lines, size - 1, special_tokens=first, show_progress=False)
    model = json.loads(learner._tokenizer.to_str())["model"]
    return BytePairTokenizer(model["vocab"] | {mask: len(model["vocab"])}, model["merges"])


def ids_of(tokenizer, tokens):
    return [tokenizer.vocabulary.index(token) for token in tokens]


def tokens_of(tokenizer, text):
    return [tokenizer.vocabulary[i] for i in tokenizer.tokenize([text]).to_list()[0]]
