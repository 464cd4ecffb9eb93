"""``benchmark input``: tokenising, masking and the whole pipeline, and how far ahead of the step.

Text is that of the sample corpus by default, repeated to a few megabytes.
"""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tf_distilbert.assets import asset
from tf_distilbert.benchmark.report import Benchmark, number_text
from tf_distilbert.benchmark.step import BERT_BASE, half_of, step_competitors
from tf_distilbert.benchmark.timing import Measurement, measure
from tf_distilbert.benchmark.worker import Competitor
from tf_distilbert.errors import UserError
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.sample.corpus import sample_text
from tf_distilbert.training.runtime import usable_cores

_SAMPLE_BYTES, _QUICK_SAMPLE_BYTES = 8_000_000, 2_000_000


def input_competitors(
    text: str, vocabulary: str, sequence_length: int, batch_size: int
) -> list[Competitor]:
    """List who takes part; a variant is one line."""
    cores = usable_cores()
    files = {"text": text, "vocabulary": vocabulary}
    words = {"vocabulary": vocabulary}
    stream = {**files, "sequence_length": sequence_length, "batch_size": batch_size}
    prepared = {**files, "sequence_length": sequence_length}

    def one(name: str, function: str, unit: str, **arguments: Any) -> Competitor:
        return Competitor(name, f"input_workloads:{function}", arguments, (), {"unit": unit})

    return [
        one("tokenise-ours-1", "our_tokenizer", "MB/s", **files, threads=1),
        one("tokenise-ours-all", "our_tokenizer", "MB/s", **files, threads=cores),
        one("tokenise-tokenizers-1", "tokenizers_tokenizer", "MB/s", **files, threads=1),
        one("tokenise-tokenizers-all", "tokenizers_tokenizer", "MB/s", **files, threads=cores),
        one("tokenise-keras-nlp-1", "keras_nlp_tokenizer", "MB/s", **files, threads=1),
        one("tokenise-keras-nlp-all", "keras_nlp_tokenizer", "MB/s", **files, threads=cores),
        one("prepare-ours", "our_prepare", "MB/s", **prepared),
        one("mask-ours", "our_masking", "tokens/s", **words, whole_word=False),
        one("mask-ours-whole-word", "our_masking", "tokens/s", **words, whole_word=True),
        one("mask-keras-nlp", "keras_nlp_masking", "tokens/s", **words),
        one("pipeline-ours", "our_pipeline", "tokens/s", **stream),
        one("pipeline-keras-nlp", "keras_nlp_pipeline", "tokens/s", **stream),
    ]


def benchmark_input(
    *,
    quick: bool = False,
    json_path: str | None = None,
    only: Sequence[str] | None = None,
    batch_size: int | None = None,
    sequence_length: int | None = None,
    rounds: int | None = None,
    text: str | None = None,
    vocabulary: str | None = None,
    step_tokens_per_second: float | None = None,
    teacher: Architecture = BERT_BASE,
) -> dict[str, Any]:
    """Time input and print a table.

    Args:
        quick: less text, fewer rounds.
        json_path, only: see `Benchmark`.
        batch_size, sequence_length: of the pipeline's batches; 32 x 128.
        rounds: how often each has its turn; 5, or quick 3.
        text: a UTF-8 file, a document's lines following each other; by default the sample corpus.
        vocabulary: an uncased ``vocab.txt``; by default the sample teacher's.
        step_tokens_per_second: of the training step; by default our fastest one is measured.
        teacher: of that step.

    Returns:
        What the JSON file holds.

    Raises:
        UserError: a file, size or name is at fault, or nobody finished.
    """
    batch_size, sequence_length = batch_size or 32, sequence_length or 128
    rounds = rounds or (3 if quick else 5)
    benchmark = Benchmark("input", json_path, only)
    vocabulary = vocabulary or str(asset("saved_models/sample_teacher/vocab.txt"))
    for path in filter(None, (text, vocabulary)):
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file")
    with tempfile.TemporaryDirectory() as folder:
        text = text or _write_sample(Path(folder), _QUICK_SAMPLE_BYTES if quick else _SAMPLE_BYTES)
        benchmark.choose(input_competitors(text, vocabulary, sequence_length, batch_size))
        num_bytes = Path(text).stat().st_size
        measured = benchmark.measure(rounds, at_least_seconds=0.2)
    if step_tokens_per_second is None:
        benchmark.say("our step, for comparison")
        step_tokens_per_second = _measure_step(teacher, 3 if quick else 5)
    entries = [_entry(*one, step_tokens_per_second) for one in measured]
    settings = {
        "text_bytes": num_bytes,
        "vocabulary": vocabulary,
        "batch_size": batch_size,
        "sequence_length": sequence_length,
        "rounds": rounds,
        "quick": quick,
    }
    return benchmark.finish(
        f"Input, {num_bytes / 1e6:.1f} MB of text",
        ("competitor", "rate (quartiles)", "unit", "x our step", "share of the cores' time"),
        [_row(entry) for entry in entries],
        entries,
        settings,
        finished=any(entry["rate"] for entry in entries),
        notes=[f"Our step: {number_text(step_tokens_per_second)} tokens/s."],
        step_tokens_per_second=step_tokens_per_second,
    )


def _write_sample(folder: Path, num_bytes: int) -> str:
    sample = sample_text("train")
    repeats = math.ceil(num_bytes / len(sample.encode("utf-8")))
    path = folder / "sample.txt"
    path.write_text("\n".join([sample] * repeats), encoding="utf-8")
    return str(path)


def _measure_step(teacher: Architecture, rounds: int) -> float | None:
    """Give the tokens a second of our fastest step, 8 x 128; None if it fails."""
    rows, length = 8, min(128, teacher.max_positions)
    listed = step_competitors(teacher, half_of(teacher), rows, length)
    ours = next(competitor for competitor in listed if competitor.name == "ours-bfloat16-masked")
    (found,) = measure([replace(ours, environment={})], rounds)  # on the backend of the caller
    quartiles = found.quartiles("step")
    return rows * length / quartiles[1] if quartiles else None


def _entry(
    competitor: Competitor, measurement: Measurement, step_tokens_per_second: float | None
) -> dict[str, Any]:
    quartiles, amount = measurement.quartiles("input"), measurement.first_value
    unit = competitor.facts["unit"]
    scale = 1e6 if unit == "MB/s" else 1.0
    # The most seconds are the lowest rate.
    rates = [amount / scale / seconds for seconds in reversed(quartiles)] if quartiles else None
    times_step = None
    if rates and step_tokens_per_second and unit == "tokens/s":
        times_step = rates[1] / step_tokens_per_second
    return {
        "name": competitor.name,
        **competitor.facts,
        "rate": rates and rates[1],
        "rate_quartiles": rates,
        "times_step": times_step,
        "amount_of_a_call": amount,
        "seconds": measurement.rounds.get("input", []),
        "peak_bytes": measurement.peak_bytes,
        "failure": measurement.failure,
    }


def _row(entry: dict[str, Any]) -> list[str]:
    rates, times = entry["rate_quartiles"], entry["times_step"]
    low, median, high = map(number_text, rates) if rates else "---"
    return [
        entry["name"],
        f"{median} ({low} to {high})" if rates else "-",
        entry["unit"],
        number_text(times),
        number_text(100 / (1 + times) if times else None, " %"),
    ]
