"""Tiny exports of every task, requests to them, and the answers of the Keras models."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from support.task_model import task_model
from tf_distilbert.exports.saved_model import TOKEN_IDS, write_saved_model
from tf_distilbert.serving.served_model import ServedModel, model_function
from tf_distilbert.serving.services import SERVICES

# Task, family, long texts. Long texts both ways, and inputs with segments too.
SETTINGS = {
    "masked_lm": ("masked_lm", "distilbert", "cut"),
    "sequence_classification": ("sequence_classification", "distilbert", "window"),
    "token_classification": ("token_classification", "distilbert", "window"),
    "question_answering": ("question_answering", "bert", "window"),
    "encoder": ("encoder", "distilbert", "cut"),
    # Its tokenizer stays outside of the graph.
    "byte_pair": ("masked_lm", "roberta", "cut"),
}
OLD_VERSION, VERSION = 9, 10

TEXTS = (
    "paris is the [MASK] of france .",
    "",
    "Ünïcödé? ÇA VA, 東京タワー 😀👍🏽 ﬁn \u0301",
    b"\xff\xfe the city \xc3( is \xf0\x9f old \x80",
    "the moon is new , " * 40,
    "[MASK] " * 25 + "[CLS] people speak [SEP] [PAD]",
    "a" * 150,
    "\x00\x01 \t\r\n [mask] [UNK]",
)
BATCHES = (TEXTS, TEXTS[:1], TEXTS[1:2])


class Case(NamedTuple):
    """A request and the answer to it.

    Attributes:
        signature: name of the signature.
        inputs: arrays by name; of a text their elements are bytes.
        expected: arrays by name: what the model in Keras answers, run eagerly.
    """

    signature: str
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]


class Export(NamedTuple):
    """A SavedModel in TensorFlow Serving's layout.

    Attributes:
        folder: of the model; its versions are in it.
        cases: requests, at least one to each signature.
    """

    folder: Path
    cases: list[Case]

    @property
    def saved_model(self):
        return self.folder / str(VERSION)


def write_export(name, root):
    """Write the export `root`/`name`/`VERSION`; beside it is an older one that nobody can load."""
    task, family, long_texts = SETTINGS[name]
    model = task_model(task, family)
    served = ServedModel.of(model)
    service = SERVICES[task](served, model_function(model, served), long_texts=long_texts)
    folder = root / name
    (folder / str(OLD_VERSION)).mkdir(parents=True)
    write_saved_model(model, service, folder / str(VERSION))
    if family == "roberta":
        signatures = (TOKEN_IDS, "serving_default")
        return Export(folder, [c for s in signatures for c in token_id_cases(s, model, served)])
    return Export(folder, [*text_cases(service), *token_id_cases(TOKEN_IDS, model, served)])


def text_cases(service):
    for signature, names in service.signatures.items():
        for batch in BATCHES:
            texts = np.array([t if isinstance(t, bytes) else t.encode() for t in batch], object)
            # Of a pair the second is another text: short ones meet long ones.
            inputs = {name: np.roll(texts, 3 * i) for i, name in enumerate(names)}
            answer = service.answer(**{n: tf.constant(t, tf.string) for n, t in inputs.items()})
            yield Case(signature, inputs, {name: value.numpy() for name, value in answer.items()})


def token_id_cases(signature, model, served):
    generator = np.random.default_rng(0)
    most = served.max_length
    # The last is longer than the model takes, and is cut.
    for rows, length in ((1, 3), (4, 17), (3, most + 8)):
        lengths = generator.integers(2, length + 1, (rows, 1))
        inputs = {
            "token_ids": generator.integers(5, 40, (rows, length)),
            "padding_mask": np.arange(length) < lengths,
            "segment_ids": generator.integers(0, 2, (rows, length)),
            "mask_positions": generator.integers(0, min(length, most), (rows, 2)),
        }
        inputs = {name: inputs[name].astype("int32") for name in served.input_names}
        output = model({name: values[:, :most] for name, values in inputs.items()})
        yield Case(signature, inputs, {served.output_name: output.numpy()})


def assert_equal_answers(found, expected):
    """Strings and integers are the same, floats within 1e-5."""
    assert sorted(found) == sorted(expected)
    for name, values in expected.items():
        assert found[name].shape == values.shape, name
        assert found[name].dtype == values.dtype, name
        if values.dtype == np.float32:
            np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], values, err_msg=name)
