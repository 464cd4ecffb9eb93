"""What the tables of the scaling estimate share: measurements, devices, how figures are written."""

from dataclasses import dataclass
from typing import Any

import scaling_model as model
from scaling_model import DEVICES, SHARE, Device

GPUS = DEVICES[:3]
TPU = DEVICES[3]
COUNTS = (1, 8, 64)
LAYOUTS = [*((device, count) for device in GPUS for count in COUNTS), (TPU, 8)]
NETWORKS = (100e9, 200e9, 400e9)
TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Measured:
    """What `measure_scaling.py` found.

    Attributes:
        machine: processor and the like.
        peaks: the most memory of a process, by kind of step and size of the micro-batch.
        bfloat16_bytes_per_sequence: of activations, for 512 tokens.
        tokens_per_word: of text, split at spaces.
        pipeline_tokens_per_second: from records to masked batches, on all of the machine's cores.
        checkpoint_bytes: on the disk.
    """

    machine: dict[str, Any]
    peaks: dict[str, dict[str, int]]
    bfloat16_bytes_per_sequence: float
    float32_bytes_per_sequence: float
    tokens_per_word: float
    pipeline_tokens_per_second: float
    adamw_seconds: float
    adamw_bytes_per_second: float
    norm_seconds: float
    checkpoint_bytes: int
    checkpoint_seconds: float


def estimate_of(
    device: Device, count: int, measured: Measured, share: float = SHARE, bits: float = 400e9
) -> model.Update:
    """Estimate an update with the measured activations."""
    return model.estimate(device, count, measured.bfloat16_bytes_per_sequence, share, bits)


def tokens_per_second(
    device: Device, count: int, measured: Measured, share: float = SHARE
) -> float:
    """Give the rate of all devices together."""
    tokens = model.global_batch(count) * model.SEQUENCE_LENGTH
    return tokens / estimate_of(device, count, measured, share).seconds


def layout_name(device: Device, count: int) -> str:
    """Name some devices: ``8 x H100 SXM``."""
    return f"{count} {TIMES} {device.name}"


def gigabytes(value: float) -> str:
    """Write bytes as GB, to the megabyte."""
    return f"{value / 1e9:.3f} GB"


def table(columns: tuple, rows: list[tuple]) -> str:
    """Write a table in Markdown; the first column is text."""
    lines = [columns, ("---", *["---:"] * (len(columns) - 1)), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
