"""What is done with a trained model: each verb calls one function, and prints what it found."""

import argparse
import json

from tf_distilbert.cli.application_options import FORMATS
from tf_distilbert.errors import UserError
from tf_distilbert.training.runtime import start_keras


def _report(options: argparse.Namespace) -> None:
    start_keras()
    from tf_distilbert.report.reporter import write_report

    print(write_report(options.run, options.output))


def _export(options: argparse.Namespace) -> None:
    if options.format not in FORMATS:
        raise UserError(f"--format {options.format!r}: use one of {', '.join(FORMATS)}")
    start_keras(only="tensorflow")
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
    start_keras()
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
    start_keras()
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
    start_keras()
    from tf_distilbert.demo.start import demo

    names = ("task", "host", "port")
    demo(options.teacher, options.student, **{name: getattr(options, name) for name in names})


APPLICATION_VERBS = {
    "report": _report,
    "export": _export,
    "predict": _predict,
    "benchmark": _benchmark,
    "fill-mask": _fill_mask,
    "demo": _demo,
}
"""What the command line can do with a trained model, by name."""
