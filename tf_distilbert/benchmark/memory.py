"""``benchmark memory``: what the terms over the vocabulary take beside their inputs.

Each point is a process of its own. What is counted is the most memory that it held, less what it
held after a call with a few tokens.
"""

import ctypes
import gc
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_distilbert.benchmark.batch import TEMPERATURE, WEIGHTS, Cases
from tf_distilbert.benchmark.report import Benchmark, memory_text, number_text, seconds_text
from tf_distilbert.benchmark.timing import quartiles
from tf_distilbert.benchmark.worker import (
    Competitor,
    WorkerFailure,
    WorkerProcess,
    available_memory,
    peak_memory,
    resident_memory,
    restart_peak_memory,
)
from tf_distilbert.training.runtime import start_keras

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
            "memory:loss",
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
        json_path: see `Benchmark`.
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
    benchmark = Benchmark("memory", json_path, only)
    entries = []
    for point in benchmark.choose(memory_competitors(tokens, vocabularies, hidden_size)):
        benchmark.say(point.name)
        entries.append(_measure(point, rounds))
    return benchmark.finish(
        "Vocabulary terms with gradients, float32, memory beside their inputs",
        ("point", "extra memory", "x plain", "time (quartiles)", "time x plain"),
        [_row(entry, entries) for entry in entries],
        entries,
        {"rounds": rounds, "quick": quick, "hidden_size": hidden_size},
        finished=any(entry["quartiles"] for entry in entries),
        nobody="no point was measured",
    )


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
    beside = (e for e in entries if (e["tokens"], e["vocabulary_size"]) == size)
    plain = next((e for e in beside if e["method"] == "plain"), {})
    memory, time = entry["extra_bytes"], entry["quartiles"]
    plain_memory, plain_time = plain.get("extra_bytes"), plain.get("quartiles")
    return [
        entry["name"],
        memory_text(memory),
        number_text(memory / plain_memory if memory and plain_memory else None),
        seconds_text(time),
        number_text(time[1] / plain_time[1] if time and plain_time else None),
    ]


# The workload.


def loss(method: str, tokens: int, vocabulary_size: int, hidden_size: int) -> Cases:
    """Give the case ``loss``: it tells the value and the memory that computing it took.

    Computed are the distillation term over all tokens, the masked-LM term over every seventh, and
    the gradients with respect to the student's hidden states, word embeddings and bias.

    Args:
        method: ``plain`` or ``chunked``.
        tokens, vocabulary_size, hidden_size: of the logits.
    """
    start_keras()
    import tensorflow as tf

    generator = np.random.default_rng(0)

    def random(*shape: int) -> tf.Tensor:
        return tf.constant(0.1 * generator.standard_normal(shape, "float32"))

    def projection() -> tuple[tf.Tensor, ...]:
        return random(tokens, hidden_size), random(vocabulary_size, hidden_size), bias()

    def bias() -> tf.Tensor:
        return random(vocabulary_size)

    student, teacher = projection(), projection()
    ids = tf.constant(generator.integers(0, vocabulary_size, tokens, "int32"))
    masked = tf.cast(tf.range(tokens) % 7 == 0, tf.float32)
    compute = {"plain": plain_loss, "chunked": chunked_loss}[method]

    @tf.function(autograph=False)
    def loss_and_gradients(student: tuple, teacher: tuple, ids: Any, masked: Any) -> tuple:
        with tf.GradientTape() as tape:
            tape.watch(student)
            value = compute(student, teacher, ids, masked)
        return value, tape.gradient(value, student)

    # With a few tokens first: what loads and starts with the first call is no memory of the loss.
    few = slice(min(tokens, 32))
    first = [(hidden[few], table, bias) for hidden, table, bias in (student, teacher)]
    loss_and_gradients(*first, ids[few], masked[few])
    before = _start_of_extra_memory()

    def run() -> dict[str, Any]:
        value, gradients = loss_and_gradients(student, teacher, ids, masked)
        squares = sum(float(tf.reduce_sum(tf.square(part))) for part in gradients)
        # TensorFlow keeps what it took once, so the most of all calls is what one call takes.
        extra = peak_memory() - before if before else None
        return {"loss": float(value), "gradient_norm": squares**0.5, "extra_bytes": extra}

    return {"loss": run}


def plain_loss(student: tuple, teacher: tuple, ids: Any, masked: Any) -> Any:
    """Compute the terms over all logits at once, by `losses.per_token`."""
    import tensorflow as tf

    from tf_distilbert.losses.per_token import distillation_loss, masked_lm_loss, masked_mean

    student_logits, teacher_logits = (
        tf.matmul(hidden, table, transpose_b=True) + bias
        for hidden, table, bias in (student, teacher)
    )
    divergence = distillation_loss(student_logits, teacher_logits, TEMPERATURE)
    rows = tf.where(masked > 0)[:, 0]
    masked_lm = masked_lm_loss(tf.gather(student_logits, rows), tf.gather(ids, rows))
    distillation = masked_mean(divergence, tf.ones_like(masked))
    return WEIGHTS["distillation"] * distillation + WEIGHTS["mlm"] * tf.reduce_mean(masked_lm)


def chunked_loss(student: tuple, teacher: tuple, ids: Any, masked: Any) -> Any:
    """Compute the terms chunk by chunk, by `losses.vocabulary`."""
    import tensorflow as tf

    from tf_distilbert.losses.vocabulary import Projection, TokenWeights, vocabulary_loss

    weights = TokenWeights(
        distillation=tf.fill(tf.shape(masked), WEIGHTS["distillation"] / masked.shape[0]),
        mlm=WEIGHTS["mlm"] * masked / tf.reduce_sum(masked),
    )
    total, _ = vocabulary_loss(
        Projection(*student), Projection(*teacher), ids, weights, TEMPERATURE
    )
    return total


def _start_of_extra_memory() -> int | None:
    """Give what is held now, after all that is free was given back; None if nobody can tell."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        restart_peak_memory()
    except (AttributeError, OSError):
        return None
    return resident_memory()
