"""The matrix peak: the most arithmetic that this machine does in a matrix product, now.

It is measured with each engine's own product of two square matrices, before and after the
competitors; the best of all counts. What share of it a model reaches says how much is left.
"""

from collections.abc import Callable
from typing import Any

from tf_distilbert.benchmark.competitor import Competitor
from tf_distilbert.benchmark.worker_process import WorkerFailure, WorkerProcess
from tf_distilbert.runtime import usable_cores

SIZES, QUICK_SIZES = (2048, 4096), (2048,)
PRECISIONS = ("float32", "bfloat16")
_CALLS = 5


def measure_matrix_peak(quick: bool) -> dict[str, float]:
    """Give the floating-point operations a second in each precision."""
    sizes = QUICK_SIZES if quick else SIZES
    best = dict.fromkeys(PRECISIONS, 0.0)
    for engine, package in (("tensorflow_products", "tensorflow"), ("torch_products", "torch")):
        competitor = Competitor(engine, f"matrix_peak:{engine}", {"sizes": sizes}, (package,))
        if competitor.missing:
            continue
        try:
            with WorkerProcess(competitor) as worker:
                for case in worker.cases:
                    precision, size = case.split()
                    worker.run(case)
                    seconds = min(worker.run(case, _CALLS)["seconds"])
                    best[precision] = max(best[precision], 2 * int(size) ** 3 / seconds)
        except WorkerFailure:
            continue  # an engine without products in this precision has no peak in it
    return best


def tensorflow_products(sizes: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    """Give a case ``PRECISION SIZE`` for each, by TensorFlow."""
    from tf_distilbert.runtime import start_keras

    start_keras()
    import tensorflow as tf

    product = tf.function(lambda x: tf.reduce_sum(tf.cast(tf.matmul(x, x)[:1], tf.float32)))

    def case(precision: str, size: int) -> Callable[[], float]:
        matrix = tf.cast(tf.random.normal((size, size)), precision)
        return lambda: float(product(matrix))

    return {f"{p} {size}": case(p, size) for p in PRECISIONS for size in sizes}


def torch_products(sizes: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    """Give a case ``PRECISION SIZE`` for each, by PyTorch."""
    import torch

    torch.set_num_threads(usable_cores())

    def case(precision: str, size: int) -> Callable[[], float]:
        matrix = torch.randn(size, size).to(getattr(torch, precision))
        return lambda: float((matrix @ matrix)[0, 0])

    return {f"{p} {size}": case(p, size) for p in PRECISIONS for size in sizes}
