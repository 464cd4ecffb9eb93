"""What students keep of their teacher on tasks: many fine-tunings, one table."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.config.finetuning import FinetuneConfig
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.console.lines import say
from tf_distilbert.errors import UserError
from tf_distilbert.finetuning.costs import measure_costs
from tf_distilbert.finetuning.exported import check_exports, export_row, table_rows
from tf_distilbert.finetuning.model_facts import held_out_metrics, measure_models
from tf_distilbert.finetuning.retention_picture import check_matplotlib, draw_retention
from tf_distilbert.finetuning.retention_plan import RetentionPlan
from tf_distilbert.finetuning.retention_table import as_markdown, summarise
from tf_distilbert.finetuning.students import TEACHER, check_names
from tf_distilbert.finetuning.variants import distil_variants, variants_of, whole_variant


def retention(
    teacher: str,
    students: Mapping[str, str],
    tasks: Sequence[str],
    data: Sequence[str],
    output: str | Path,
    *,
    exports: Sequence[str] = (),
    seeds: int = 5,
    learning_rates: Sequence[float] = (3e-5,),
    settings: FinetuneConfig | None = None,
    ablation: DistillConfig | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Fine-tune teacher and students on tasks, and write what each keeps, and what it costs.

    Sentence encoders are scored as they are on STS-B, similarities and retrievals.

    The output gets ``retention.md``, ``retention.json`` and ``retention.png``. What a stopped call
    has finished is not made again.

    Args:
        teacher: folder of a pre-trained model.
        students: name to folder, in the order of the table; see `name_students`. With an `ablation`
            there may be none: the one of the whole recipe is then made.
        tasks: names; see `find_task`.
        data: folders that the tasks' folders are in, or ``tfds``.
        output: everything is remembered here.
        exports: ``float32``, ``int8``: of every student, those of `ablation` included, each adds a
            row: its fine-tuned models as ONNX files, scored through onnxruntime.
        seeds, learning_rates: see `RetentionPlan`.
        settings: of all fine-tunings, but what differs between them.
        ablation: distil the variants of this configuration, and add them; see `variants_of`.
        console: where progress is shown, by default stderr.

    Returns:
        What ``retention.json`` holds; see `summarise`.

    Raises:
        UserError: a model, a name, a task, its data, an export or settings are at fault.
        Interrupted: a signal came; the same call goes on.

    Example:
        >>> students = {"half depth": "runs/half/model", "third": "runs/third/model"}
        >>> found = tf_distilbert.retention(
        ...     "hf://google-bert/bert-base-uncased", students, ["sst2", "rte"], ["GLUE"],
        ...     "retention", exports=["int8"],
        ... )
        >>> list(found["models"])
        ['teacher', 'half depth', 'half depth, int8', 'third', 'third, int8']
    """
    check_matplotlib()
    check_exports(exports)
    output, console = Path(output), console or Console(stderr=True)
    if not students and ablation is None:
        raise UserError("give a student, or the configuration of an ablation that makes one")
    _check_rows(students, ablation, exports)
    models = {TEACHER: teacher, **students}
    base = FinetuneConfig(task="", model="", data="", output="") if settings is None else settings
    # What is missing is to be said now, not after hours.
    plan = RetentionPlan(models, tasks, data, output, seeds, learning_rates, base, exports)
    plan.check()
    if ablation is not None:
        variants = distil_variants(ablation, output / "students", console)
        models |= {name: str(folder) for name, folder in variants.items()}
        plan = replace(plan, models=models)
    scores = plan.scores(console)
    say(console, "measuring size and speed")
    summary = summarise(scores, _facts(plan), plan.baselines(), plan.zero_shot)
    write_atomically(output / "retention.json", (json.dumps(summary, indent=2) + "\n").encode())
    text = as_markdown(summary, differences_to=whole_variant(models) if ablation else None)
    write_atomically(output / "retention.md", text.encode())
    draw_retention(summary, output / "retention.png")
    return summary


def _check_rows(
    students: Mapping[str, str], ablation: DistillConfig | None, exports: Sequence[str]
) -> None:
    """See that no two rows of the table, no two folders, would have one name."""
    variants = variants_of(ablation) if ablation is not None else {}
    of_exports = (export_row(*pair) for pair in product([*students, *variants], exports))
    check_names(students, [TEACHER, *variants, *of_exports])


def _facts(plan: RetentionPlan) -> dict[str, dict[str, Any]]:
    """Measure what is told of each row beside its scores; an export has its model's parameters."""
    encoders = measure_models(plan.models)
    costs = measure_costs(plan.models, plan.first_task, plan.exports)
    facts: dict[str, dict[str, Any]] = {}
    for row, model in table_rows(plan.models, plan.exports).items():
        if row == model:
            # Of another vocabulary other tokens were predicted: such figures do not compare.
            compares = encoders[model]["vocabulary"] == encoders[TEACHER]["vocabulary"]
            held_out = held_out_metrics(plan.models[model]) if compares else {}
            facts[row] = {**encoders[model], **costs[row], "held_out": held_out}
        else:
            facts[row] = {"parameters": encoders[model]["parameters"], **costs[row]}
    return facts
