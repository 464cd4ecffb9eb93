"""What was made from what, how, and how far it is."""

import datetime
from collections.abc import Sequence
from typing import Any

from tf_distilbert.report.layers import listed_layers
from tf_distilbert.report.measurements import Measured, key_facts, shape_facts
from tf_distilbert.report.run import Run, flat
from tf_distilbert.report.table import Table, number, table_of

_NOT_SHOWN = ("output", "train.resume")  # of settings that differ: every run has its own
_TERMS = {
    "distillation_weight": "distillation",
    "mlm_weight": "masked LM",
    "cosine_weight": "cosine",
    "mse_weight": "squared error of logits",
    "relation_weight": "attention relations",
    "embedding_weight": "vectors of texts",
    "task_weight": "labels",
    "hidden_weight": "hidden states",
}


def summary_table(runs: Sequence[Run], measured: Sequence[Measured]) -> Table:
    """Tell of each run what it is.

    Args:
        runs: one or more.
        measured: of those that have a model.
    """
    shapes = {one.number: shape_facts(one) for one in measured}
    facts = [_facts(run, shapes.get(number_of_run, {})) for number_of_run, run in enumerate(runs)]
    return table_of("What each run is", [run.name for run in runs], facts)


def comparison_table(runs: Sequence[Run], measured: Sequence[Measured]) -> Table:
    """Put several runs side by side: the settings that differ, the last metrics, size and speed.

    Args:
        runs: two or more.
        measured: of those that have a model.
    """
    settings = [flat(run.settings) for run in runs]
    keys = dict.fromkeys(key for values in settings for key in values if key not in _NOT_SHOWN)
    differing = [key for key in keys if len({values.get(key) for values in settings}) > 1]
    facts = {one.number: key_facts(one) for one in measured}
    columns = []
    for number_of_run, (run, values) in enumerate(zip(runs, settings, strict=True)):
        column = {key: values.get(key, "-") for key in differing}
        column["steps made"] = f"{run.steps_made:,}"
        last = _last_metrics(run)
        column |= {f"held out: {name}": f"{value:.4g}" for name, value in last.items()}
        for split, scores in run.scores.items():
            column |= {f"{split}: {name}": f"{value:.4g}" for name, value in scores.items()}
        columns.append(column | facts.get(number_of_run, {}))
    names = [run.name for run in runs]
    return table_of("The runs side by side: what differs, and what came of it", names, columns)


def _facts(run: Run, shape: dict[str, str]) -> dict[str, str]:
    settings, train = run.settings, run.settings["train"]
    facts = {"made": _origin(run), **shape, "state": _state(run)}
    if run.verb == "finetune":
        facts["data"] = str(settings["data"])
        unit, length = "rows", settings.get("max_length")
    else:
        data = settings["data"]
        facts["text"] = _text(data, "text", "records") or "-"
        share = data.get("validation_share")
        held_out = f"{share:.1%} of the text" if share else None
        facts["held out"] = _text(data, "validation", "validation_records") or held_out or "nothing"
        unit = "packed rows" if data.get("packing") else "sequences"
        length = data.get("sequence_length")
    of_tokens = f" of {length} tokens at most" if length else ""
    facts["batch"] = f"{train['global_batch_size']:,} {unit}{of_tokens}"
    if objective := _objective(run):
        facts["loss"] = objective
    facts["learning rate"] = (
        f"{number(train['learning_rate'])}, warm-up over {train['warmup_share']:.0%} of the steps"
    )
    facts["precision, seed"] = f"{_precision(run)}, {train['seed']}"
    facts["versions"] = _versions(run)
    if run.validations:
        shown = ", ".join(f"{name} {value:.4g}" for name, value in _last_metrics(run).items())
        facts["last held-out metrics"] = f"step {run.validations[-1]['step']:,}: {shown}"
    for split, scores in run.scores.items():
        shown = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
        facts[f"scores on {split}"] = shown
    return facts


def _origin(run: Run) -> str:
    settings = run.settings
    if run.verb == "finetune":
        taught = f", taught by {run.teacher}" if run.teacher else ""
        return f"fine-tuned on {settings['task']} from {settings['model']}{taught}"
    if run.verb == "distill":
        start = settings["student"]["initialize_from"]
        taken = f", beginning with its layers {listed_layers(run.tried[0])}" if run.tried else ""
        begins = {"teacher": taken, "random": ", beginning with random weights"}
        return f"distilled from {run.teacher}{begins.get(start, f', beginning with {start}')}"
    start = settings.get("initialize_from")
    return f"pretrained, beginning with {start}" if start else "pretrained from scratch"


def _precision(run: Run) -> str:
    """Name what was computed in; a run of an earlier version has not written that down."""
    precision = run.settings["train"]["precision"]
    return "chosen by the device, not written down" if precision == "auto" else precision


def _last_metrics(run: Run) -> dict[str, float]:
    last = run.validations[-1] if run.validations else {}
    return {n: value for n, value in last.items() if isinstance(value, float) and n != "time"}


def _state(run: Run) -> str:
    total = run.settings["train"].get("steps")
    steps = f"{run.steps_made:,} of {total:,} steps" if total else f"{run.steps_made:,} steps"
    times = [report["time"] for report in [*run.training, *run.validations] if "time" in report]
    span = datetime.timedelta(seconds=round(max(times) - min(times))) if times else None
    ended = "finished" if run.is_finished else "not finished"
    skipped = round(sum(report.get("skipped_updates", 0) for report in run.training))
    parts = [ended, steps, f"first to last report {span}" if span else ""]
    parts.append(f"{skipped:,} updates skipped" if skipped else "")
    return ", ".join(filter(None, parts))


def _text(data: dict[str, Any], text: str, records: str) -> str:
    return ", ".join(data.get(text) or []) or (data.get(records) or "")


def _objective(run: Run) -> str:
    loss = run.settings.get("loss", {})
    if run.verb == "finetune" and not run.teacher:
        return "labels"
    terms = [f"{loss[key]:g} x {name}" for key, name in _TERMS.items() if loss.get(key)]
    softened = loss.get("distillation_weight")
    return " + ".join(terms) + (f", temperature {loss['temperature']:g}" if softened else "")


def _versions(run: Run) -> str:
    made_by = run.provenance.get("made_by")
    if not made_by:
        return "written down when the run ends"
    versions = run.provenance.get("versions", {})
    return ", ".join([made_by, *(f"{name} {version}" for name, version in versions.items())])
