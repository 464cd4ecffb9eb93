"""The verbs of the command line: each calls one function, and prints what it found.

The function is imported when the verb runs, so that ``--help`` costs no TensorFlow.
"""

import argparse
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from tf_distilbert.cli.options import FORMATS
from tf_distilbert.errors import UserError, explain_write_errors, nearest


def _quickstart(options: argparse.Namespace) -> None:
    _start()
    from tf_distilbert.quickstart import quickstart

    quickstart(options.output, resume=options.resume or "never")


def _vocab(options: argparse.Namespace) -> None:
    _start()
    from tf_distilbert.data.vocabulary import learn_vocabulary

    tokens = learn_vocabulary(
        options.text, options.size, options.output, lower_case=not options.cased
    )
    print(f"{options.output}: {len(tokens):,} tokens")


def _prepare(options: argparse.Namespace) -> None:
    if options.tokenizer and options.cased:
        raise UserError("--cased goes with --vocab; the folder of --tokenizer says it itself")
    by_beam = options.runner == "beam"
    if options.passed_on and not by_beam:
        raise UserError(f"{options.passed_on[0]}: what follows `--` goes with --runner beam")
    if options.workers is not None and by_beam:
        raise UserError(
            "--workers goes with --runner local; Beam's own options follow `--`, for example "
            f"-- --direct_num_workers={options.workers}"
        )
    _start()
    from tf_distilbert.data.beam import prepare_with_beam
    from tf_distilbert.data.prepare import prepare
    from tf_distilbert.model_files.folder import load_tokenizer
    from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

    if options.tokenizer:
        tokenizer = load_tokenizer(options.tokenizer)
    else:
        tokenizer = WordPieceTokenizer.from_file(options.vocab, lower_case=not options.cased)
    run = (
        partial(prepare_with_beam, beam_options=options.passed_on)
        if by_beam
        else partial(prepare, workers=options.workers)
    )
    run(
        options.text,
        tokenizer,
        options.output,
        sequence_length=options.sequence_length,
        cross_documents=options.cross_documents,
        invalid_utf8=options.invalid_utf8,
    )


def _pretrain(options: argparse.Namespace) -> None:
    from tf_distilbert.config.file import load_config
    from tf_distilbert.config.jobs import PretrainConfig

    given = {"initialize_from": options.initialize_from, **_of_a_run(options)}
    config = load_config(PretrainConfig, options.config, options.overrides, given)
    _start(config.train.backend)
    from tf_distilbert.runs.train import pretrain

    pretrain(config)


def _distill(options: argparse.Namespace) -> None:
    from tf_distilbert.config.file import load_config
    from tf_distilbert.config.jobs import DistillConfig

    given = {"teacher": options.teacher, **_of_a_run(options)}
    config = load_config(DistillConfig, options.config, options.overrides, given)
    _start(config.train.backend)
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
    _start(config.train.backend)
    from tf_distilbert.finetuning.finetune import finetune

    _print_scores(finetune(config))


def _evaluate(options: argparse.Namespace) -> None:
    if options.json and (Path(options.json).is_dir() or not Path(options.json).parent.is_dir()):
        raise UserError(f"{options.json}: cannot be written; give a file in a folder that exists")
    _start()
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
    _start(settings.train.backend)
    from tf_distilbert.finetuning.retention import retention

    retention(
        options.teacher,
        options.student,
        options.tasks.split(","),
        options.data,
        options.output,
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


def _report(options: argparse.Namespace) -> None:
    _start()
    from tf_distilbert.report.reporter import write_report

    print(write_report(options.run, options.output))


def _export(options: argparse.Namespace) -> None:
    if options.format not in FORMATS:
        raise UserError(f"--format {options.format!r}: use one of {', '.join(FORMATS)}")
    _start(only="tensorflow")
    from tf_distilbert.exports.exporter import export

    names = ["task", "precision", "name", "version", "long_texts", "max_length", "top_k"]
    names += ["batching", "calibration"]
    folder, found = export(
        options.model,
        options.format,
        options.output,
        **{name: getattr(options, name) for name in names},
    )
    print(f"{folder}: {found}")


def _predict(options: argparse.Namespace) -> None:
    from tf_distilbert.cli.requests import read_requests

    requests = read_requests(options.text, options.question, options.text_pair)
    _start()
    from tf_distilbert.exports.prediction import Predictor

    for answer in Predictor(options.model, options.task).predict(requests):
        print(json.dumps(answer, ensure_ascii=False))


def _benchmark(options: argparse.Namespace) -> None:
    from tf_distilbert.benchmark.kinds import run_benchmark

    names = ["quick", "json_path", "only", "batch_size", "sequence_length", "rounds", "text"]
    names += ["vocabulary", "step_tokens_per_second"]
    run_benchmark(options.kind, **{name: getattr(options, name) for name in names})


def _fill_mask(options: argparse.Namespace) -> None:
    if options.top_k < 1:
        raise UserError(f"--top-k is {options.top_k}; give 1 or more")
    _start()
    from tf_distilbert.evaluation.fill_mask import fill_mask
    from tf_distilbert.model_files.folder import load_model

    answers = fill_mask(load_model(options.model), options.text, options.top_k)
    for text, blanks in zip(options.text, answers, strict=True):
        print(text)
        for predictions in blanks:
            print(
                "   "
                + "  ".join(
                    f"{prediction.token} {prediction.probability:.3f}" for prediction in predictions
                )
            )


def _demo(options: argparse.Namespace) -> None:
    _start()
    from tf_distilbert.demo.start import demo

    names = ("task", "host", "port")
    demo(options.teacher, options.student, **{name: getattr(options, name) for name in names})


def _start(backend: str | None = None, *, only: str | None = None) -> None:
    from tf_distilbert.training.runtime import start_keras

    start_keras(backend, only=only)


VERBS = {
    "quickstart": _quickstart,
    "vocab": _vocab,
    "prepare": _prepare,
    "finetune": _finetune,
    "evaluate": _evaluate,
    "retention": _retention,
    "report": _report,
    "export": _export,
    "predict": _predict,
    "benchmark": _benchmark,
    "fill-mask": _fill_mask,
    "demo": _demo,
    "pretrain": _pretrain,
    "distill": _distill,
    "launch": _launch,
}
"""What the command line can do, by name."""
