"""Harm trainings in every way that a machine may, and see whether anything is lost.

    python tools/chaos.py [--short] [--only KIND ...] [--kills N] [--mirrored-kills N] [--seed N]

Prints a table of faults tried and losses suffered. A loss is a run that did not end with the same
bits (weights, optimizer, figures), log lines and TensorBoard scalars as one that nothing happened
to, or that did not say what it had to. The exit code is 1 if there is any.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import chaos_damage as damage
import chaos_kills as kills
from chaos_table import Row, table
from chaos_training import KEPT, Training, prepare_training

KINDS = ("kills", "signals", "checkpoints", "records", "disk", "mirrored", "workers")
WHOLE = "undisturbed"


def main() -> int:
    """Do what the command line asks for, and print the table."""
    parser = argparse.ArgumentParser(description="Harm trainings and count what is lost.")
    parser.add_argument("--short", action="store_true", help="less of everything, for every change")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, metavar="KIND")
    parser.add_argument("--kills", type=int, help="of one training; 20, or 3 with --short")
    parser.add_argument("--mirrored-kills", type=int, help="on two devices; 5, or 1 with --short")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--folder", type=Path, help="where all is kept; a temporary one by default")
    args = parser.parse_args()
    for name, usual in (
        ("kills", 3 if args.short else 20),
        ("mirrored_kills", 1 if args.short else 5),
    ):
        if getattr(args, name) is None:
            setattr(args, name, usual)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        prepare_training(folder.absolute())
        rows = list(_rows(args, folder.absolute()))
    print(table(rows))
    return 1 if any(row.losses for row in rows) else 0


def _rows(args: argparse.Namespace, folder: Path) -> Iterator[Row]:
    training = Training(folder, steps=24 if args.short else 60)
    if set(args.only) & {"kills", "signals", "checkpoints", "records", "disk"}:
        start = kills.run_undisturbed(training, WHOLE, f"train.keep_checkpoints={KEPT}")
    if "kills" in args.only:
        yield kills.kill_at_random(training, WHOLE, args.kills, args.seed, start)
    if "signals" in args.only:
        yield kills.stop_by_signals(training, WHOLE)
    # Nothing is killed here; without --short each run is a process all the same.
    inside = replace(training, in_process=args.short)
    if "checkpoints" in args.only:
        yield damage.damage_all_newest(inside, WHOLE)
        for harm in [] if args.short else damage.HARMS:
            yield damage.damage_one(inside, WHOLE, harm)
        yield damage.damage_every_checkpoint(inside, WHOLE)
    if "records" in args.only:
        yield damage.damage_a_record(inside, WHOLE)
    if "disk" in args.only:
        yield damage.fill_the_disk(inside, WHOLE)
        if not args.short:
            yield damage.limit_files(inside, WHOLE)
    if "mirrored" in args.only:
        two = replace(training, strategy="mirrored")
        start = kills.run_undisturbed(two, "undisturbed-mirrored")
        yield kills.kill_at_random(
            two, "undisturbed-mirrored", args.mirrored_kills, args.seed + 1, start
        )
    if "workers" in args.only:
        pair = replace(training, workers=2)
        kills.run_undisturbed(pair, "undisturbed-workers")
        yield kills.kill_a_worker(pair, "undisturbed-workers", args.seed)


if __name__ == "__main__":
    sys.exit(main())
