"""The workloads of exported encoders, opened from their files: ours, and keras-nlp's own export."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tf_distilbert.architecture import Architecture
from tf_distilbert.benchmark.batch import random_batch
from tf_distilbert.runtime import set_precision_and_seed, start_keras

Run = Callable[[Mapping[str, np.ndarray]], np.ndarray]


def inference(
    architecture: Mapping[str, Any], shapes: Mapping[str, tuple[int, int]], precision: str
) -> dict[str, Callable[[], None]]:
    """Give a case for each shape: token ids to last hidden states, by the file of an export.

    Args:
        architecture, shapes: as in `our_models.inference`.
        precision: of the SavedModel.
    """
    return _exported("saved_model", architecture, shapes, precision)


def onnx_inference(
    architecture: Mapping[str, Any], shapes: Mapping[str, tuple[int, int]], precision: str
) -> dict[str, Callable[[], None]]:
    """Give a case for each shape, by the ONNX file of an export."""
    return _exported("onnx", architecture, shapes, precision)


def keras_nlp_inference(
    architecture: Mapping[str, Any], shapes: Mapping[str, tuple[int, int]], precision: str
) -> dict[str, Callable[[], None]]:
    """Give a case for each shape: keras-nlp's encoder, exported by keras-nlp as a SavedModel."""
    start_keras()
    from tf_distilbert.benchmark.keras_nlp_steps import backbone
    from tf_distilbert.exports.saved_model_session import SavedModelSession

    set_precision_and_seed(precision, 0)
    with TemporaryDirectory() as folder:
        backbone(architecture).export(folder, verbose=False)
        session = SavedModelSession(Path(folder))

    def run(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        [hidden] = session({n: inputs[n] for n in session.inputs["serving_default"]}).values()
        return hidden

    return _cases(run, Architecture(**architecture), shapes)


def _exported(
    format_name: str,
    architecture: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, int]],
    precision: str,
) -> dict[str, Callable[[], None]]:
    start_keras()
    from tf_distilbert.encoder_model import EncoderModel
    from tf_distilbert.exports.exporter import export
    from tf_distilbert.exports.formats import open_raw
    from tf_distilbert.serving.served_model import ServedModel
    from tf_distilbert.tokenization.tokenizer import BERT_TOKENS
    from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

    set_precision_and_seed("float32", 0)
    sizes = Architecture(**architecture)
    words = (f"word{i}" for i in range(sizes.vocabulary_size - len(BERT_TOKENS)))
    model = EncoderModel(sizes, WordPieceTokenizer([*BERT_TOKENS, *words]))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "export"
        written, _ = export(model, format_name, path, precision=precision, name="encoder")
        return _cases(open_raw(written, ServedModel.of(model)), sizes, shapes)


def _cases(
    run: Run, architecture: Architecture, shapes: Mapping[str, tuple[int, int]]
) -> dict[str, Callable[[], None]]:
    def case(shape: tuple[int, int]) -> Callable[[], None]:
        batch, _, _ = random_batch(architecture.vocabulary_size, *shape)
        inputs = {n: batch[n].astype(np.int32) for n in ("token_ids", "padding_mask")}
        if architecture.num_segments > 1:
            inputs["segment_ids"] = np.zeros(shape, np.int32)

        def once() -> None:
            run(inputs)

        return once

    return {name: case(shape) for name, shape in shapes.items()}
