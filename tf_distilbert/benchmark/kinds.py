"""The kinds of benchmark, and which options each of them takes."""

import inspect
from collections.abc import Callable
from typing import Any

from tf_distilbert.benchmark.inference import benchmark_inference
from tf_distilbert.benchmark.input import benchmark_input
from tf_distilbert.benchmark.memory import benchmark_memory
from tf_distilbert.benchmark.step import benchmark_step
from tf_distilbert.errors import UserError

KINDS: dict[str, Callable[..., dict[str, Any]]] = {
    "step": benchmark_step,
    "inference": benchmark_inference,
    "input": benchmark_input,
    "memory": benchmark_memory,
}


def run_benchmark(kind: str, **options: Any) -> dict[str, Any]:
    """Run one kind of benchmark.

    Args:
        kind: a key of `KINDS`.
        **options: of its function; those that are None are left to it.

    Raises:
        UserError: an option is none of this kind's, and whatever the function refuses.
    """
    given = {name: value for name, value in options.items() if value is not None}
    taken = inspect.signature(KINDS[kind]).parameters
    for name, value in given.items():
        flag = f"--{name.replace('_', '-')}"
        if name not in taken:
            raise UserError(f"{flag}: benchmark {kind} has no such option")
        if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0:
            raise UserError(f"{flag} is {value}; give more than 0")
    return KINDS[kind](**given)
