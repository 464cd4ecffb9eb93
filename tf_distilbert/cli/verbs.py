"""The verbs of the command line: each calls one function, and prints what it found.

Here are those that train and measure; in `preparation_verbs` what comes before, in
`application_verbs` what comes after. The function is imported when the verb runs, so that
``--help`` costs no TensorFlow.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tf_distilbert.cli.application_verbs import APPLICATION_VERBS
from tf_distilbert.cli.preparation_verbs import PREPARATION_VERBS
from tf_distilbert.errors import UserError, explain_write_errors, nearest
from tf_distilbert.training.runtime import start_keras


def _quickstart(options: argparse.Namespace) -> None:
    start_keras()
    from tf_distilbert.quickstart import quickstart

    quickstart(options.output, resume=options.resume or "never")


def _pretrain(options: argparse.Namespace) -> None:
    from tf_distilbert.config.file import load_config
    from tf_distilbert.config.jobs import PretrainConfig

    given = {"initialize_from": options.initialize_from, **_of_a_run(options)}
    config = load_config(PretrainConfig, options.config, options.overrides, given)
    start_keras(config.train.backend)
    from tf_distilbert.runs.train import pretrain

    pretrain(config)


def _distill(options: argparse.Namespace) -> None:
    from tf_distilbert.config.file import load_config
    from tf_distilbert.config.jobs import DistillConfig

    given = {"teacher": options.teacher, **_of_a_run(options)}
    config = load_config(DistillConfig, options.config, options.overrides, given)
    start_keras(config.train.backend)
    from tf_distilbert.runs.train import distill

    distill(config)


def _of_a_run(options: argparse.Namespace) -> dict[str, Any]:
    return {"output": options.output, "data.text": options.text, **_of_training(options)}


def _of_training(options: argparse.Namespace) -> dict[str, Any]:
    return {"train.seed": options.seed, "train.resume": options.resume}


def _launch(options: argparse.Namespace) -> int:
    from tf_distilbert.cli.launch import launch

    return launch(options.passed_on, options.workers)


def _finetune(options: argparse.Namespace) -> None:
    from tf_distilbert.config.file import parse_config, with_overrides
    from tf_distilbert.config.finetuning import FinetuneConfig

    own = {name: getattr(options, name) for name in ("task", "model", "data", "output", "teacher")}
    values = with_overrides({}, options.overrides, {**own, **_of_training(options)})
    config = parse_config(FinetuneConfig, values)
    start_keras(config.train.backend)
    from tf_distilbert.finetuning.finetune import finetune

    _print_scores(finetune(config))


def _evaluate(options: argparse.Namespace) -> None:
    if options.json and (Path(options.json).is_dir() or not Path(options.json).parent.is_dir()):
        raise UserError(f"{options.json}: cannot be written; give a file in a folder that exists")
    start_keras()
    if options.task:
        _evaluate_task(options)
        return
    if options.overrides:
        raise UserError(f"{options.overrides[0]}: settings go with --task")
    from tf_distilbert.evaluation.masked_lm import evaluate
    from tf_distilbert.model_files.folder import load_model

    metrics = evaluate(
        load_model(options.model),
        options.text,
        load_model(options.teacher) if options.teacher else None,
        sequence_length=options.sequence_length or 128,
        batch_size=options.batch_size,
        seed=options.seed or 0,
        progress=True,
    )
    for name, value in metrics.items():
        print(f"{name:20} {value:,}" if isinstance(value, int) else f"{name:20} {value:.6f}")
    _write_json(options.json, metrics)


def _evaluate_task(options: argparse.Namespace) -> None:
    from tf_distilbert.config.file import parse_config, with_overrides
    from tf_distilbert.config.finetuning import TaskEvaluationConfig
    from tf_distilbert.finetuning.evaluation import evaluate_task

    if not options.data:
        raise UserError("--task needs --data: the folder of the task's files, or tfds")
    for name in ("teacher", "sequence_length", "seed"):
        if getattr(options, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{option} goes with --text; leave it out with --task")
    settings = parse_config(TaskEvaluationConfig, with_overrides({}, options.overrides))
    scores = evaluate_task(
        options.model,
        options.task,
        options.data,
        split=options.split,
        predictions=options.predictions,
        batch_size=options.batch_size,
        progress=True,
        **asdict(settings),
    )
    _print_scores(scores)
    _write_json(options.json, scores)


def _retention(options: argparse.Namespace) -> None:
    from tf_distilbert.config.file import all_keys, load_config, parse_config, with_overrides
    from tf_distilbert.config.finetuning import FinetuneConfig
    from tf_distilbert.config.jobs import DistillConfig

    keys = list(all_keys(FinetuneConfig))
    for setting in options.overrides:
        key = setting.partition("=")[0].strip()
        if option := _OPTION_OF_A_SETTING.get(key if key in keys else nearest(key, keys) or ""):
            raise UserError(f"{setting}: is no setting of retention; give {option} instead")
    values = with_overrides({}, options.overrides)
    # What differs between the fine-tunings is filled in there.
    settings = parse_config(FinetuneConfig, values | dict.fromkeys(_OF_A_TRIAL, ""))
    ablation = options.ablation and load_config(DistillConfig, options.ablation)
    start_keras(settings.train.backend)
    from tf_distilbert.finetuning.retention import retention
    from tf_distilbert.finetuning.students import name_students

    retention(
        options.teacher,
        name_students(options.student),
        options.tasks.split(","),
        options.data,
        options.output,
        exports=options.exports.split(",") if options.exports else (),
        seeds=options.seeds,
        learning_rates=_numbers("--learning-rates", options.learning_rates),
        settings=settings,
        ablation=ablation,
    )
    print((Path(options.output) / "retention.md").read_text("utf-8"))


_OF_A_TRIAL = ("task", "model", "data", "output")
_OPTION_OF_A_SETTING = {
    "task": "--tasks",
    "model": "--teacher and --student",
    "data": "--data",
    "output": "--output",
    "validation_share": "several --learning-rates, which take a tenth of the training data",
    "train.learning_rate": "--learning-rates",
    "train.seed": "--seeds",
}


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option} is {text!r}; give numbers with commas between") from None


def _print_scores(scores: dict[str, dict[str, float]]) -> None:
    for split, metrics in scores.items():
        for name, value in metrics.items():
            print(f"{split:24} {name:20} {value:.4f}")


def _write_json(path: str | None, content: dict) -> None:
    if path:
        with explain_write_errors(Path(path)):  # in place: it may be /dev/stdout
            Path(path).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


VERBS = {
    "quickstart": _quickstart,
    **PREPARATION_VERBS,
    "finetune": _finetune,
    "evaluate": _evaluate,
    "retention": _retention,
    "pretrain": _pretrain,
    "distill": _distill,
    "launch": _launch,
    **APPLICATION_VERBS,
}
"""What the command line can do, by name."""
