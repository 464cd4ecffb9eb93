"""The tables of docs/scaling.md, in Markdown."""

import scaling_limits as limits
import scaling_model as model
from scaling_layouts import (
    GPUS,
    LAYOUTS,
    NETWORKS,
    TIMES,
    Measured,
    estimate_of,
    gigabytes,
    layout_name,
    table,
    tokens_per_second,
)
from scaling_model import DEVICES, DEVICES_PER_HOST, SHARE, SHARES, Device

from tf_distilbert.benchmark.flops import BACKWARD, encoder_flops, head_flops
from tf_distilbert.models.architecture import Architecture

UPDATES = 100_000
# [1] What NVIDIA published for BERT-large in TensorFlow 2, mixed precision, one A100 80 GB:
# sequence length, predicted tokens a sequence, sequences a second.
PUBLISHED = ((128, 20, 485.59), (512, 80, 96.52))
BERT_LARGE = Architecture(30522, 1024, 24, 16, 4096)


def tables(measured: Measured) -> dict[str, str]:
    """Give every table by its name in the document."""
    return {
        "measured": measurements(measured),
        "published": published(),
        "arithmetic": arithmetic(),
        "memory": memory(measured),
        "micro-batches": micro_batches(measured),
        "all-reduce": all_reduce(),
        "between-hosts": between_hosts(),
        "update": update(measured),
        "recipe": recipe(measured),
        "efficiency": efficiency(measured),
        "network-limit": limits.network_limit(measured),
        "optimizer-limit": limits.optimizer_limit(),
        "vocabulary-limit": limits.vocabulary_limit(),
        "input": limits.input_rates(measured),
        "now-and-then": limits.now_and_then(measured),
    }


def measurements(measured: Measured) -> str:
    """List what was measured."""
    peaks = [
        (f"memory of a step, {kind}, {size} {TIMES} 512 tokens", f"{value / 1e9:.2f} GB")
        for kind, found in measured.peaks.items()
        for size, value in found.items()
    ]
    rows = [
        *peaks,
        ("for each further sequence, bfloat16", gigabytes(measured.bfloat16_bytes_per_sequence)),
        ("for each further sequence, float32", gigabytes(measured.float32_bytes_per_sequence)),
        (
            f"records to masked batches of 32 {TIMES} 512, {measured.machine['cores']} cores",
            f"{measured.pipeline_tokens_per_second / 1e6:.1f} M tokens/s",
        ),
        ("tokens a word of Wikipedia", f"{measured.tokens_per_word:.2f}"),
        ("AdamW, all weights", f"{1000 * measured.adamw_seconds:.0f} ms"),
        ("bytes moved by it", f"{measured.adamw_bytes_per_second / 1e9:.0f} GB/s"),
        ("norm of the gradient", f"{1000 * measured.norm_seconds:.0f} ms"),
        ("a checkpoint", f"{measured.checkpoint_bytes:,} bytes"),
        ("writing it", f"{measured.checkpoint_seconds:.2f} s"),
    ]
    return table(("what", "figure"), rows)


def published() -> str:
    """Say what share of its peak one A100 reached in TensorFlow, by our count of operations."""
    rows = []
    for length, predictions, rate in PUBLISHED:
        forward = encoder_flops(BERT_LARGE, length, length) + head_flops(BERT_LARGE, predictions)
        done = BACKWARD * forward * rate
        rows.append((length, rate, f"{done / 1e12:.0f}", f"{done / GPUS[1].peak:.0%}"))
    return table(("tokens a sequence", "sequences/s", "TFLOP/s", "of 312"), rows)


def arithmetic() -> str:
    """Say what an update's operations are made of."""
    parts = model.parts_of_arithmetic()
    total = sum(parts.values())
    whole = model.update_flops(model.GLOBAL_BATCH)
    rows = [
        (name, f"{value / 1e6:.1f}", f"{whole * value / total / 1e15:.3f}", f"{value / total:.0%}")
        for name, value in parts.items()
    ]
    rows.append(("all", f"{total / 1e6:.1f}", f"{whole / 1e15:.3f}", "100%"))
    return table(("part", "MFLOP a token", "PFLOP an update", "share"), rows)


def memory(measured: Measured) -> str:
    """List what a device holds."""
    parts = model.fixed_memory()
    rows = [(name, gigabytes(value)) for name, value in parts.items()]
    rows.append(("all that is fixed", gigabytes(sum(parts.values()))))
    for precision in ("bfloat16", "float32"):
        value = getattr(measured, f"{precision}_bytes_per_sequence")
        rows.append((f"each sequence of a micro-batch, {precision}, measured", gigabytes(value)))
    return table(("what", "bytes"), rows)


def micro_batches(measured: Measured) -> str:
    """Say how many sequences fit at a time, and how often an update goes round."""
    rows = []
    for device, count in LAYOUTS:
        share = model.global_batch(count) // count
        size = model.micro_batch(device, count, measured.bfloat16_bytes_per_sequence)
        held = sum(model.fixed_memory().values()) + size * measured.bfloat16_bytes_per_sequence
        rows.append(
            (
                layout_name(device, count),
                f"{model.global_batch(count):,}",
                f"{share:,}",
                size,
                f"{share // size:,}",
                f"{held / 1e9:.1f} of {device.memory / 1e9:.0f} GB",
            )
        )
    columns = ("devices", "global batch", "sequences each", "micro-batch", "of them", "memory")
    return table(columns, rows)


def all_reduce() -> str:
    """Say what the all-reduce inside a host takes."""
    rows = [
        (
            device.name,
            f"{model.ring_bytes(DEVICES_PER_HOST) / 1e6:.0f} MB",
            f"{device.link / 1e9:.0f} GB/s",
            f"{1000 * model.ring_bytes(DEVICES_PER_HOST) / device.link:.1f} ms",
        )
        for device in DEVICES[1:]
    ]
    return table(("8 in a host", "each sends", "at", "time"), rows)


def between_hosts() -> str:
    """Say what it takes between hosts, at several rates."""
    rows = [
        (
            hosts,
            hosts * DEVICES_PER_HOST,
            f"{model.ring_bytes(hosts) / 1e6:.0f} MB",
            *(
                f"{1000 * model.ring_bytes(hosts) / (model.NETWORK_SHARE * bits / 8):.0f} ms"
                for bits in NETWORKS
            ),
        )
        for hosts in (2, 4, 8)
    ]
    rates = (f"{bits / 1e9:.0f} Gb/s" for bits in NETWORKS)
    return table(("hosts", "devices", "each host sends", *rates), rows)


def update(measured: Measured) -> str:
    """Give the seconds of an update at several shares of the peak."""
    rows = [
        (
            layout_name(device, count),
            *(f"{estimate_of(device, count, measured, share).seconds:.3f}" for share in SHARES),
            f"{tokens_per_second(device, count, measured) / 1e6:.2f}",
        )
        for device, count in LAYOUTS
    ]
    shares = (f"s at {share:.0%} of peak" for share in SHARES)
    return table(("devices", *shares, f"M tokens/s at {SHARE:.0%}"), rows)


def recipe(measured: Measured) -> str:
    """Give hours of the paper's recipe, and days of 100,000 updates."""
    tokens = model.recipe_tokens(measured.tokens_per_word)
    rows = []
    for device, count in LAYOUTS:
        hours = [
            tokens / tokens_per_second(device, count, measured, share) / 3600 for share in SHARES
        ]
        long_run = UPDATES * model.GLOBAL_BATCH * model.SEQUENCE_LENGTH
        days = long_run / tokens_per_second(device, count, measured) / 86400
        rows.append(
            (
                layout_name(device, count),
                *(f"{value:.1f}" for value in hours),
                f"{hours[SHARES.index(SHARE)] * count:.0f}",
                f"{days:.1f}",
            )
        )
    shares = (f"h at {share:.0%}" for share in SHARES)
    columns = ("devices", *shares, f"device-hours at {SHARE:.0%}", "100,000 updates, days")
    return table(columns, rows)


def efficiency(measured: Measured) -> str:
    """Take an update apart, and compare with as many single devices."""
    rows = []
    for device, count, bits in _layouts_with_networks():
        found = estimate_of(device, count, measured, bits=bits)
        alone = estimate_of(device, 1, measured)
        # A single device's time for as many sequences.
        alone_seconds = alone.seconds * model.global_batch(count) / model.global_batch(1)
        network = f", {bits / 1e9:.0f} Gb/s" if count > DEVICES_PER_HOST else ""
        rows.append(
            (
                layout_name(device, count) + network,
                *(
                    f"{1000 * part:,.1f}"
                    for part in (
                        found.arithmetic,
                        found.gradient_sums,
                        found.inside_host,
                        found.between_hosts,
                        found.optimizer,
                        found.seconds,
                    )
                ),
                f"{alone_seconds / count / found.seconds:.0%}",
            )
        )
    parts = ("arithmetic", "gradient sums", "inside host", "between hosts", "optimizer", "all")
    return table(("milliseconds", *parts, "efficiency"), rows)


def _layouts_with_networks() -> list[tuple[Device, int, float]]:
    found = []
    for device, count in [(d, c) for d, c in LAYOUTS if d is not DEVICES[0]]:
        rates = NETWORKS if count > DEVICES_PER_HOST else NETWORKS[-1:]
        found += [(device, count, bits) for bits in rates]
    return found
