"""What the estimate of docs/scaling.md is made of: figures measured here, tables computed anew.

    python tools/measure_scaling.py measure [--text FILE --vocabulary VOCAB]
    python tools/measure_scaling.py tables

``measure`` takes some minutes and 8 GB; it writes `scaling_measured.json` beside this file.
``tables`` puts the tables into docs/scaling.md, computed from that file, the model's sizes, and the
published figures and assumptions in `scaling_model.py`.
"""

import argparse
import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from scaling_layouts import Measured
from scaling_model import STUDENT, TEACHER, adamw_bytes
from scaling_tables import tables

from tf_distilbert.assets import asset
from tf_distilbert.benchmark.our_models import OurStep
from tf_distilbert.benchmark.report import describe_machine
from tf_distilbert.benchmark.timing import measure
from tf_distilbert.benchmark.worker import Competitor, WorkerProcess
from tf_distilbert.sample.corpus import sample_text
from tf_distilbert.training.runtime import start_keras

MEASURED = Path(__file__).with_name("scaling_measured.json")
DOCUMENT = Path(__file__).parent.parent / "docs" / "scaling.md"
LENGTH = 512
MACHINE = ("processor", "instructions", "cores", "memory_bytes", "load_average", "versions")
REPEATS = 5
SIZES = (1, 2, 4)
"""Sequences in a micro-batch whose memory is measured."""


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description="Measure and compute the scaling estimate.")
    parser.add_argument("what", choices=("measure", "tables"))
    parser.add_argument("--text", type=Path, help="UTF-8 text; the sample corpus by default")
    parser.add_argument("--vocabulary", help="vocab.txt; the sample teacher's by default")
    args = parser.parse_args()
    if args.what == "measure":
        found = measure_all(args.text, args.vocabulary)
        MEASURED.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
        print(MEASURED.read_text("utf-8"))
        return
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text("utf-8"), read_measured()), "utf-8")


def read_measured() -> Measured:
    """Read what ``measure`` wrote."""
    found = json.loads(MEASURED.read_text("utf-8"))
    return Measured(**{name: found[name] for name in Measured.__dataclass_fields__})


def with_tables(document: str, measured: Measured) -> str:
    """Replace each table of the document, which stands below a comment with its name."""
    for name, table in tables(measured).items():
        place = re.compile(rf"(<!-- table: {name} -->\n)(?:\|.*\n)*")
        document, count = place.subn(lambda found, table=table: found[1] + table, document)
        if count != 1:
            raise SystemExit(f"{DOCUMENT.name} has {count} places for the table {name}")
    return document


def measure_all(text: Path | None, vocabulary: str | None) -> dict:
    """Measure memory, input, optimizer and checkpoint, in this order."""
    machine = describe_machine()
    found = {"machine": {name: machine[name] for name in MACHINE}, "peaks": {}}
    for precision in ("mixed_bfloat16", "float32"):
        peaks = [_peak(precision, n, 1) for n in SIZES]
        found["peaks"][precision] = dict(zip(SIZES, peaks, strict=True))
        found[f"{precision.removeprefix('mixed_')}_bytes_per_sequence"] = round(
            statistics.linear_regression(SIZES, peaks).slope
        )
    largest = SIZES[-1]
    in_loop = {largest: _peak("mixed_bfloat16", largest, 4)}
    found["peaks"]["mixed_bfloat16, four micro-batches"] = in_loop
    found |= _measure_input(text, vocabulary)
    return found | _measure_update()


def _peak(precision: str, size: int, parts: int) -> int:
    """Give the most memory that a process of its own held in two steps."""
    arguments = {
        "teacher": asdict(TEACHER),
        "student": asdict(STUDENT),
        "batch_size": size * parts,
        "sequence_length": LENGTH,
        "precision": precision,
        "options": {"micro_batches": parts},
    }
    with WorkerProcess(Competitor("step", "our_models:step", arguments)) as worker:
        return worker.run("step", calls=2)["peak_bytes"]


def _measure_input(text: Path | None, vocabulary: str | None) -> dict[str, float]:
    """Measure the rate from records to masked batches, and the tokens of a word."""
    vocabulary = vocabulary or str(asset("saved_models/sample_teacher/vocab.txt"))
    content = text.read_text("utf-8") if text else sample_text("train")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.txt"
        path.write_text(content, "utf-8")
        arguments = {
            "text": str(path),
            "vocabulary": vocabulary,
            "sequence_length": LENGTH,
            "batch_size": 32,
        }
        pipeline = Competitor("pipeline", "input_workloads:our_pipeline", arguments)
        (found,) = measure([pipeline], REPEATS, at_least_seconds=0.5)
    if found.failure:
        raise SystemExit(f"the pipeline was not measured: {found.failure}")
    return {
        "pipeline_tokens_per_second": round(found.first_value / found.quartiles("input")[1]),
        "tokens_per_word": round(_tokens_per_word(content, vocabulary), 3),
    }


def _tokens_per_word(content: str, vocabulary: str) -> float:
    start_keras()
    from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

    lines = [line for line in content.splitlines() if line.strip()]
    tokens = WordPieceTokenizer.from_file(vocabulary, lower_case=True).tokenize(lines)
    return int(tokens.values.shape[0]) / sum(len(line.split()) for line in lines)


def _measure_update() -> dict[str, float]:
    """Measure what comes once an update: the gradient's norm, AdamW, and now and then a save."""
    start_keras()
    import tensorflow as tf

    from tf_distilbert.runs.checkpoints import Checkpoints, Progress

    step = OurStep(asdict(TEACHER), asdict(STUDENT), 1, 8)
    variables = step.distiller.trainable_variables
    gradients = [tf.random.normal(v.shape, stddev=1e-3) for v in variables]
    norm = tf.function(lambda: tf.linalg.global_norm(gradients), autograph=False)
    apply_summed = step.distiller.optimizer.apply_summed
    apply = tf.function(
        lambda: apply_summed(gradients, variables, tf.constant(1.0), tf.constant(True)),
        autograph=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder), step.distiller, data="", batch_size=1, keep=1)
        steps = iter(range(1, 100))
        save = _median_seconds(lambda: checkpoints.save(Progress(next(steps))), REPEATS)
        size = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
    seconds = _median_seconds(apply, 10 * REPEATS)
    return {
        "adamw_seconds": round(seconds, 4),
        "adamw_bytes_per_second": round(adamw_bytes() / seconds),
        "norm_seconds": round(_median_seconds(lambda: norm().numpy(), 10 * REPEATS), 4),
        "checkpoint_bytes": size,
        "checkpoint_seconds": round(save, 2),
    }


def _median_seconds(function: Callable[[], object], calls: int) -> float:
    function()
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
