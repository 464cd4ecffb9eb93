"""Tiny models, vocabularies and batches that the tests share."""

import numpy as np
from tokenizers.pre_tokenizers import ByteLevel

from tf_distilbert.model_files.task_config import TASK_MODELS
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.masked_language_model import MaskedLanguageModel
from tf_distilbert.tokenization.byte_pair import BytePairTokenizer
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

WORDS = [
    *("the", "a", "of", "is", "in", "and", "city", "capital", "country", "paris", "rome"),
    *("berlin", "france", "italy", "germany", "people", "speak", "french", "italian"),
    *("german", "language", "river", "sea", "sun", "moon", "day", "night", ".", ",", "?"),
    *("one", "two", "three", "four", "##s", "##ing", "##ed", "##er", "large", "small", "old"),
    "new",
]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]


def tokenizer():
    return WordPieceTokenizer(VOCABULARY, lower_case=True)


def architecture(**sizes):
    defaults = {
        "vocabulary_size": len(VOCABULARY),
        "hidden_size": 16,
        "num_layers": 4,
        "num_heads": 2,
        "intermediate_size": 32,
        "max_positions": 32,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "initializer_range": 0.2,
    }
    return Architecture(**defaults | sizes)


def model(seed=0, **sizes):
    """A model whose biases and norms are random too: no term of a sum is 0 by luck."""
    made = MaskedLanguageModel(architecture(**sizes), tokenizer())
    generator = np.random.default_rng(seed)
    for variable in made.trainable_variables:
        noise = 0.2 * generator.standard_normal(variable.shape)
        variable.assign(noise + (variable.name == "gamma"))
    return made


def encoder(task, seed=0, num_layers=2, hidden_size=16, **settings):
    """A DistilBERT for a task, its weights random as those of `model`."""
    sizes = {"hidden_size": hidden_size, "num_layers": num_layers, "num_segments": 0}
    own = architecture(family="distilbert", **sizes)
    made = TASK_MODELS[task](own, tokenizer=tokenizer(), **settings)
    generator = np.random.default_rng(seed)
    for variable in made.trainable_variables:
        noise = 0.2 * generator.standard_normal(variable.shape)
        variable.assign(noise + (variable.name == "gamma"))
    return made


def roberta(seed=0, **sizes):
    """As `model`, a RoBERTa with its own tokenizer."""
    tokenizer = byte_pair_tokenizer()
    sizes = {"vocabulary_size": len(tokenizer.vocabulary), "layer_norm_epsilon": 1e-5, **sizes}
    made = model(seed, family="roberta", num_segments=1, reserved_positions=2, **sizes)
    made.tokenizer = tokenizer
    return made


def batch(seed=0, rows=8, length=16, slots=3):
    """Random rows of different lengths, and prediction slots some of which are not in use."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(length // 2, length + 1, rows)
    inputs = {
        "token_ids": generator.integers(5, len(VOCABULARY), (rows, length)).astype("int32"),
        "padding_mask": np.arange(length)[None, :] < lengths[:, None],
    }
    places = np.tile(np.arange(1, length // 2, dtype="int32"), (rows, 1))
    inputs["mask_positions"] = generator.permuted(places, axis=1)[:, :slots]
    mask_ids = generator.integers(5, len(VOCABULARY), (rows, slots)).astype("int32")
    mask_weights = (generator.random((rows, slots)) < 0.7).astype("float32")
    return inputs, mask_ids, mask_weights


def weights(model):
    return np.concatenate([np.ravel(v.value) for v in model.trainable_variables])


SENTENCES = [
    "paris is the capital of france .",
    "rome is the capital of italy .",
    "berlin is the capital of germany .",
    "people in france speak french .",
    "people in italy speak italian .",
    "the sun is in the day and the moon is in the night .",
    "paris is a large city and rome is an old city .",
]


def write_text(path, documents=40):
    """A corpus of short documents in the tiny vocabulary's words."""
    generator = np.random.default_rng(3)
    chosen = generator.integers(0, len(SENTENCES), (documents, 3))
    text = "\n\n".join("\n".join(SENTENCES[i] for i in row) for row in chosen)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def run_settings(folder, output, **train):
    """A distillation of six steps, of the ``teacher`` and the ``text.txt`` in a folder."""
    text = [str(folder / "text.txt")]
    return {
        "teacher": str(folder / "teacher"),
        "output": str(folder / output),
        "data": {"text": text, "validation": text, "sequence_length": 32},
        "train": {
            **{"steps": 6, "global_batch_size": 4, "precision": "float32", "jit_compile": False},
            **{"log_every": 2, "validate_every": 3, "checkpoint_every": 3},
            **train,
        },
    }


def byte_pair_tokenizer(**settings):
    """All bytes as tokens, and a few merges."""
    merges = [("t", "h"), ("th", "e"), ("Ġ", "c"), ("Ġc", "a"), ("Ġca", "t"), ("Ġ", "the")]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet())]
    tokens += [*map("".join, merges), "<mask>"]
    return BytePairTokenizer({token: i for i, token in enumerate(tokens)}, merges, **settings)
