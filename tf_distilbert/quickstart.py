"""All in one command: distil the sample teacher on the sample corpus, show what came out."""

import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tf_distilbert.assets import asset
from tf_distilbert.config.file import load_config
from tf_distilbert.config.jobs import DistillConfig
from tf_distilbert.evaluation.fill_mask import fill_mask
from tf_distilbert.evaluation.masked_lm import evaluate
from tf_distilbert.model_files.folder import load_model
from tf_distilbert.models.masked_language_model import MaskedLanguageModel
from tf_distilbert.runs.train import distill
from tf_distilbert.sample.corpus import PROMPTS


def quickstart(
    output: str | Path, console: Console | None = None, *, resume: str = "never"
) -> dict[str, float]:
    """Distil the sample teacher into half its layers and compare the two.

    Args:
        output: the run directory.
        console: where everything is shown, by default stdout.
        resume: what to do with a run that is there; see `TrainConfig`.

    Returns:
        The metrics of `evaluate` on the held-out paragraphs.

    Raises:
        UserError: the output is in the way or cannot be written.
    """
    console = console or Console(highlight=False)
    teacher_folder = asset("saved_models/sample_teacher")
    config = load_config(DistillConfig, asset("configs/quickstart.yaml"))
    config = replace(
        config,
        teacher=str(teacher_folder),
        output=str(output),
        train=replace(config.train, resume=resume),
    )
    console.print("[bold]Distilling the sample teacher[/bold] (a small BERT that knows some facts)")
    student_folder = distill(config, console)
    teacher, student = load_model(teacher_folder), load_model(student_folder)
    metrics = evaluate(
        student, config.data.validation, teacher, sequence_length=config.data.sequence_length
    )
    console.print(_comparison(teacher, student, metrics))
    console.print(_answers(teacher, student))
    console.print(
        f"The student kept [bold]{metrics['retention']:.1%}[/bold] of the teacher's held-out "
        f"accuracy. It is in {student_folder}, a folder that `transformers` opens, too.\n\n"
        "Ask it, measure it on a text of yours, distil a teacher of yours (any BERT; 300 steps of "
        "a small one take 10 to 25 minutes on 2 cores):\n"
        f'  tf-distilbert fill-mask --model {output} "Rome is the capital of \\[MASK]."\n'
        f"  tf-distilbert evaluate --model {output} --teacher {teacher_folder} --text FILE\n"
        "  tf-distilbert distill configs/mini-english.yaml --teacher DIR --text FILE "
        "train.steps=300",
        soft_wrap=True,
    )
    return metrics


def _comparison(
    teacher: MaskedLanguageModel, student: MaskedLanguageModel, metrics: dict[str, float]
) -> Table:
    table = Table("", "teacher", "student", "student / teacher", title="Held-out paragraphs")
    parameters = teacher.count_params(), student.count_params()
    speeds = _sequences_per_second([teacher, student])
    table.add_row("layers", *(str(m.architecture.num_layers) for m in (teacher, student)), "")
    for name, (theirs, ours), form in (
        ("parameters", parameters, ",.0f"),
        ("sequences/s, batch 32 x 64", speeds, ",.0f"),
        ("masked-LM loss", (metrics["teacher_loss"], metrics["loss"]), ".3f"),
        ("masked-LM accuracy", (metrics["teacher_accuracy"], metrics["accuracy"]), ".1%"),
    ):
        table.add_row(name, f"{theirs:{form}}", f"{ours:{form}}", f"{ours / theirs:.2f}")
    table.add_row("same top answer", "", f"{metrics['agreement']:.1%}", "")
    table.add_row("cosine of last hidden states", "", f"{metrics['cosine']:.3f}", "")
    return table


def _answers(teacher: MaskedLanguageModel, student: MaskedLanguageModel) -> Table:
    table = Table("prompt", "teacher", "student", title="What they answer")
    prompts = [prompt for prompt, _ in PROMPTS]
    answers = [fill_mask(model, prompts, top_k=1) for model in (teacher, student)]
    for i, (prompt, expected) in enumerate(PROMPTS):
        cells = []
        for [[prediction]] in (answers[0][i], answers[1][i]):
            colour = "green" if prediction.token == expected else "red"
            cells.append(f"[{colour}]{prediction.token}[/{colour}] {prediction.probability:.2f}")
        table.add_row(prompt.replace("[", "\\["), *cells)
    return table


def _sequences_per_second(models: list[MaskedLanguageModel]) -> list[float]:
    """Time the models' forward passes in turns, after a warm-up; the median of several rounds."""
    batch, length = 32, 64
    inputs = {
        "token_ids": np.full((batch, length), 7, np.int32),
        "padding_mask": np.ones((batch, length), bool),
        "mask_positions": np.tile(np.arange(8, dtype=np.int32), (batch, 1)),
    }
    seconds: list[list[float]] = [[] for _ in models]
    for turn in range(12):
        for model, times in zip(models, seconds, strict=True):
            start = time.perf_counter()
            model.predict_on_batch(inputs)
            if turn >= 2:
                times.append(time.perf_counter() - start)
    return [batch / statistics.median(times) for times in seconds]
