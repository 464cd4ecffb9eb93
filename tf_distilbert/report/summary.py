"""What was made from what, how, and how far it is."""

import datetime
from collections.abc import Sequence
from typing import Any

from tf_distilbert.report.run import Run, flat
from tf_distilbert.report.table import Table, number, table_of

_NOT_SHOWN = ("output", "train.resume")  # of settings that differ: every run has its own
_TERMS = {
    "distillation_weight": "distillation",
    "mlm_weight": "masked LM",
    "cosine_weight": "cosine",
    "mse_weight": "squared error of logits",
    "task_weight": "labels",
    "hidden_weight": "hidden states",
}


def summary_table(runs: Sequence[Run]) -> Table:
    """Tell of each run what it is."""
    return table_of("What each run is", [run.name for run in runs], [_facts(run) for run in runs])


def differences_table(runs: Sequence[Run]) -> Table | None:
    """Show the settings in which several runs differ, if there are any."""
    settings = [flat(run.settings) for run in runs]
    keys = dict.fromkeys(key for values in settings for key in values if key not in _NOT_SHOWN)
    differing = [key for key in keys if len({values.get(key) for values in settings}) > 1]
    if not differing:
        return None
    rows = [(key, [values.get(key, "-") for values in settings]) for key in differing]
    caption = "Settings in which the runs differ"
    return Table(caption, ["setting", *(run.name for run in runs)], rows)


def _facts(run: Run) -> dict[str, str]:
    settings, train = run.settings, run.settings["train"]
    facts = {"made": _origin(run), "state": _state(run)}
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
    facts["precision, seed"] = f"{train['precision']}, {train['seed']}"
    facts["versions"] = _versions(run)
    if run.validations:
        last = run.validations[-1]
        metrics = {name: value for name, value in last.items() if isinstance(value, float)}
        metrics.pop("time", None)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        facts["last held-out metrics"] = f"step {last['step']:,}: {shown}"
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
        return f"distilled from {run.teacher}"
    start = settings.get("initialize_from")
    return f"pretrained, beginning with {start}" if start else "pretrained from scratch"


def _state(run: Run) -> str:
    total = run.settings["train"].get("steps")
    steps = f"{run.steps_made:,} of {total:,} steps" if total else f"{run.steps_made:,} steps"
    times = [report["time"] for report in [*run.training, *run.validations] if "time" in report]
    span = datetime.timedelta(seconds=round(max(times) - min(times))) if times else None
    ended = "finished" if run.model or run.scores else "not finished"
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
    return " + ".join(terms) + (f", temperature {loss['temperature']:g}" if terms else "")


def _versions(run: Run) -> str:
    made_by = run.provenance.get("made_by")
    if not made_by:
        return "written down when the run ends"
    versions = run.provenance.get("versions", {})
    return ", ".join([made_by, *(f"{name} {version}" for name, version in versions.items())])
