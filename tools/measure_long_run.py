"""Measure whether a long run holds its memory: many small steps with validation and checkpoints.

    python tools/measure_long_run.py [--steps 2000]

Prints the resident memory of the process after every tenth of the steps, and how much it has grown
since the first 200. What it trains is tiny, so that a leak of a few bytes a step is not lost in it.
"""

import argparse
import tempfile
from pathlib import Path

from rich.console import Console

from tf_distilbert.config.file import parse_config
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.masked_language_model import MaskedLanguageModel
from tf_distilbert.runs.monitor import Monitor
from tf_distilbert.runs.train import distill
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

FIRST_STEPS = 200
"""After these, everything is compiled and every buffer is there."""


def resident_bytes() -> int:
    """Give the resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def run(steps: int, folder: Path) -> dict[int, int]:
    """Distil a tiny teacher, with a validation and a checkpoint every 50 steps.

    Returns:
        Resident bytes by the number of steps made.
    """
    words = [f"word{i}" for i in range(500)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *words]
    sizes = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "intermediate_size": 64}
    teacher = MaskedLanguageModel(
        Architecture(len(vocabulary), max_positions=64, **sizes), WordPieceTokenizer(vocabulary)
    )
    save_model(teacher, folder / "teacher")
    lines = (" ".join(words[(i * 7 + j) % 500] for j in range(20)) + " ." for i in range(2000))
    (folder / "text.txt").write_text("\n\n".join(lines) + "\n")
    values = {
        "teacher": str(folder / "teacher"),
        "output": str(folder / "run"),
        "data": {
            "text": str(folder / "text.txt"),
            "validation_share": 0.05,
            "sequence_length": 32,
        },
        "train": {
            "steps": steps,
            "global_batch_size": 8,
            "log_every": 10,
            "validate_every": 50,
            "checkpoint_every": 50,
        },
    }
    found: dict[int, int] = {}
    end_step = Monitor.on_train_batch_end

    def end_step_and_look(self: Monitor, batch: int, logs: dict | None = None) -> None:
        end_step(self, batch, logs)
        if (batch + 1) % max(steps // 10, 1) == 0:
            found[batch + 1] = resident_bytes()

    Monitor.on_train_batch_end = end_step_and_look
    distill(parse_config(DistillConfig, values), Console(quiet=True))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=2000, help="default: %(default)s")
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory() as folder:
        found = run(steps, Path(folder))
    first = min(step for step in found if step >= min(FIRST_STEPS, steps))
    print("| steps | resident MB | since the first |\n|---:|---:|---:|")
    for step, size in found.items():
        growth = f"{size / found[first] - 1:+.2%}" if step >= first else ""
        print(f"| {step:,} | {size / 1e6:,.1f} | {growth} |")


if __name__ == "__main__":
    main()
