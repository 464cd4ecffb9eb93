"""What an update costs on hardware that was not there: formulas, published figures, assumptions.

One update of the paper's recipe on n devices that all hold the student, its optimizer and the
teacher, each making its share of the sequences in micro-batches, takes the sum of

    arithmetic      counted operations / (n · published peak · assumed share of it)
    gradient sums   12 bytes a parameter for each micro-batch
    all-reduce      2·(n-1)/n of the gradient, inside a host and then between hosts, once an update
    optimizer       40 bytes a parameter: the norm, the clipping, AdamW

Nothing overlaps: the all-reduce needs the last micro-batch's gradient, clipping needs the
all-reduce, AdamW needs the clipping. Numbers in the comments ([1] and so on) are those of the
assumptions in docs/scaling.md.
"""

from dataclasses import dataclass
from math import ceil

from tf_distilbert.benchmark.flops import BACKWARD, encoder_flops, head_flops, step_flops
from tf_distilbert.benchmark.step import BERT_BASE, half_of
from tf_distilbert.losses.vocabulary import BLOCK_SIZE, CHUNK_SIZE
from tf_distilbert.models.architecture import Architecture

TEACHER, STUDENT = BERT_BASE, half_of(BERT_BASE)
SEQUENCE_LENGTH = 512
GLOBAL_BATCH, DIVISIBLE_BATCH = 4000, 4096
DEVICES_PER_HOST = 8

SHARES = (0.25, 0.35, 0.45)  # [1] of the peak that the arithmetic reaches
SHARE = 0.35
MEMORY_SHARE = 0.8  # [2] of a device's memory that a step may fill
BANDWIDTH_SHARE = 0.8  # [3] of the memory bandwidth that a pass over the weights reaches
NETWORK_SHARE = 0.8  # [5] of a network card's rate that an all-reduce reaches
CORPUS_WORDS = 3.3e9  # [8] Wikipedia and books, as BERT's authors counted them
EPOCHS = 3
DISK_BYTES_PER_SECOND = 1e9  # [9]
PASS_SECONDS = 30e-6  # [10] of a loop's pass on a GPU, some small kernels one after the other

FLOAT32, BFLOAT16 = 4, 2


@dataclass(frozen=True)
class Device:
    """Published figures of one device.

    Attributes:
        peak: dense bfloat16 operations a second.
        memory: bytes.
        bandwidth: bytes a second of that memory.
        link: bytes a second one way that a ring to its neighbours in the host carries [4].
    """

    name: str
    peak: float
    memory: float
    bandwidth: float
    link: float


DEVICES = (
    Device("A100 40 GB", 312e12, 40e9, 1.555e12, 200e9),
    Device("A100 80 GB", 312e12, 80e9, 2.039e12, 200e9),
    Device("H100 SXM", 989e12, 80e9, 3.35e12, 370e9),
    Device("TPU v5e", 197e12, 16e9, 0.819e12, 100e9),
)


@dataclass(frozen=True)
class Update:
    """Seconds of one update, part by part."""

    arithmetic: float
    gradient_sums: float
    inside_host: float
    between_hosts: float
    optimizer: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return (
            self.arithmetic
            + self.gradient_sums
            + self.inside_host
            + self.between_hosts
            + self.optimizer
        )


def count_parameters(architecture: Architecture) -> int:
    """Count a masked language model's weights; the output projection is the token table."""
    hidden, intermediate = architecture.hidden_size, architecture.intermediate_size
    vocabulary = architecture.vocabulary_size
    rows = vocabulary + architecture.max_positions + architecture.reserved_positions
    norm = 2 * hidden
    embeddings = (rows + architecture.num_segments) * hidden + norm
    attention = 4 * (hidden**2 + hidden) + norm
    feed_forward = 2 * hidden * intermediate + intermediate + hidden + norm
    head = hidden**2 + hidden + norm + vocabulary
    return embeddings + architecture.num_layers * (attention + feed_forward) + head


def parts_of_arithmetic(sequence_length: int = SEQUENCE_LENGTH) -> dict[str, int]:
    """Count floating-point operations a token, part by part; together `step_flops`."""

    def attention(architecture: Architecture) -> int:
        return 4 * sequence_length * architecture.hidden_size * architecture.num_layers

    def dense(architecture: Architecture) -> int:
        return encoder_flops(architecture, 1, sequence_length) - attention(architecture)

    return {
        "teacher, dense layers, forward": dense(TEACHER),
        "teacher, attention, forward": attention(TEACHER),
        "teacher, vocabulary, forward": head_flops(TEACHER, 1),
        "student, dense layers, forward and backward": BACKWARD * dense(STUDENT),
        "student, attention, forward and backward": BACKWARD * attention(STUDENT),
        "student, vocabulary, forward and backward": BACKWARD * head_flops(STUDENT, 1),
    }


def update_flops(sequences: int) -> int:
    """Count the floating-point operations of an update over so many sequences."""
    return step_flops(TEACHER, STUDENT, sequences, SEQUENCE_LENGTH)


def fixed_memory() -> dict[str, int]:
    """Count the bytes on each device that do not depend on the micro-batch."""
    student, teacher = count_parameters(STUDENT), count_parameters(TEACHER)
    table = STUDENT.vocabulary_size * STUDENT.hidden_size
    logits = CHUNK_SIZE * STUDENT.vocabulary_size
    return {
        "student, float32": FLOAT32 * student,
        "AdamW's two moments, float32": 2 * FLOAT32 * student,
        "sum of the gradients, float32": FLOAT32 * student,
        "gradient of the micro-batch, float32": FLOAT32 * student,
        "teacher, bfloat16": BFLOAT16 * teacher,
        "student's weights as cast, bfloat16": BFLOAT16 * student,
        "chunk of logits: both models' and their gradient, bfloat16": 3 * BFLOAT16 * logits,
        "gradient of the table from a chunk, bfloat16 and float32": (BFLOAT16 + FLOAT32) * table,
    }


def gradient_bytes() -> int:
    """Count what is all-reduced an update: the student's gradient in float32."""
    return FLOAT32 * count_parameters(STUDENT)


def ring_bytes(num_members: int) -> float:
    """Count the bytes that each member of a ring sends, and receives, in an all-reduce."""
    return 2 * (num_members - 1) / num_members * gradient_bytes()


def global_batch(num_devices: int) -> int:
    """Give the paper's batch where the devices can share it evenly, else the next that they can."""
    return GLOBAL_BATCH if GLOBAL_BATCH % num_devices == 0 else DIVISIBLE_BATCH


def micro_batch(device: Device, num_devices: int, bytes_per_sequence: float) -> int | None:
    """Give the most sequences that fit at a time and divide a device's share; None if none do."""
    free = MEMORY_SHARE * device.memory - sum(fixed_memory().values())
    share = global_batch(num_devices) // num_devices
    fitting = [size for size in range(1, share + 1) if size * bytes_per_sequence <= free]
    return max((size for size in fitting if share % size == 0), default=None)


def estimate(
    device: Device,
    num_devices: int,
    bytes_per_sequence: float,
    share: float = SHARE,
    network_bits: float = 400e9,
    sequences: int | None = None,
) -> Update:
    """Estimate one update.

    Args:
        device: what it runs on.
        num_devices: 8 a host; fewer are in one host.
        bytes_per_sequence: of activations; it decides how many micro-batches there are.
        share: of the peak that the arithmetic reaches.
        network_bits: a second, of each host to the others.
        sequences: of the global batch; `global_batch` by default.
    """
    sequences = sequences or global_batch(num_devices)
    in_host = min(num_devices, DEVICES_PER_HOST)
    # Where the batch does not divide, this is an estimate between those where it does.
    hosts = ceil(num_devices / DEVICES_PER_HOST)
    size = micro_batch(device, num_devices, bytes_per_sequence) or 1
    parts = sequences / num_devices / size
    bandwidth = BANDWIDTH_SHARE * device.bandwidth
    parameters = count_parameters(STUDENT)
    return Update(
        arithmetic=update_flops(sequences) / (num_devices * device.peak * share),
        gradient_sums=12 * parameters * parts / bandwidth,
        inside_host=ring_bytes(in_host) / device.link,
        between_hosts=ring_bytes(hosts) / (NETWORK_SHARE * network_bits / 8),
        optimizer=optimizer_bytes() / bandwidth,
    )


def optimizer_bytes() -> int:
    """Count the bytes that norm, clipping and AdamW move in an update, all in float32.

    The norm reads the gradient; clipping reads and writes it; AdamW reads weights, moments and
    gradient and writes weights and moments.
    """
    return (1 + 2 + 7) * FLOAT32 * count_parameters(STUDENT)


def adamw_bytes() -> int:
    """Count the bytes that AdamW alone moves."""
    return 7 * FLOAT32 * count_parameters(STUDENT)


def checkpoint_bytes() -> int:
    """Count the tensors of a checkpoint: weights and moments; a few counters come on top."""
    return 3 * FLOAT32 * count_parameters(STUDENT)


def block_passes(num_devices: int) -> float:
    """Count a device's passes through the vocabulary loss's inner loop in an update."""
    return global_batch(num_devices) * SEQUENCE_LENGTH / num_devices / BLOCK_SIZE


def recipe_tokens(tokens_per_word: float) -> float:
    """Estimate the tokens of the paper's three epochs."""
    return EPOCHS * CORPUS_WORDS * tokens_per_word
