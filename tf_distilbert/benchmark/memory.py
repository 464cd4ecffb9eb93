"""``benchmark memory``: what the terms over the vocabulary take beside their inputs.

Each point is a process of its own. What is counted is the most memory that it held, less what it
held after a call with a few tokens.
"""

from collections.abc import Sequence
from typing import Any

from tf_distilbert.benchmark.competitor import Competitor, choose
from tf_distilbert.benchmark.machine import available_memory, describe_machine
from tf_distilbert.benchmark.report import (
    check_json_path,
    memory_text,
    number_text,
    print_result,
    progress_sayer,
    seconds_text,
    write_result,
)
from tf_distilbert.benchmark.timing import quartiles
from tf_distilbert.benchmark.worker_process import WorkerFailure, WorkerProcess
from tf_distilbert.errors import UserError

METHODS = ("plain", "chunked")
TOKENS, QUICK_TOKENS = (256, 1024, 4096, 16384), (256, 1024)
# English, and the multilingual models'.
VOCABULARIES, QUICK_VOCABULARIES = (30522, 119547), (30522,)
HIDDEN_SIZE = 768

# The plain loss holds so many copies of one model's logits; with fewer free it is not started.
_PLAIN_COPIES = 10


def memory_competitors(
    tokens: Sequence[int], vocabularies: Sequence[int], hidden_size: int
) -> list[Competitor]:
    """List the points, each method beside the other."""
    return [
        Competitor(
            f"{method}-{count}x{vocabulary}",
            "vocabulary_losses:loss",
            {
                "method": method,
                "tokens": count,
                "vocabulary_size": vocabulary,
                "hidden_size": hidden_size,
            },
        )
        for vocabulary in vocabularies
        for count in tokens
        for method in METHODS
    ]


def benchmark_memory(
    *,
    quick: bool = False,
    json_path: str | None = None,
    only: Sequence[str] | None = None,
    rounds: int | None = None,
    tokens: Sequence[int] | None = None,
    vocabularies: Sequence[int] | None = None,
    hidden_size: int = HIDDEN_SIZE,
) -> dict[str, Any]:
    """Measure the memory of the loss as tokens grow and print a table.

    Args:
        quick: fewer points.
        json_path: write everything here, too.
        only: names of points; all by default.
        rounds: timed calls of each; 3, or quick 2.
        tokens, vocabularies, hidden_size: of the points.

    Returns:
        What the JSON file holds.

    Raises:
        UserError: a name is at fault, or no point could be measured.
    """
    tokens = tokens or (QUICK_TOKENS if quick else TOKENS)
    vocabularies = vocabularies or (QUICK_VOCABULARIES if quick else VOCABULARIES)
    rounds = rounds or (2 if quick else 3)
    check_json_path(json_path)
    points, missing = choose(memory_competitors(tokens, vocabularies, hidden_size), only)
    say, machine = progress_sayer(), describe_machine()
    entries = []
    for point in points:
        say(point.name)
        entries.append(_measure(point, rounds))
    result = {
        "kind": "memory",
        "machine": machine,
        "settings": {"rounds": rounds, "quick": quick, "hidden_size": hidden_size},
        "competitors": entries,
        "missing": missing,
    }
    write_result(json_path, result)
    print_result(
        "Vocabulary terms with gradients, float32, memory beside their inputs",
        ("point", "extra memory", "x plain", "time (quartiles)", "time x plain"),
        [_row(entry, entries) for entry in entries],
        result,
    )
    if not any(entry["quartiles"] for entry in entries):
        raise UserError("no point was measured; the reasons are above")
    return result


def _measure(point: Competitor, rounds: int) -> dict[str, Any]:
    entry = {"name": point.name, **point.arguments}
    entry |= dict.fromkeys(("loss", "gradient_norm", "extra_bytes", "quartiles", "failure"))
    entry["seconds"] = []
    logits = 4 * point.arguments["tokens"] * point.arguments["vocabulary_size"]
    free, needed = available_memory(), _PLAIN_COPIES * logits
    if point.arguments["method"] == "plain" and free is not None and free < needed:
        reason = f"needs about {needed / 1e9:.0f} GB, {free / 1e9:.0f} GB are free"
        return entry | {"failure": reason}
    try:
        with WorkerProcess(point) as worker:
            worker.run("loss")
            calls = [worker.run("loss") for _ in range(rounds)]
    except WorkerFailure as failure:
        return entry | {"failure": str(failure)}
    extra = [call["value"]["extra_bytes"] for call in calls]
    seconds = [call["seconds"] for call in calls]
    return entry | {
        **calls[-1]["value"],
        "extra_bytes": None if None in extra else max(extra),
        "quartiles": quartiles(seconds),
        "seconds": seconds,
    }


def _row(entry: dict[str, Any], entries: list[dict[str, Any]]) -> list[str]:
    size = entry["tokens"], entry["vocabulary_size"]
    plain = next(
        (
            e
            for e in entries
            if e["method"] == "plain" and (e["tokens"], e["vocabulary_size"]) == size
        ),
        {},
    )
    memory, time = entry["extra_bytes"], entry["quartiles"]
    plain_memory, plain_time = plain.get("extra_bytes"), plain.get("quartiles")
    return [
        entry["name"],
        memory_text(memory),
        number_text(memory / plain_memory if memory and plain_memory else None),
        seconds_text(time),
        number_text(time[1] / plain_time[1] if time and plain_time else None),
    ]
