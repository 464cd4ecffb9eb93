"""The command line's verbs and options."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from tf_distilbert.version import __version__

FORMATS = ("saved_model", "litert", "onnx", "openvino", "keras_nlp")
"""What ``export --format`` takes."""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line; ends the process with exit code 2 where it is no such line.

    Args:
        arguments: what follows the program's name; ``sys.argv`` by default.

    Returns:
        The options; ``verb`` is the verb, and ``passed_on`` what follows ``--``.
    """
    parser = make_parser()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    passed_on: list[str] = []
    if arguments[:1] in (["prepare"], ["launch"]) and "--" in arguments:
        end = arguments.index("--")
        arguments, passed_on = arguments[:end], arguments[end + 1 :]
    options, rest = parser.parse_known_args(arguments)
    options.passed_on = passed_on
    # argparse gives a list of positionals once: overrides that follow a flag are left over.
    if "overrides" in options and all("=" in word and word[0] != "-" for word in rest):
        options.overrides += [*_overrides_among(options), *rest]
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options


def _overrides_among(options: argparse.Namespace) -> list[str]:
    """Take out the overrides that follow a list of files or folders, which argparse adds to it."""
    found = []
    for name in ("data", "text"):
        words = getattr(options, name, None)
        if isinstance(words, list):
            own = [w for w in words[1:] if re.match(r"[a-z_.]+=", w) and not Path(w).exists()]
            setattr(options, name, [word for word in words if word not in own])
            found += own
    return found


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="tf-distilbert",
        description="Distil a BERT or RoBERTa into a student of half its depth.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    verb = _verb(verbs, "quickstart", "distil the sample teacher that comes along")
    verb.add_argument("--output", default="quickstart", metavar="DIR", help="default: %(default)s")
    _add_resume(verb)

    verb = _verb(verbs, "vocab", "learn a WordPiece vocabulary from text")
    _add_text(verb)
    verb.add_argument("--size", required=True, type=int, metavar="N", help="number of tokens")
    verb.add_argument("--output", required=True, metavar="FILE", help="the vocab.txt to write")
    verb.add_argument("--cased", action="store_true", help="keep case and accents")

    verb = _verb(verbs, "prepare", "turn text into shards of token sequences")
    _add_text(verb)
    group = verb.add_mutually_exclusive_group(required=True)
    group.add_argument(
        "--tokenizer", metavar="DIR", help="the teacher, in any form that --model takes"
    )
    group.add_argument("--vocab", metavar="FILE", help="or its vocab.txt alone")
    verb.add_argument("--output", required=True, metavar="DIR", help="folder for the shards")
    verb.add_argument(
        "--sequence-length", type=int, default=512, metavar="N", help="tokens; default: %(default)s"
    )
    verb.add_argument("--cased", action="store_true", help="the vocab.txt is cased")
    verb.add_argument(
        "--workers", type=int, metavar="N", help="threads; default: one a core, at most 8"
    )
    verb.add_argument(
        "--runner",
        choices=("local", "beam"),
        default="local",
        help="local, or beam: an Apache Beam pipeline, whose options follow after --; default: "
        "%(default)s",
    )
    verb.add_argument(
        "--cross-documents", action="store_true", help="let a sequence span several documents"
    )
    verb.add_argument(
        "--invalid-utf8",
        choices=("skip", "refuse"),
        default="skip",
        help="what to do with lines that are not UTF-8; default: %(default)s",
    )

    for name, what, example in (
        ("pretrain", "train a BERT teacher, from scratch or further", "initialize_from=DIR"),
        ("distill", "distil a student from a teacher", "teacher=DIR"),
    ):
        verb = _verb(verbs, name, what)
        verb.add_argument("config", metavar="CONFIG", help="a YAML file, see configs/")
        _add_overrides(verb, f"e.g. train.steps=100 {example}")
        _add_resume(verb)

    verb = _verb(verbs, "launch", "run a training as several workers on this machine")
    verb.usage = "%(prog)s --workers N -- {pretrain,distill,finetune} ..."
    verb.add_argument("--workers", type=int, required=True, metavar="N", help="processes")

    verb = _verb(verbs, "finetune", "train a model on a task, and measure it there")
    verb.add_argument("--task", required=True, metavar="NAME", help="sst2, squad, ...")
    verb.add_argument("--model", required=True, metavar="DIR", help="where it begins")
    _add_task_data(verb, required=True)
    verb.add_argument("--output", required=True, metavar="DIR", help="the run directory")
    verb.add_argument("--teacher", metavar="DIR", help="a model that learnt the task, to teach it")
    verb.add_argument("--seed", type=int, metavar="N", help="train.seed")
    _add_resume(verb)
    _add_overrides(verb, "e.g. train.epochs=2 train.learning_rate=5e-5 columns.text=review")

    verb = _verb(verbs, "evaluate", "measure a model on held-out text, or on a task")
    _add_model(verb)
    group = verb.add_mutually_exclusive_group(required=True)
    _add_text(group, required=False)
    group.add_argument("--task", metavar="NAME", help="sst2, squad, ...: the model was fine-tuned")
    _add_task_data(verb, required=False)
    verb.add_argument("--split", metavar="NAME", help="of the task; default: the validation splits")
    verb.add_argument("--predictions", metavar="DIR", help="write the task's submission files here")
    verb.add_argument("--teacher", metavar="DIR", help="compare with this model")
    verb.add_argument("--json", metavar="FILE", help="write the metrics here too")
    verb.add_argument("--sequence-length", type=int, metavar="N", help="of the text; default: 128")
    verb.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="default: %(default)s"
    )
    verb.add_argument("--seed", type=int, metavar="N", help="of the masks; default: 0")
    _add_overrides(verb, "of a task: max_length=64 columns.text=review null_threshold=-1")

    verb = _verb(verbs, "retention", "fine-tune teacher and student on tasks, and compare them")
    verb.add_argument("--teacher", required=True, metavar="DIR", help="a pre-trained model")
    verb.add_argument(
        "--student", metavar="DIR", help="what was distilled from it; --ablation makes one, too"
    )
    verb.add_argument("--tasks", required=True, metavar="A,B,...", help="sst2,mrpc,...")
    verb.add_argument(
        "--data", required=True, nargs="+", metavar="DIR", help="the tasks' folders, or tfds"
    )
    verb.add_argument("--output", required=True, metavar="DIR", help="everything is kept here")
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
    _add_overrides(verb, "of every fine-tuning: train.epochs=2 max_length=64")

    verb = _verb(verbs, "report", "write what runs did into one HTML file")
    verb.add_argument(
        "run", nargs="+", metavar="RUN_DIR", help="a run directory, or what retention wrote"
    )
    verb.add_argument(
        "--output",
        metavar="FILE",
        help="default: report.html, of one run in its directory, of several here",
    )

    verb = _verb(verbs, "export", "write a model for servers, phones, other runtimes")
    _add_model(verb)
    verb.add_argument("--format", required=True, help=f"one of {', '.join(FORMATS)}")
    verb.add_argument(
        "--output", metavar="DIR", help="a new folder; of saved_model by default saved_models/"
    )
    _add_task(verb)
    verb.add_argument(
        "--precision",
        default="float32",
        metavar="P",
        help="float32, bfloat16 (saved_model), float16 (litert), int8 (litert, onnx), full_int8 "
        "(litert); default: %(default)s",
    )
    verb.add_argument("--name", help="of a saved_model, for the server; default: the folder's")
    verb.add_argument(
        "--version", type=int, default=1, metavar="N", help="of a saved_model; default: %(default)s"
    )
    verb.add_argument(
        "--long-texts",
        metavar="HOW",
        help="cut, or window: read all of it; default: window for question answering, else cut",
    )
    verb.add_argument(
        "--max-length",
        type=int,
        metavar="N",
        help="tokens read at once; default: all positions, of litert 128",
    )
    verb.add_argument(
        "--top-k", type=int, default=5, metavar="K", help="words at a mask; default: %(default)s"
    )
    verb.add_argument(
        "--batching",
        type=int,
        nargs="?",
        const=32,
        metavar="N",
        help="write a file for the server that lets it put up to N texts together",
    )
    verb.add_argument(
        "--calibration", nargs="+", metavar="PATH", help="text for full_int8, as prepare takes it"
    )

    verb = _verb(verbs, "predict", "answer texts with a model folder or an export")
    verb.add_argument("--model", required=True, metavar="DIR", help="a model folder or an export")
    _add_task(verb)
    verb.add_argument("--question", metavar="TEXT", help="of question answering")
    verb.add_argument("--text-pair", metavar="TEXT", help="the second text of a pair")
    verb.add_argument(
        "text",
        nargs="*",
        metavar="TEXT",
        help="default: standard input, a text or a JSON object in each line",
    )

    verb = _verb(verbs, "benchmark", "time this and its peers side by side")
    verb.add_argument("kind", choices=("step", "inference", "input", "memory"))
    verb.add_argument("--quick", action="store_true", help="less of everything")
    verb.add_argument("--json", dest="json_path", metavar="FILE", help="write everything here too")
    verb.add_argument("--only", nargs="+", metavar="NAME", help="these competitors")
    for flag, kind, metavar, what in (
        ("--batch-size", int, "N", "sequences in a batch"),
        ("--sequence-length", int, "N", "tokens in a sequence"),
        ("--rounds", int, "N", "turns of each competitor"),
        ("--text", str, "FILE", "of input; default: the sample corpus"),
        ("--vocabulary", str, "FILE", "of input: an uncased vocab.txt"),
        ("--step-tokens-per-second", float, "X", "of input: compare with this, not with our step"),
    ):
        verb.add_argument(flag, type=kind, metavar=metavar, help=what)

    verb = _verb(verbs, "fill-mask", "predict the words at [MASK] (RoBERTa: <mask>)")
    _add_model(verb)
    verb.add_argument("--top-k", type=int, default=5, metavar="K", help="default: %(default)s")
    verb.add_argument("text", nargs="+", metavar="TEXT", help='e.g. "Paris is in [MASK]."')

    verb = _verb(verbs, "demo", "show on a local page what teacher and student answer")
    for who in ("teacher", "student"):
        verb.add_argument(
            f"--{who}", required=True, metavar="DIR", help="a model folder or an export"
        )
    _add_task(verb)
    verb.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="to listen at; 0.0.0.0 lets other machines in; default: %(default)s",
    )
    verb.add_argument("--port", type=int, default=7860, metavar="N", help="default: %(default)s")
    return parser


def _verb(verbs: argparse._SubParsersAction, name: str, what: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    verb.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verb.set_defaults(verb=name)
    return verb


def _add_model(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="a model folder, hf://OWNER/NAME[@REVISION] or keras_nlp://NAME",
    )


def _add_task(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--task",
        metavar="TASK",
        help="masked_lm, sequence_classification, token_classification, question_answering or "
        "encoder; default: what the folder says",
    )


def _add_text(verb: argparse._ActionsContainer, *, required: bool = True) -> None:
    verb.add_argument(
        "--text",
        required=required,
        nargs="+",
        metavar="PATH",
        help=".txt or .jsonl, plain, .gz or .xz; globs; tfds:NAME; sample:train, sample:validation",
    )


def _add_task_data(verb: argparse.ArgumentParser, *, required: bool) -> None:
    verb.add_argument(
        "--data", required=required, metavar="DIR", help="the task's files, or tfds to download"
    )


def _add_overrides(verb: argparse.ArgumentParser, example: str) -> None:
    verb.add_argument("overrides", nargs="*", metavar="key=value", help=example)


def _add_resume(verb: argparse.ArgumentParser) -> None:
    group = verb.add_mutually_exclusive_group()
    for flag, value, what in (
        ("--resume", "auto", "go on with the run that is there, if any"),
        ("--overwrite", "overwrite", "delete the run that is there"),
    ):
        group.add_argument(flag, dest="resume", action="store_const", const=value, help=what)
