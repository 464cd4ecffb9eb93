"""The command line's verbs and options; here are those that train and measure."""

import argparse

from tf_distilbert.cli.application_options import add_application_verbs
from tf_distilbert.cli.parser import (
    PROGRAM,
    Parser,
    add_model,
    add_overrides,
    add_resume,
    add_task_data,
    add_text,
    add_verb,
)
from tf_distilbert.cli.preparation_options import add_preparation_verbs
from tf_distilbert.version import __version__

TRAINING_VERBS = ("pretrain", "distill", "finetune")
"""What several workers can do together."""


def verbs_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Give the parsers of the verbs, by name."""
    [verbs] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return verbs.choices


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all verbs."""
    parser = Parser(
        prog=PROGRAM,
        description="Distil a BERT or RoBERTa into a smaller student.",
        epilog="--name VALUE may be written name=VALUE, too.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    verb = add_verb(verbs, "quickstart", "distil the sample teacher that comes along")
    verb.add_argument("--output", default="quickstart", metavar="DIR", help="default: %(default)s")
    add_resume(verb)

    add_preparation_verbs(verbs)

    for name, what, start, of_start in (
        (
            "pretrain",
            "train a BERT teacher, from scratch or further",
            "--initialize-from",
            "the model to train on",
        ),
        ("distill", "distil a student from a teacher", "--teacher", "what the student learns from"),
    ):
        verb = add_verb(verbs, name, what)
        verb.add_argument("config", metavar="CONFIG", help="a YAML file, see configs/")
        verb.add_argument(start, metavar="DIR", help=of_start)
        verb.add_argument("--text", nargs="+", metavar="PATH", help="data.text, see prepare")
        verb.add_argument("--output", metavar="DIR", help="the run directory")
        verb.add_argument("--seed", type=int, metavar="N", help="train.seed")
        add_overrides(verb, "of CONFIG, e.g. train.steps=100 data.validation=FILE")
        add_resume(verb)

    verb = add_verb(verbs, "launch", "run a training as several workers on this machine")
    verb.usage = f"%(prog)s --workers N -- {{{','.join(TRAINING_VERBS)}}} ..."
    verb.add_argument("--workers", type=int, required=True, metavar="N", help="processes")

    verb = add_verb(verbs, "finetune", "train a model on a task, and measure it there")
    verb.add_argument("--task", required=True, metavar="NAME", help="sst2, squad, ...")
    verb.add_argument("--model", required=True, metavar="DIR", help="where it begins")
    add_task_data(verb, required=True)
    verb.add_argument("--output", required=True, metavar="DIR", help="the run directory")
    verb.add_argument("--teacher", metavar="DIR", help="a model that learnt the task, to teach it")
    verb.add_argument("--seed", type=int, metavar="N", help="train.seed")
    add_resume(verb)
    add_overrides(verb, "e.g. train.epochs=2 train.learning_rate=5e-5 columns.text=review")

    verb = add_verb(verbs, "evaluate", "measure a model on held-out text, or on a task")
    add_model(verb)
    group = verb.add_mutually_exclusive_group(required=True)
    add_text(group, required=False)
    group.add_argument("--task", metavar="NAME", help="sst2, squad, stsb, retrieval, ...")
    add_task_data(verb, required=False)
    verb.add_argument("--split", metavar="NAME", help="of the task; default: the validation splits")
    verb.add_argument("--predictions", metavar="DIR", help="write the task's submission files here")
    verb.add_argument("--teacher", metavar="DIR", help="compare with this model")
    verb.add_argument("--json", metavar="FILE", help="write the metrics here too")
    verb.add_argument("--sequence-length", type=int, metavar="N", help="of the text; default: 128")
    verb.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="default: %(default)s"
    )
    verb.add_argument("--seed", type=int, metavar="N", help="of the masks; default: 0")
    add_overrides(verb, "of a task: max_length=64 columns.text=review null_threshold=-1")

    verb = add_verb(verbs, "retention", "fine-tune teacher and students on tasks, and compare them")
    verb.add_argument("--teacher", required=True, metavar="DIR", help="a pre-trained model")
    verb.add_argument(
        "--student",
        action="append",
        default=[],
        metavar="[NAME=]DIR",
        help="what was distilled from it; of several each with a --student of its own; --ablation "
        "makes one, too",
    )
    verb.add_argument("--tasks", required=True, metavar="A,B,...", help="sst2,mrpc,...")
    verb.add_argument(
        "--data", required=True, nargs="+", metavar="DIR", help="the tasks' folders, or tfds"
    )
    verb.add_argument("--output", required=True, metavar="DIR", help="everything is kept here")
    verb.add_argument(
        "--exports",
        metavar="A,B,...",
        help="int8, float32: score and time each student as an ONNX file, too",
    )
    verb.add_argument(
        "--seeds", type=int, default=5, metavar="N", help="a model and task; default: %(default)s"
    )
    verb.add_argument(
        "--learning-rates",
        default="3e-5",
        metavar="A,B,...",
        help="of several the best is chosen on a tenth of the training data; default: %(default)s",
    )
    verb.add_argument(
        "--ablation", metavar="CONFIG", help="distil the variants of this recipe, and add them"
    )
    add_overrides(verb, "of every fine-tuning: train.epochs=2 max_length=64")

    add_application_verbs(verbs)
    return parser
