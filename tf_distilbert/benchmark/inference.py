"""``benchmark inference``: a bare encoder from token ids to last hidden states.

No head, no pooler: so all compute the same. Batch 1 is a latency, the larger batch a throughput.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tf_distilbert.benchmark.batch import Shapes
from tf_distilbert.benchmark.flops import encoder_flops
from tf_distilbert.benchmark.report import Benchmark, memory_text, number_text
from tf_distilbert.benchmark.step import BERT_BASE, half_of
from tf_distilbert.benchmark.timing import Measurement
from tf_distilbert.benchmark.worker import Competitor
from tf_distilbert.errors import UserError
from tf_distilbert.models.architecture import Architecture

LENGTHS, QUICK_LENGTHS = (16, 64, 128, 384), (16, 64, 128)
REFERENCE = "pytorch-student-float32"


def inference_competitors(
    teacher: Architecture, student: Architecture, shapes: Shapes
) -> list[Competitor]:
    """List who takes part; a variant is one line."""
    models = {"teacher": teacher, "student": student}
    torch, onnx = ("torch", "transformers"), ("tf2onnx", "onnx", "onnxruntime")
    listed = []
    for name, workload, model, precision, needs in (
        ("ours-teacher-float32", "our_models:inference", "teacher", "float32", ()),
        ("ours-student-float32", "our_models:inference", "student", "float32", ()),
        ("ours-teacher-bfloat16", "our_models:inference", "teacher", "bfloat16", ()),
        ("ours-student-bfloat16", "our_models:inference", "student", "bfloat16", ()),
        ("ours-exported-float32", "our_models:exported", "student", "float32", ()),
        ("ours-exported-bfloat16", "our_models:exported", "student", "bfloat16", ()),
        ("ours-onnx-float32", "our_models:exported_onnx", "student", "float32", onnx),
        ("ours-onnx-int8", "our_models:exported_onnx", "student", "int8", onnx),
        ("pytorch-teacher-float32", "torch_models:inference", "teacher", "float32", torch),
        ("pytorch-student-float32", "torch_models:inference", "student", "float32", torch),
        ("pytorch-teacher-bfloat16", "torch_models:inference", "teacher", "bfloat16", torch),
        ("pytorch-student-bfloat16", "torch_models:inference", "student", "bfloat16", torch),
        ("keras-nlp-teacher-float32", "keras_nlp_models:inference", "teacher", "float32", ()),
        ("keras-nlp-student-float32", "keras_nlp_models:inference", "student", "float32", ()),
        ("keras-nlp-exported-float32", "keras_nlp_models:exported", "student", "float32", ()),
        ("keras-nlp-exported-bfloat16", "keras_nlp_models:exported", "student", "bfloat16", ()),
        (
            *("onnxruntime-student-float32", "torch_models:exported_onnx", "student", "float32"),
            (*torch, "onnx", "onnxruntime"),
        ),
    ):
        arguments = {
            "architecture": asdict(models[model]),
            "shapes": shapes,
            "precision": precision,
        }
        facts = {"model": model, "precision": precision}
        listed.append(Competitor(name, workload, arguments, needs, facts))
    return listed


def benchmark_inference(
    *,
    quick: bool = False,
    json_path: str | None = None,
    only: Sequence[str] | None = None,
    batch_size: int | None = None,
    sequence_length: int | None = None,
    rounds: int | None = None,
    teacher: Architecture = BERT_BASE,
) -> dict[str, Any]:
    """Time the encoders and print a table.

    Args:
        quick: fewer and smaller shapes.
        json_path, only: see `Benchmark`.
        batch_size: of the throughput; 32, or quick 8.
        sequence_length: this one alone; by default 16, 64, 128 and 384, or quick up to 128.
        rounds: how often each has its turn with each shape; 5, or quick 3.
        teacher: the student has half its layers.

    Returns:
        What the JSON file holds.

    Raises:
        UserError: a size or name is at fault, or nobody finished.
    """
    batch_size = batch_size or (8 if quick else 32)
    lengths = (sequence_length,) if sequence_length else QUICK_LENGTHS if quick else LENGTHS
    rounds = rounds or (3 if quick else 5)
    benchmark = Benchmark("inference", json_path, only)
    if max(lengths) > teacher.max_positions:
        raise UserError(f"--sequence-length {max(lengths)}: use {teacher.max_positions} at most")
    models = {"teacher": teacher, "student": half_of(teacher)}
    shapes = {f"{rows}x{s}": (rows, s) for rows in dict.fromkeys((1, batch_size)) for s in lengths}
    benchmark.choose(inference_competitors(**models, shapes=shapes))
    measured, peak = benchmark.measure_with_peak(
        quick, rounds, at_least_seconds=0.1 if quick else 0.3, anchor=REFERENCE
    )
    entries = [_entry(*one, models, shapes, peak) for one in measured]
    columns = [f"{case} {'ms' if rows == 1 else 'seq/s'}" for case, (rows, _) in shapes.items()]
    return benchmark.finish(
        "Token ids to last hidden states, medians",
        ["competitor", *columns, "memory"],
        [_row(entry, shapes) for entry in entries],
        entries,
        {"shapes": shapes, "rounds": rounds, "quick": quick}
        | {name: asdict(model) for name, model in models.items()},
        finished=any(any(entry["cases"].values()) for entry in entries),
        notes=_comparisons(entries, shapes),
        matrix_peak_flops_per_second=peak,
    )


def _entry(
    competitor: Competitor,
    measurement: Measurement,
    models: dict[str, Architecture],
    shapes: Shapes,
    peak: dict[str, float],
) -> dict[str, Any]:
    cases = {}
    model, of_peak = models[competitor.facts["model"]], peak.get(competitor.facts["precision"])
    for case, (rows, length) in shapes.items():
        quartiles = measurement.quartiles(case)
        flops = encoder_flops(model, rows * length, length)
        cases[case] = quartiles and {
            "quartiles": quartiles,
            "sequences_per_second": rows / quartiles[1],
            "times_reference": measurement.ratio(case),
            "share_of_matrix_peak": flops / quartiles[1] / of_peak if of_peak else None,
            "seconds": measurement.rounds[case],
        }
    return {
        "name": competitor.name,
        **competitor.facts,
        "cases": cases,
        "peak_bytes": measurement.peak_bytes,
        "failure": measurement.failure,
    }


def _row(entry: dict[str, Any], shapes: Shapes) -> list[str]:
    cells = []
    for case, (rows, _) in shapes.items():
        found = entry["cases"][case]
        milliseconds = found and 1000 * found["quartiles"][1]
        cells.append(
            number_text(milliseconds if rows == 1 else found and found["sequences_per_second"])
        )
    return [entry["name"], *cells, memory_text(entry["peak_bytes"])]


def _comparisons(entries: list[dict[str, Any]], shapes: Shapes) -> list[str]:
    """Say how many times faster our student is than each of the others, per shape."""
    cases = {entry["name"]: entry["cases"] for entry in entries}
    own, notes = cases.pop("ours-student-float32", {}), []
    for name, others in cases.items():
        ratios = [
            f"{case} {others[case]['quartiles'][1] / own[case]['quartiles'][1]:.2f}"
            for case in shapes
            if own.get(case) and others[case]
        ]
        if ratios:
            notes.append(f"ours-student-float32 is faster than {name}, times: {', '.join(ratios)}")
    return notes
