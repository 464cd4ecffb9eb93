"""Export a classifier in every format and precision, and measure what each costs and saves.

    python tools/measure_exports.py MODEL_DIR SENTENCES.tsv CALIBRATION_TEXT

``SENTENCES.tsv`` is in GLUE's form: a heading, then sentence and number of the label, with a tab
Prints a Markdown table: size; milliseconds of a row of 64 tokens, from ids to logits (medians, the
formats taking turns); accuracy; how often the answer is that of the Keras model in float32.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tf_distilbert.training.runtime import start_keras

VARIANTS = (
    *(("saved_model", "float32"), ("saved_model", "bfloat16")),
    *(("litert", "float32"), ("litert", "float16"), ("litert", "int8"), ("litert", "full_int8")),
    *(("onnx", "float32"), ("onnx", "int8"), ("openvino", "float32")),
)
LENGTH = 64
ROUNDS = 60


def main(model: str, sentences: str, calibration: str) -> None:
    """Measure and print."""
    start_keras(only="tensorflow")
    from tf_distilbert.exports.exporter import export
    from tf_distilbert.exports.formats import open_raw
    from tf_distilbert.exports.prediction import Predictor
    from tf_distilbert.model_files.folder import load_task_model
    from tf_distilbert.serving.served_model import ServedModel

    rows = [line.split("\t") for line in Path(sentences).read_text("utf-8").splitlines()[1:]]
    texts = [{"text": sentence} for sentence, _ in rows]
    labels = np.array([int(label) for _, label in rows])
    served = ServedModel.of(load_task_model(model), LENGTH)
    answers, runs, sizes = {"keras float32": _classes(Predictor(model), texts)}, {}, {}
    with TemporaryDirectory() as folder:
        for format_name, precision in VARIANTS:
            name = f"{format_name} {precision}"
            path, found = export(
                model,
                format_name,
                Path(folder) / format_name / precision,
                precision=precision,
                name="model",
                max_length=LENGTH,
                calibration=[calibration] if precision == "full_int8" else None,
            )
            answers[name] = _classes(Predictor(path), texts)
            runs[name], sizes[name] = open_raw(path, served), found.size
        seconds = _latencies(runs, served.input_names)
    print("| format | MB | ms | accuracy | same as Keras |\n|---|---:|---:|---:|---:|")
    for name, classes in answers.items():
        agreement = np.mean(classes == answers["keras float32"])
        cost = " | "
        if name in runs:
            cost = f"{sizes[name] / 1e6:.1f} | {1000 * statistics.median(seconds[name]):.1f}"
        print(f"| {name} | {cost} | {np.mean(classes == labels):.1%} | {agreement:.1%} |")


def _classes(predictor: object, texts: list[dict[str, str]]) -> np.ndarray:
    answers = predictor.predict(texts)
    return np.array([int(np.argmax(answer["probabilities"])) for answer in answers])


def _latencies(runs: dict[str, Callable], names: tuple[str, ...]) -> dict[str, list[float]]:
    row = {name: np.ones((1, LENGTH), np.int32) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            run(row)
            if turn >= 3:
                seconds[name].append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main(*sys.argv[1:])
