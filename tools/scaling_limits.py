"""The tables of docs/scaling.md that say what holds an update back."""

import scaling_model as model
from scaling_layouts import (
    GPUS,
    LAYOUTS,
    NETWORKS,
    Measured,
    estimate_of,
    layout_name,
    table,
    tokens_per_second,
)
from scaling_model import DEVICES, DEVICES_PER_HOST, SHARE, Device

from tf_distilbert.benchmark.batch import random_batch
from tf_distilbert.benchmark.flops import BACKWARD


def network_limit(measured: Measured) -> str:
    """Say from how many hosts on the all-reduce takes a tenth and a half of the update."""
    rows = []
    for device in GPUS[1:]:
        for bits in NETWORKS:
            limits = [_hosts_where(device, bits, measured, part) for part in (0.1, 0.5)]
            rows.append((device.name, f"{bits / 1e9:.0f} Gb/s", *limits))
    return table(("devices", "a host's rate", "10 % from hosts", "50 % from hosts"), rows)


def _hosts_where(device: Device, bits: float, measured: Measured, part: float) -> str:
    for hosts in range(2, 513):
        found = model.estimate(
            device,
            hosts * DEVICES_PER_HOST,
            measured.bfloat16_bytes_per_sequence,
            network_bits=bits,
            sequences=model.GLOBAL_BATCH,
        )
        if found.inside_host + found.between_hosts > part * found.seconds:
            return str(hosts)
    return "> 512"


def optimizer_limit() -> str:
    """Say where norm, clipping and AdamW take a twentieth of the arithmetic's time."""
    rows = []
    for device in DEVICES:
        seconds = model.optimizer_bytes() / (model.BANDWIDTH_SHARE * device.bandwidth)
        sequence = model.update_flops(1) / (device.peak * SHARE)
        fewest = seconds / 0.05 / sequence  # sequences of a device whose time is 20 times that
        rows.append(
            (
                device.name,
                f"{1000 * seconds:.1f} ms",
                f"{1000 * sequence:.2f} ms",
                f"{fewest:.0f}",
                f"{model.GLOBAL_BATCH / fewest:.0f}",
            )
        )
    return table(
        (
            "device",
            "optimizer",
            "a sequence",
            "5 % below sequences a device",
            f"that is devices at {model.GLOBAL_BATCH:,}",
        ),
        rows,
    )


def vocabulary_limit() -> str:
    """Say what a GPU would lose in the loop over blocks of 8 tokens, as it stands."""
    rows = []
    for device in GPUS[1:]:
        passes = model.block_passes(1)
        arithmetic_seconds = model.update_flops(model.GLOBAL_BATCH) / (device.peak * SHARE)
        loop = passes * model.PASS_SECONDS
        rows.append(
            (
                device.name,
                f"{passes:,.0f}",
                f"{loop:.1f} s",
                f"{arithmetic_seconds:.1f} s",
                f"{SHARE * arithmetic_seconds / (arithmetic_seconds + loop):.0%}",
            )
        )
    columns = ("device", "passes an update", "their time", "arithmetic", "share of peak left")
    return table(columns, rows)


def input_rates(measured: Measured) -> str:
    """Say what a host's devices take in, and what of this machine would prepare it."""
    batch = random_batch(model.STUDENT.vocabulary_size, 1, model.SEQUENCE_LENGTH)
    inputs, *targets = batch
    copied = sum(array.nbytes for array in (*inputs.values(), *targets)) / model.SEQUENCE_LENGTH
    per_core = measured.pipeline_tokens_per_second / measured.machine["cores"]
    rows = []
    for device, count in LAYOUTS:
        rate = tokens_per_second(device, count, measured)
        of_host = rate / max(1, count / DEVICES_PER_HOST)
        rows.append(
            (
                layout_name(device, count),
                f"{rate / 1e6:.2f}",
                f"{of_host / 1e6:.2f}",
                f"{of_host / per_core:.1f}",
                f"{2 * of_host / 1e6:.1f}",
                f"{copied * of_host / 1e6:.0f}",
            )
        )
    columns = (
        *("devices", "M tokens/s", "of a host", "cores for it"),
        *("MB/s from disk", "MB/s to the devices"),
    )
    return table(columns, rows)


def now_and_then(measured: Measured) -> str:
    """Say what validation and checkpoints add, as the configuration has them."""
    every = {"checkpoint": 100, "validation": 500}
    save = measured.checkpoint_bytes / model.DISK_BYTES_PER_SECOND
    parts = model.parts_of_arithmetic()
    forward = sum(v if "teacher" in name else v / BACKWARD for name, v in parts.items())
    held_out = 0.0005 * model.CORPUS_WORDS * measured.tokens_per_word
    rows = []
    for device, count in LAYOUTS:
        found = estimate_of(device, count, measured).seconds
        one_device = held_out * forward / (device.peak * SHARE)
        shares = [
            save / (every["checkpoint"] * found),
            one_device / count / (every["validation"] * found),
            one_device / (every["validation"] * found),
        ]
        rows.append(
            (layout_name(device, count), f"{found:.3f}", *(f"{share:.1%}" for share in shares))
        )
    columns = ("devices", "s an update", "checkpoints", "validation by all", "validation by one")
    return table(columns, rows)
