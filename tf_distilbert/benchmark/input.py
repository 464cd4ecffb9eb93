"""``benchmark input``: tokenising, masking and the whole pipeline, and how far ahead of the step.

Text is that of the sample corpus by default, repeated to a few megabytes.
"""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tf_distilbert.architecture import Architecture
from tf_distilbert.assets import asset
from tf_distilbert.benchmark.competitor import Competitor, choose
from tf_distilbert.benchmark.machine import describe_machine
from tf_distilbert.benchmark.report import (
    check_json_path,
    number_text,
    print_result,
    progress_sayer,
    write_result,
)
from tf_distilbert.benchmark.step import BERT_BASE, half_of
from tf_distilbert.benchmark.timing import Measurement, measure
from tf_distilbert.errors import UserError
from tf_distilbert.runtime import usable_cores
from tf_distilbert.sample.corpus import sample_text

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
        json_path: write everything here, too.
        only: names of competitors; all by default.
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
    check_json_path(json_path)
    vocabulary = vocabulary or str(asset("saved_models/sample_teacher/vocab.txt"))
    for path in filter(None, (text, vocabulary)):
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file")
    say, machine = progress_sayer(), describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        text = text or _write_sample(Path(folder), _QUICK_SAMPLE_BYTES if quick else _SAMPLE_BYTES)
        listed = input_competitors(text, vocabulary, sequence_length, batch_size)
        competitors, missing = choose(listed, only)
        num_bytes = Path(text).stat().st_size
        measurements = measure(competitors, rounds, at_least_seconds=0.2, say=say)
    if step_tokens_per_second is None:
        say("our step, for comparison")
        step_tokens_per_second = _measure_step(teacher, 3 if quick else 5)
    result: dict[str, Any] = {
        "kind": "input",
        "machine": machine,
        "settings": {
            "text_bytes": num_bytes,
            "vocabulary": vocabulary,
            "batch_size": batch_size,
            "sequence_length": sequence_length,
            "rounds": rounds,
            "quick": quick,
        },
        "step_tokens_per_second": step_tokens_per_second,
        "competitors": [
            _entry(competitor, measurement, step_tokens_per_second)
            for competitor, measurement in zip(competitors, measurements, strict=True)
        ],
        "missing": missing,
    }
    write_result(json_path, result)
    print_result(
        f"Input, {num_bytes / 1e6:.1f} MB of text",
        ("competitor", "rate (quartiles)", "unit", "x our step", "share of the cores' time"),
        [_row(entry) for entry in result["competitors"]],
        result,
        [f"Our step: {number_text(step_tokens_per_second)} tokens/s."],
    )
    if not any(entry["rate"] for entry in result["competitors"]):
        raise UserError("no competitor finished; the reasons are above")
    return result


def _write_sample(folder: Path, num_bytes: int) -> str:
    sample = sample_text("train")
    repeats = math.ceil(num_bytes / len(sample.encode("utf-8")))
    path = folder / "sample.txt"
    path.write_text("\n".join([sample] * repeats), encoding="utf-8")
    return str(path)


def _measure_step(teacher: Architecture, rounds: int) -> float | None:
    """Give the tokens a second of our fastest step, 8 x 128; None if it fails."""
    rows, length = 8, min(128, teacher.max_positions)
    arguments = {
        "teacher": asdict(teacher),
        "student": asdict(half_of(teacher)),
        "batch_size": rows,
        "sequence_length": length,
        "precision": "mixed_bfloat16",
        "options": {"distillation_positions": "masked"},
    }
    (found,) = measure([Competitor("step", "our_models:step", arguments)], rounds)
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
