"""The workloads of input: text to ids, ids to masked batches, and all of it.

Each case returns how much one call does: bytes of text, or tokens.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tf_distilbert.benchmark.batch import MASK_RATE, Cases, num_predictions
from tf_distilbert.training.runtime import start_keras

_BLOCK_LINES = 500
_BATCHES = 20  # a call of a pipeline takes so many: one alone may be waiting already
_SHAPE = 256, 128


def our_tokenizer(text: str, vocabulary: str, threads: int) -> Cases:
    """Tokenise in a TensorFlow graph, blocks of lines spread over threads."""
    tokenizer = _our_tokenizer(vocabulary)
    return _tokenising(lambda lines: tokenizer.tokenize(lines).values, text, threads)


def keras_nlp_tokenizer(text: str, vocabulary: str, threads: int) -> Cases:
    """Tokenise with keras-nlp's BertTokenizer, likewise."""
    tokenizer = _keras_nlp_tokenizer(vocabulary)
    return _tokenising(lambda lines: tokenizer(lines).values, text, threads)


def tokenizers_tokenizer(text: str, vocabulary: str, threads: int) -> Cases:
    """Tokenise with Hugging Face's `tokenizers`, without offsets."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false" if threads == 1 else "true"
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    tokenizer = Tokenizer(WordPiece.from_file(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    lines, size = _lines(text)

    def run() -> int:
        tokenizer.encode_batch_fast(lines, add_special_tokens=False)
        return size

    return {"input": run}


def our_masking(vocabulary: str, whole_word: bool) -> Cases:
    """Mask with `TokenMasker`."""
    tokenizer = _our_tokenizer(vocabulary)
    import tensorflow as tf

    from tf_distilbert.data.masking import TokenMasker

    masker = TokenMasker(
        tokenizer.vocabulary,
        tokenizer.special_ids,
        tokenizer.mask_id,
        _SHAPE[1],
        rate=MASK_RATE,
        whole_word=whole_word,
    )
    epochs, indices = tf.zeros(_SHAPE[0], tf.int64), tf.range(_SHAPE[0], dtype=tf.int64)
    pad_id = tokenizer.pad_id
    mask = tf.function(lambda ids: masker(ids, pad_id, epochs, indices), autograph=False)
    return _masking(mask, len(tokenizer.vocabulary))


def keras_nlp_masking(vocabulary: str) -> Cases:
    """Mask with keras-nlp's MaskedLMMaskGenerator."""
    tokenizer = _our_tokenizer(vocabulary)
    import keras_nlp
    import tensorflow as tf

    generator = keras_nlp.layers.MaskedLMMaskGenerator(
        len(tokenizer.vocabulary),
        MASK_RATE,
        tokenizer.mask_id,
        mask_selection_length=num_predictions(_SHAPE[1]),
        unselectable_token_ids=list(tokenizer.special_ids),
    )
    return _masking(tf.function(generator), len(tokenizer.vocabulary))


def our_prepare(text: str, vocabulary: str, sequence_length: int) -> Cases:
    """Turn text into shards with `prepare`."""
    tokenizer = _our_tokenizer(vocabulary)
    size = Path(text).stat().st_size

    def run() -> int:
        with tempfile.TemporaryDirectory() as folder:
            _prepare(text, tokenizer, folder, sequence_length)
        return size

    return {"input": run}


def our_pipeline(text: str, vocabulary: str, sequence_length: int, batch_size: int) -> Cases:
    """Read shards and mask: `masked_lm_dataset`."""
    tokenizer = _our_tokenizer(vocabulary)
    from tf_distilbert.data.masking import TokenMasker
    from tf_distilbert.data.pipeline import masked_lm_dataset

    # It stays until the process ends; the records are mapped into memory by then.
    folder = tempfile.TemporaryDirectory()
    records = _prepare(text, tokenizer, folder.name, sequence_length)
    masker = TokenMasker.for_records(records, smoothing=0.7)
    return _taking_batches(iter(masked_lm_dataset(records, masker, batch_size)), folder)


def keras_nlp_pipeline(text: str, vocabulary: str, sequence_length: int, batch_size: int) -> Cases:
    """Read text, tokenise and mask with keras-nlp's preprocessor, as its guides do."""
    tokenizer = _keras_nlp_tokenizer(vocabulary, for_model=True)
    import keras_nlp
    import tensorflow as tf

    preprocessor = keras_nlp.models.DistilBertMaskedLMPreprocessor(
        tokenizer,
        sequence_length=sequence_length,
        mask_selection_rate=MASK_RATE,
        mask_selection_length=num_predictions(sequence_length),
    )
    dataset = tf.data.Dataset.from_tensor_slices(_lines(text)[0]).repeat().shuffle(10_000)
    dataset = dataset.batch(batch_size).map(preprocessor, num_parallel_calls=tf.data.AUTOTUNE)
    return _taking_batches(iter(dataset.prefetch(tf.data.AUTOTUNE)))


def _tokenising(tokenize: Callable[[Any], Any], text: str, threads: int) -> Cases:
    import tensorflow as tf

    lines, size = _lines(text)
    starts = range(0, len(lines), _BLOCK_LINES)
    blocks = [tf.constant(lines[start : start + _BLOCK_LINES]) for start in starts]
    signature = [tf.TensorSpec([None], tf.string)]
    graph = tf.function(tokenize, input_signature=signature, autograph=False)
    pool = ThreadPoolExecutor(threads)

    def run() -> int:
        for _ in map(graph, blocks) if threads == 1 else pool.map(graph, blocks):
            pass
        return size

    return {"input": run}


def _masking(mask: Callable[[Any], Any], vocabulary_size: int) -> Cases:
    import tensorflow as tf

    ids = np.random.default_rng(0).integers(5, vocabulary_size, _SHAPE, "int32")
    tensor = tf.constant(ids)

    def run() -> int:
        mask(tensor)
        return ids.size

    return {"input": run}


def _taking_batches(batches: Iterator, kept: Any = None) -> Cases:
    def run(kept: Any = kept) -> int:
        taken = (next(batches)[0]["padding_mask"].numpy() for _ in range(_BATCHES))
        return int(sum(mask.sum() for mask in taken))

    return {"input": run}


def _prepare(text: str, tokenizer: Any, folder: str, sequence_length: int) -> Any:
    from tf_distilbert.data.prepare import prepare

    output = Path(folder) / "records"
    return prepare(text, tokenizer, output, sequence_length=sequence_length, progress=False)


def _our_tokenizer(vocabulary: str) -> Any:
    start_keras()
    from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

    return WordPieceTokenizer.from_file(vocabulary, lower_case=True)


def _keras_nlp_tokenizer(vocabulary: str, for_model: bool = False) -> Any:
    start_keras()
    import keras_nlp

    models = keras_nlp.models
    make = models.DistilBertTokenizer if for_model else models.BertTokenizer
    return make(vocabulary=vocabulary, lowercase=True)


def _lines(text: str) -> tuple[list[str], int]:
    content = Path(text).read_text(encoding="utf-8")
    lines = [line for line in content.splitlines() if line.strip()]
    return lines, sum(len(line.encode("utf-8")) for line in lines)
