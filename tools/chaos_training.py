"""A tiny training to be harmed: what it needs, how it is started, whether two ended alike."""

import io
import json
import os
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from safetensors.numpy import load_file
from tensorflow.core.util.event_pb2 import Event

from tf_distilbert.cli import main as cli
from tf_distilbert.config.file import dump_config, parse_config
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.model_files.folder import save_model
from tf_distilbert.models.architecture import Architecture
from tf_distilbert.models.masked_language_model import MaskedLanguageModel
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

SECONDS = 300
"""No process of this size may take longer."""

KEPT = 9
"""Checkpoints that the run keeps which nothing happens to: something to damage."""

_WORDS = ["the", "a", "sun", "moon", "river", "city", "is", "was", "in", "on", "near", "old", "new"]
_WORDS += ["large", "small", "red", "blue", ".", ","]
_TWO_DEVICES = Path(__file__).with_name("chaos_two_devices.py")
_UNEQUAL = ("time", "tokens_per_second")
"""What a log has that tells of the clock, not of the training."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its exit code, and what it printed."""

    code: int
    text: str

    def expect(self, code: int, *parts: str) -> list[str]:
        """Tell in which points it is not as it should be."""
        wrong = [] if self.code == code else [f"exit code {self.code}, not {code}: {self.last}"]
        return wrong + [
            f"does not say {part!r}: {self.last}" for part in parts if not self.has(part)
        ]

    def has(self, part: str) -> bool:
        """Tell whether something was printed."""
        return part in self.text

    @property
    def last(self) -> str:
        """The last line."""
        return (self.text.strip().splitlines() or ["nothing printed"])[-1]


@dataclass(frozen=True)
class Training:
    """One configuration of a tiny distillation; its runs differ in their folders alone.

    Attributes:
        folder: where everything lies.
        strategy: see `make_strategy`; ``mirrored`` is on two logical CPU devices.
        workers: processes that train together.
        steps: in a whole run.
        in_process: do what nothing is killed in without starting a process, which takes seconds.
        settings: further ``key=value``.
    """

    folder: Path
    strategy: str = "one"
    workers: int = 1
    steps: int = 40
    in_process: bool = False
    settings: Sequence[str] = field(default=())

    def run_folder(self, name: str) -> Path:
        """Where a run lies."""
        return self.folder / name

    def arguments(self, name: str, *more: str) -> list[str]:
        """Give what follows ``tf-distilbert`` for a run of this name."""
        strategy = self.strategy if self.workers == 1 else "multi_worker"
        given = [f"output={self.run_folder(name)}", f"train.strategy={strategy}"]
        given += [f"train.steps={self.steps}", *self.settings, *more]
        launcher = ["launch", "--workers", str(self.workers), "--"] if self.workers > 1 else []
        return [*launcher, "distill", str(self.folder / "distill.yaml"), *given]

    def start(self, name: str, *more: str, largest_file: int | None = None) -> subprocess.Popen:
        """Start a run as a process; it may be kept from writing files beyond some bytes."""
        two = self.strategy == "mirrored"
        program = [str(_TWO_DEVICES)] if two else ["-m", "tf_distilbert"]

        def limit() -> None:
            if largest_file is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

        with open(self.output_of(name), "w") as output:
            return subprocess.Popen(
                [sys.executable, *program, *self.arguments(name, *more)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
                preexec_fn=limit,
            )

    def run(self, name: str, *more: str, largest_file: int | None = None) -> Outcome:
        """Run to the end."""
        if self.in_process and largest_file is None and self.strategy == "one":
            with redirect_stderr(io.StringIO()) as output:
                code = cli.main(self.arguments(name, *more))
            return Outcome(code, output.getvalue())
        return self.end(name, self.start(name, *more, largest_file=largest_file))

    def end(self, name: str, process: subprocess.Popen, seconds: float = SECONDS) -> Outcome:
        """Wait for a process to end by itself; one that hangs is ended, and its code says so."""
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.terminate()  # a launcher passes that on to its workers
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            return Outcome(-1, f"hung for {seconds} s\n")
        return Outcome(process.returncode, self.output_of(name).read_text("utf-8"))

    def output_of(self, name: str) -> Path:
        """Where what a process printed is kept."""
        return self.folder / f"{name.replace('/', '-')}.output"

    def step(self, name: str) -> int:
        """Tell the step of the newest checkpoint; 0 if there is none."""
        return max((int(path.name[5:]) for path in checkpoints(self.run_folder(name))), default=0)


def prepare_training(folder: Path) -> None:
    """Make a tiny teacher, with dropout, a text, and the configuration of a distillation."""
    tokenizer = WordPieceTokenizer(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_WORDS], lower_case=True
    )
    architecture = Architecture(
        len(tokenizer.vocabulary),
        hidden_size=16,
        num_layers=2,
        num_heads=2,
        intermediate_size=32,
        max_positions=32,
        dropout=0.1,
        attention_dropout=0.1,
        initializer_range=0.3,
    )
    save_model(MaskedLanguageModel(architecture, tokenizer), folder / "teacher")
    generator = np.random.default_rng(11)
    for name, documents in (("text", 60), ("held_out", 6)):
        words = [" ".join(generator.choice(_WORDS, 20)) for _ in range(documents)]
        (folder / f"{name}.txt").write_text("\n\n".join(words) + "\n", "utf-8")
    values = {
        "teacher": str(folder / "teacher"),
        "output": str(folder / "run"),
        "data": {
            "text": [str(folder / "text.txt")],
            "validation": [str(folder / "held_out.txt")],
            "sequence_length": 32,
        },
        "train": {
            "steps": 40,
            "global_batch_size": 4,
            "precision": "float32",
            "jit_compile": False,  # compiling takes longer than all steps
            "learning_rate": 3e-3,
            "log_every": 3,
            "validate_every": 5,
            "checkpoint_every": 2,
            "keep_checkpoints": 2,
        },
    }
    config = parse_config(DistillConfig, values)
    (folder / "distill.yaml").write_text(dump_config(config), "utf-8")


def checkpoints(run: Path) -> list[Path]:
    """List a run's checkpoints, oldest first, whole or not."""
    return sorted(p for p in (run / "checkpoints").glob("step-*") if p.name[5:].isdigit())


def differences(run: Path, reference: Path) -> list[str]:
    """Tell in what a run's end is not that of the run that nothing happened to."""
    found = _tensor_differences(run / "model", reference / "model", "model.safetensors")
    ours, theirs = checkpoints(run), checkpoints(reference)
    if not ours or ours[-1].name != theirs[-1].name:
        return [*found, "the last checkpoint is missing"]
    found += _tensor_differences(ours[-1], theirs[-1], "tensors.safetensors")
    states = [json.loads((path[-1] / "state.json").read_text("utf-8")) for path in (ours, theirs)]
    found += [f"state.json: {key}" for key in states[1] if states[0].get(key) != states[1][key]]
    return found + _log_differences(run, reference) + _event_differences(run, reference)


def _tensor_differences(ours: Path, theirs: Path, name: str) -> list[str]:
    if not (ours / name).exists():
        return [f"{name} is missing"]
    a, b = load_file(ours / name), load_file(theirs / name)
    if a.keys() != b.keys():
        return [f"{name} holds other tensors"]
    unequal = [key for key in b if a[key].tobytes() != b[key].tobytes()]
    return [f"{name}: {len(unequal)} of {len(b)} tensors, {unequal[0]}"] if unequal else []


def _log_differences(run: Path, reference: Path) -> list[str]:
    ours, theirs = _log(run), _log(reference)
    places = [[(line["step"], line["kind"]) for line in log] for log in (ours, theirs)]
    if places[0] != places[1]:
        counts = [Counter(each) for each in places]
        missing, extra = list(counts[1] - counts[0]), list(counts[0] - counts[1])
        return [f"log.jsonl: missing {missing[:3]}, double or too many {extra[:3]}, or unordered"]
    unequal = [line for line, other in zip(ours, theirs, strict=True) if line != other]
    return [f"log.jsonl: {len(unequal)} lines, {unequal[0]}"] if unequal else []


def _log(run: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (run / "log.jsonl").read_text("utf-8").splitlines())
    return [{k: v for k, v in line.items() if k not in _UNEQUAL} for line in lines]


def _event_differences(run: Path, reference: Path) -> list[str]:
    ours, theirs = _events(run), _events(reference)
    missing, extra = list(theirs - ours), list(ours - theirs)
    if missing or extra:
        return [
            f"tensorboard: {len(missing)} missing, {len(extra)} double or unlike, "
            f"{sorted(missing + extra)[0]}"
        ]
    return []


def _events(run: Path) -> Counter:
    """Count each (step, kind/tag, value) of all that TensorBoard would read."""
    found = Counter()
    for path in (run / "tensorboard").glob("*/*tfevents*"):
        try:
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                event = Event.FromString(record)
                for value in event.summary.value:
                    clock = value.tag.endswith(_UNEQUAL)
                    number = b"" if clock else tf.make_ndarray(value.tensor).tobytes()
                    found[event.step, f"{path.parent.name}/{value.tag}", number] += 1
        except tf.errors.DataLossError:
            continue  # torn by a kill; what was written before it counts
    return found
