"""Where the time of a training step goes: the TensorFlow profiler's events, summed by kind.

    python tools/profile_step.py [--precision mixed_bfloat16] [--batch-size 8] [--quick]

Operations run one at a time here, or times of those that overlap could not be added; the step is a
little slower for it. What is compiled has no operations that the profiler could name.
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

from tf_distilbert.benchmark.our_models import OurStep
from tf_distilbert.benchmark.step import BERT_BASE, half_of
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.training.runtime import start_keras

NUM_STEPS = 5
KINDS = {
    "products of matrices": ("_MklMatMul", "_MklNativeFusedMatMul", "MatMul", "_FusedMatMul"),
    "products in attention": ("_MklBatchMatMulV2", "_MklFusedBatchMatMulV2", "BatchMatMulV2"),
    "random numbers of dropout": ("StatelessRandomUniformFullIntV2", "StatelessRandomUniformV2"),
    "Adam": ("ResourceApplyAdam",),
    "norm of the gradient": ("L2Loss",),
    "sums of gradients": ("AddN", "BiasAddGrad", "UnsortedSegmentSum"),
    "transposition": ("_MklTranspose", "Transpose"),
    "casts": ("Cast",),
    "softmax": ("_MklSoftmax", "Softmax", "LogSoftmax"),
}
OTHER, COMPILED = "other operations", "compiled stretches, and between operations"


def profile_step(
    precision: str, batch_size: int, sequence_length: int, teacher: Architecture = BERT_BASE
) -> dict[str, float]:
    """Give milliseconds a step by kind of operation, the whole step as ``all``."""
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"  # read when TensorFlow starts
    start_keras(only="tensorflow")
    import tensorflow as tf

    step = OurStep(
        asdict(teacher), asdict(half_of(teacher)), batch_size, sequence_length, precision
    )
    for _ in range(3):
        step()
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            start = time.perf_counter()
            for _ in range(NUM_STEPS):
                step()
            whole = time.perf_counter() - start
        milliseconds = _by_operation(Path(folder))
    kind_of = {name: kind for kind, names in KINDS.items() for name in names}
    kinds = Counter()
    for name, value in milliseconds.items():
        kinds[kind_of.get(name, OTHER)] += value / NUM_STEPS
    total = 1000 * whole / NUM_STEPS
    return {**dict(kinds.most_common()), COMPILED: total - kinds.total(), "all": total}


def _by_operation(folder: Path) -> Counter:
    """Sum the milliseconds of all events that are operations of the graph, ``node:type``."""
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    space, found = XSpace(), Counter()
    space.ParseFromString(next(folder.rglob("*.xplane.pb")).read_bytes())
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                node, separator, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
                if separator and not node.endswith(":") and "StatefulPartitionedCall" in node:
                    found[kind.strip()] += event.duration_ps / 1e9
    return found


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description="Profile a training step.")
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--sequence-length", type=int, default=128)
    parser.add_argument("--quick", action="store_true", help="a model of two small layers")
    args = parser.parse_args()
    small = replace(BERT_BASE, num_layers=2, hidden_size=64, num_heads=2, intermediate_size=128)
    teacher = small if args.quick else BERT_BASE
    kinds = profile_step(args.precision, args.batch_size, args.sequence_length, teacher)
    print("| kind | ms a step | share |\n|---|---:|---:|")
    for kind, value in kinds.items():
        print(f"| {kind} | {value:,.0f} | {value / kinds['all']:.0%} |")


if __name__ == "__main__":
    main()
