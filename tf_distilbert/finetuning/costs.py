"""What a model costs whoever runs it: bytes on the disk, and milliseconds from a text to logits.

Models and exports are timed in turns, in one process, on one text. All of them are handed token
ids by the same code, so that they differ in what they compute alone.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tensorflow as tf

from tf_distilbert.backend import step
from tf_distilbert.finetuning.exported import export_model, export_row
from tf_distilbert.finetuning.model_facts import LENGTH, time_in_turns
from tf_distilbert.finetuning.start_model import start_model
from tf_distilbert.finetuning.tasks import Task
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.sample.corpus import sample_text
from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.token_windows import cut_into_windows
from tf_distilbert.tokenization.tokenizer import Tokenizer
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

Read = Callable[[str], dict[str, np.ndarray]]


def measure_costs(
    models: Mapping[str, str], task: Task, exports: Sequence[str] = (), rounds: int = 15
) -> dict[str, dict[str, float]]:
    """Weigh models with the head of a task, and time them from a text to logits, in turns.

    Args:
        models: name to folder; the first is the teacher, which is not exported.
        task: whose head they have; with its classes.
        exports: precisions; see `table_rows`.
        rounds: how often each is timed.

    Returns:
        Row to ``bytes`` (of ``model.safetensors``, or of the exported file) and
        ``text_milliseconds``: the median time of one text of `LENGTH` tokens, from the string to
        the logits.

    Raises:
        UserError: a folder is none of a model; or as `export_model`.
    """
    sizes: dict[str, int] = {}
    runs: dict[str, Callable[[], Any]] = {}
    text = ""
    for number, (name, path) in enumerate(models.items()):
        model = start_model(path, task.kind, task.labels)
        served = ServedModel.of(model, min(LENGTH, model.architecture.max_positions))
        text = text or text_to_time(served.tokenizer)
        answer = partial(_answer, reader_of(served), text=text)
        sizes[name], runs[name] = _saved_size(model), partial(answer, step.forward_pass(model))
        for precision in exports if number else ():
            row, written = export_row(name, precision), export_model(model, precision)
            sizes[row], runs[row] = written.size, partial(answer, written.run)
    times = time_in_turns(runs, rounds)
    return {row: {"bytes": sizes[row], "text_milliseconds": times[row]} for row in runs}


def text_to_time(tokenizer: Tokenizer) -> str:
    """Give the shortest beginning of the sample corpus, by words, that fills `LENGTH` tokens.

    Args:
        tokenizer: counts them.
    """
    words = sample_text("validation").split()
    ends = np.cumsum(tokenizer.tokenize(words).row_lengths().numpy())
    return " ".join(words[: int(np.searchsorted(ends, LENGTH)) + 1])


def reader_of(served: ServedModel) -> Read:
    """Make a function from a text to the row of inputs that a model takes, int32 or bool [1, S].

    It is one TensorFlow graph, but for tokenizers that run outside of graphs alone.

    Args:
        served: the model; what is beyond its ``max_length`` is cut off.
    """
    tokenize = served.tokenizer.tokenize
    cut = tf.function(lambda tokens: cut_into_windows(served, tokens).inputs, autograph=False)

    def of_texts(texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return cut(tokenize(texts))

    in_a_graph = isinstance(served.tokenizer, WordPieceTokenizer)
    windows = tf.function(of_texts, autograph=False) if in_a_graph else of_texts

    def read(text: str) -> dict[str, np.ndarray]:
        inputs = {name: tensor.numpy() for name, tensor in windows(tf.constant([text])).items()}
        return inputs | {"padding_mask": inputs["padding_mask"].astype(bool)}

    return read


def _answer(read: Read, forward: Callable[..., Any], *, text: str) -> np.ndarray:
    return np.asarray(forward(read(text)))


def _saved_size(model: EncoderModel) -> int:
    """Count the bytes of the weights' file."""
    with TemporaryDirectory() as name:
        folder = Path(name) / "model"
        save_model(model, folder)
        return (folder / "model.safetensors").stat().st_size
