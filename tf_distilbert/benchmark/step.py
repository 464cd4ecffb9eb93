"""``benchmark step``: one update of a distillation, by us and by all who can do it.

Every competitor makes the same update: a BERT teacher without dropout, a student with dropout, the
triple loss 5/2/1 at temperature 2, the gradient clipped at 5, Adam. Weights are random.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from tf_distilbert.benchmark.batch import num_predictions
from tf_distilbert.benchmark.flops import step_flops
from tf_distilbert.benchmark.report import Benchmark, memory_text, number_text, seconds_text
from tf_distilbert.benchmark.timing import Measurement
from tf_distilbert.benchmark.worker import Competitor
from tf_distilbert.errors import UserError
from tf_distilbert.models.architecture import DISTILBERT_EPSILON, Architecture

BERT_BASE = Architecture(30522)
REFERENCE = "pytorch-float32"
RELATIONS: dict[str, Any] = {
    **{"relation_weight": 3.0, "distillation_weight": 0.0, "mlm_weight": 0.0},
    "cosine_weight": 0.0,
}
"""The loss of ``configs/minilm-6x768.yaml``."""
RELATIONS_AND_WORDS: dict[str, Any] = {
    **{"relation_weight": 3.0, "distillation_weight": 5.0, "mlm_weight": 2.0},
    **{"cosine_weight": 0.0, "distillation_positions": "masked"},
}
"""The loss of ``configs/relations-and-words.yaml``."""
_COLUMNS = ("competitor", "a step (quartiles)", "tokens/s", "x reference", "of peak", "memory")


def step_competitors(
    teacher: Architecture, student: Architecture, batch_size: int, sequence_length: int
) -> list[Competitor]:
    """List who takes part; a variant is one line."""
    sizes = {
        "teacher": asdict(teacher),
        "student": asdict(student),
        "batch_size": batch_size,
        "sequence_length": sequence_length,
    }
    masked = batch_size * num_predictions(sequence_length)

    def ours(name: str, precision: str, backend: str = "tensorflow", **options: Any) -> Competitor:
        relations = bool(options.get("relation_weight"))
        predictions = masked if options.get("distillation_positions") == "masked" else None
        if relations and not options["mlm_weight"]:
            predictions = 0
        return Competitor(
            name,
            "our_models:step",
            {**sizes, "precision": precision, "options": options},
            needs=(backend,),
            environment={"KERAS_BACKEND": backend},
            facts=facts(precision, predictions, relations),
        )

    def peer(name: str, workload: str, precision: str, *needs: str) -> Competitor:
        arguments = {**sizes, "precision": precision}
        return Competitor(name, workload, arguments, needs, facts=facts(precision, None))

    def facts(precision: str, predictions: int | None, relations: bool = False) -> dict[str, Any]:
        sizes = batch_size, sequence_length
        flops = step_flops(teacher, student, *sizes, predictions, relations)
        return {"precision": precision.removeprefix("mixed_"), "flops": flops}

    bfloat16 = "mixed_bfloat16"
    one_chunk: dict[str, Any] = {"chunk_size": batch_size * sequence_length}
    return [
        ours("ours-float32", "float32"),
        ours("ours-float32-one-chunk", "float32", **one_chunk),
        ours("ours-float32-masked", "float32", distillation_positions="masked"),
        ours("ours-float32-relations-and-words", "float32", **RELATIONS_AND_WORDS),
        ours("ours-float32-relations", "float32", **RELATIONS),
        ours("ours-bfloat16", bfloat16),
        ours("ours-bfloat16-one-chunk", bfloat16, **one_chunk),
        ours("ours-bfloat16-masked", bfloat16, distillation_positions="masked"),
        ours("ours-bfloat16-relations-and-words", bfloat16, **RELATIONS_AND_WORDS),
        ours("ours-bfloat16-relations", bfloat16, **RELATIONS),
        ours("ours-jax-float32", "float32", "jax"),
        ours("ours-jax-float32-masked", "float32", "jax", distillation_positions="masked"),
        peer("pytorch-float32", "torch_steps:step", "float32", "torch", "transformers"),
        peer("pytorch-bfloat16", "torch_steps:step", bfloat16, "torch", "transformers"),
        peer("keras-distillation-float32", "keras_nlp_models:distiller_step", "float32"),
        peer("keras-distillation-bfloat16", "keras_nlp_models:distiller_step", bfloat16),
        peer("keras-nlp-float32", "keras_nlp_models:plain_step", "float32"),
        peer("keras-nlp-bfloat16", "keras_nlp_models:plain_step", bfloat16),
    ]


def benchmark_step(
    *,
    quick: bool = False,
    json_path: str | None = None,
    only: Sequence[str] | None = None,
    batch_size: int | None = None,
    sequence_length: int | None = None,
    rounds: int | None = None,
    teacher: Architecture = BERT_BASE,
) -> dict[str, Any]:
    """Time the step of every competitor and print a table.

    Args:
        quick: a smaller batch and fewer rounds.
        json_path, only: see `Benchmark`.
        batch_size, sequence_length: of the batch; 8 x 128, or quick 4 x 64.
        rounds: how often each has its turn; 7, or quick 3.
        teacher: the student has half its layers.

    Returns:
        What the JSON file holds.

    Raises:
        UserError: a size or name is at fault, or nobody finished.
    """
    batch_size = batch_size or (4 if quick else 8)
    sequence_length = sequence_length or (64 if quick else 128)
    rounds = rounds or (3 if quick else 7)
    benchmark, student = Benchmark("step", json_path, only), half_of(teacher)
    if sequence_length > teacher.max_positions:
        raise UserError(f"--sequence-length {sequence_length}: use {teacher.max_positions} at most")
    benchmark.choose(step_competitors(teacher, student, batch_size, sequence_length))
    measured, peak = benchmark.measure_with_peak(quick, rounds, anchor=REFERENCE)
    entries = [_entry(*one, batch_size * sequence_length, peak) for one in measured]
    layers = f"{teacher.num_layers} to {student.num_layers} layers"
    peaks = ", ".join(f"{value / 1e9:,.0f} GFLOP/s {name}" for name, value in peak.items())
    settings = {
        "batch_size": batch_size,
        "sequence_length": sequence_length,
        "rounds": rounds,
        "quick": quick,
        "teacher": asdict(teacher),
        "student": asdict(student),
    }
    return benchmark.finish(
        f"One update, {layers}, {batch_size} x {sequence_length} tokens",
        _COLUMNS,
        [_row(entry) for entry in entries],
        entries,
        settings,
        finished=any(entry["quartiles"] for entry in entries),
        notes=[f"Matrix peak: {peaks}."],
        matrix_peak_flops_per_second=peak,
    )


def half_of(teacher: Architecture) -> Architecture:
    """Describe the DistilBERT that `build_student` makes of a BERT."""
    return replace(
        teacher,
        family="distilbert",
        num_layers=max(1, teacher.num_layers // 2),
        num_segments=0,
        layer_norm_epsilon=DISTILBERT_EPSILON,
    )


def _entry(
    competitor: Competitor, measurement: Measurement, tokens: int, peak: dict[str, float]
) -> dict[str, Any]:
    quartiles = measurement.quartiles("step")
    flops, of_peak = competitor.facts["flops"], peak[competitor.facts["precision"]]
    share = flops / quartiles[1] / of_peak if quartiles and of_peak else None
    return {
        "name": competitor.name,
        **competitor.facts,
        "quartiles": quartiles,
        "tokens_per_second": tokens / quartiles[1] if quartiles else None,
        "times_reference": measurement.ratio("step"),
        "share_of_matrix_peak": share,
        "peak_bytes": measurement.peak_bytes,
        "first_loss": measurement.first_value,
        "seconds": measurement.rounds.get("step", []),
        "reference_seconds": measurement.baselines.get("step", []),
        "failure": measurement.failure,
    }


def _row(entry: dict[str, Any]) -> list[str]:
    share = entry["share_of_matrix_peak"]
    return [
        entry["name"],
        seconds_text(entry["quartiles"]),
        number_text(entry["tokens_per_second"]),
        number_text(entry["times_reference"]),
        number_text(100 * share if share else None, " %"),
        memory_text(entry["peak_bytes"]),
    ]
