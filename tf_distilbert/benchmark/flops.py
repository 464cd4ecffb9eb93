"""The arithmetic that a model calls for, by formula, and the most that this machine does of it.

A product of [n, k] and [k, m] matrices is 2·n·k·m floating-point operations. Counted are matrix
products alone; what runs between them is the engine's business, and so is what it does twice.

The matrix peak is the most arithmetic that the machine does in a matrix product, now. It is
measured with each engine's own product of two square matrices, before and after the competitors;
the best of all counts. What share of it a model reaches says how much is left.

Dimensions: N tokens, S sequence, P predicted tokens, D hidden, I intermediate, V vocabulary.
"""

from collections.abc import Callable
from typing import Any

from tf_distilbert.benchmark.batch import Cases
from tf_distilbert.benchmark.worker import Competitor, WorkerFailure, WorkerProcess
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.training.runtime import start_keras, usable_cores

BACKWARD = 3
"""A training step is its forward pass, and a product of the same size for each of two gradients."""

PRECISIONS = ("float32", "bfloat16")
SIZES, QUICK_SIZES = (2048, 4096), (2048,)
"""Rows of the square matrices whose products are the matrix peak."""

IN_A_ROW = 50
"""Products of a call on an accelerator; the last alone is waited for."""

_CALLS = 5


def encoder_flops(architecture: Architecture, tokens: int, sequence_length: int) -> int:
    """Count the encoder's forward pass: ``N · L · (8·D² + 4·D·I + 4·S·D)``.

    Query, key, value and output are 4 products of 2·D² a token, the feed-forward layer 2 of 2·D·I;
    scores and the sum of the values are 2·S·D each. An embedding is a look-up and costs nothing.

    Args:
        architecture: of the model.
        tokens: N, in all sequences together.
        sequence_length: S.
    """
    hidden, intermediate = architecture.hidden_size, architecture.intermediate_size
    layer = 8 * hidden**2 + 4 * hidden * intermediate + 4 * sequence_length * hidden
    return tokens * architecture.num_layers * layer


def head_flops(architecture: Architecture, predictions: int) -> int:
    """Count the masked-LM head's forward pass: ``P · (2·D² + 2·D·V)``."""
    hidden, vocabulary = architecture.hidden_size, architecture.vocabulary_size
    return predictions * (2 * hidden**2 + 2 * hidden * vocabulary)


def step_flops(
    teacher: Architecture,
    student: Architecture,
    batch_size: int,
    sequence_length: int,
    predictions: int | None = None,
    relations: bool = False,
) -> int:
    """Count a distillation step: the teacher's forward pass and three times the student's.

    Args:
        teacher, student: the two models.
        batch_size: sequences.
        sequence_length: S.
        predictions: P, the tokens over whose vocabularies the models are compared; by default all.
            If there are none, relations alone are, and of the last layers queries, keys and values
            are all that is computed.
        relations: whether the relations of the last layers are compared: ``6·S·D`` a token.
    """
    tokens = batch_size * sequence_length
    predictions = tokens if predictions is None else predictions

    def forward(model: Architecture) -> int:
        hidden = model.hidden_size
        encoder = encoder_flops(model, tokens, sequence_length)
        if not predictions:  # of the last layer, queries, keys and values alone
            encoder += tokens * 6 * hidden**2 - encoder // model.num_layers
        head = head_flops(model, predictions)
        return encoder + head + relations * tokens * 6 * sequence_length * hidden

    return forward(teacher) + BACKWARD * forward(student)


def measure_matrix_peak(quick: bool) -> dict[str, float]:
    """Give the most floating-point operations a second in each of `PRECISIONS`, by any engine.

    Args:
        quick: whether the smaller matrices are enough.
    """
    sizes = QUICK_SIZES if quick else SIZES
    best = dict.fromkeys(PRECISIONS, 0.0)
    for engine in ("tensorflow", "torch"):
        competitor = Competitor(engine, f"flops:{engine}_products", {"sizes": sizes}, (engine,))
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


def tensorflow_products(sizes: tuple[int, ...]) -> Cases:
    """Give a case ``PRECISION SIZE`` for each: one product on a processor, by TensorFlow."""
    start_keras()
    import tensorflow as tf

    product = tf.function(lambda x: tf.reduce_sum(tf.cast(tf.matmul(x, x)[:1], tf.float32)))

    def case(precision: str, size: int) -> Callable[[], float]:
        matrix = tf.cast(tf.random.normal((size, size)), precision)
        return lambda: float(product(matrix))

    return {f"{p} {size}": case(p, size) for p in PRECISIONS for size in sizes}


def torch_products(sizes: tuple[int, ...]) -> Cases:
    """Give a case ``PRECISION SIZE`` for each: one product on a processor, by PyTorch."""
    import torch

    torch.set_num_threads(usable_cores())

    def case(precision: str, size: int) -> Callable[[], float]:
        matrix = torch.randn(size, size).to(getattr(torch, precision))
        return lambda: float((matrix @ matrix)[0, 0])

    return {f"{p} {size}": case(p, size) for p in PRECISIONS for size in sizes}


def jax_device_products(sizes: tuple[int, ...]) -> Cases:
    """Give a case ``SIZE`` for each: bfloat16 products on an accelerator, by JAX.

    A case makes `IN_A_ROW`, waits for the last, and says what it runs on.
    """
    import jax
    import jax.numpy as jnp

    product = jax.jit(jnp.matmul)
    facts = {
        "device": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
        "fused_attention": _fused_attention(),
    }

    def case(size: int) -> Callable[[], dict[str, Any]]:
        first, second = (
            jax.random.normal(jax.random.key(seed), (size, size)).astype("bfloat16")
            for seed in range(2)
        )
        second = second / jnp.bfloat16(size**0.5)  # the products stay as large as they were

        def run() -> dict[str, Any]:
            result = first
            for _ in range(IN_A_ROW):
                result = product(result, second)
            result.block_until_ready()
            return facts

        return run

    return {str(size): case(size) for size in sizes}


def torch_device_products(sizes: tuple[int, ...]) -> Cases:
    """Give a case ``SIZE`` for each, by PyTorch; see `jax_device_products`."""
    import torch

    on_gpu = torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    facts = {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }

    def case(size: int) -> Callable[[], dict[str, Any]]:
        first, second = (
            torch.randn(size, size, device=device).to(torch.bfloat16) for _ in range(2)
        )
        second = second / size**0.5
        other = torch.empty_like(first)

        def run() -> dict[str, Any]:
            result, free = first.clone(), other
            for _ in range(IN_A_ROW):
                torch.mm(result, second, out=free)
                result, free = free, result
            if on_gpu:
                torch.cuda.synchronize()
            return facts

        return run

    return {str(size): case(size) for size in sizes}


def _fused_attention() -> str:
    """Say whether the attention of our models, without dropout, is one kernel of cuDNN's here."""
    import jax
    import jax.numpy as jnp

    from tf_distilbert.backend import kernels
    from tf_distilbert.models.encoder import fused_attention

    if not kernels.has_fused_attention("bfloat16"):
        return "no"
    # Of BERT's head size. Where something is amiss with cuDNN, Keras takes another path silently.
    states = jax.ShapeDtypeStruct((2, 128, 12, 64), jnp.bfloat16)
    seen = jax.ShapeDtypeStruct((2, 1, 1, 128), jnp.bool)
    try:
        compiled = jax.jit(fused_attention).lower(states, states, states, seen).compile()
    except Exception as error:
        return f"no: {error}"[:300]
    return "yes" if "__cudnn$fmha" in compiled.as_text() else "no"
