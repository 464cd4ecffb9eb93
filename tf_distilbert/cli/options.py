"""The command line's verbs and options."""

import argparse
import re
from typing import NoReturn

from tf_distilbert.version import __version__

PROGRAM = "tf-distilbert"
TRAINING_VERBS = ("pretrain", "distill", "finetune")
"""What several workers can do together."""

FORMATS = ("saved_model", "litert", "onnx", "openvino", "keras_nlp")
"""What ``export --format`` takes."""


class _Parser(argparse.ArgumentParser):
    """argparse's, whose errors are one line in the words of all others."""

    def error(self, message: str) -> NoReturn:
        for pattern, ours in _IN_OUR_WORDS.items():
            message = re.sub(pattern, ours, message)
        message = message.replace("see --help", f"see {self.prog} --help")
        self.exit(2, f"{PROGRAM}: {message}\n")


_IN_OUR_WORDS = {
    r"^the following arguments are required: (.*)": r"missing: \1; see --help",
    r"^one of the arguments (.*) is required": r"missing: one of \1; see --help",
    r"^argument (.*?): not allowed with argument (.*)": r"give \1 or \2, not both",
    r"^argument (.*?): expected (one|at least one) argument": r"\1 has no value; give it one",
    r"^argument (.*?): invalid int value: (.*)": r"\1 is \2; it takes a whole number",
    r"^argument (.*?): invalid float value: (.*)": r"\1 is \2; it takes a number",
    r"^argument (.*?): invalid choice: (.*) \(choose from (.*)\)": r"\1 is \2; use one of \3",
    r"^argument (.*?): ignored explicit argument (.*)": r"\1 takes no value; leave \2 out",
    r"^unrecognized arguments: (.*)": r"too much: \1; leave it out, or see --help",
}


def verbs_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Give the parsers of the verbs, by name."""
    [verbs] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return verbs.choices


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all verbs."""
    parser = _Parser(
        prog=PROGRAM,
        description="Distil a BERT or RoBERTa into a student of half its depth.",
        epilog="--name VALUE may be written name=VALUE, too.",
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

    for name, what, start, of_start in (
        (
            "pretrain",
            "train a BERT teacher, from scratch or further",
            "--initialize-from",
            "the model to train on",
        ),
        ("distill", "distil a student from a teacher", "--teacher", "what the student learns from"),
    ):
        verb = _verb(verbs, name, what)
        verb.add_argument("config", metavar="CONFIG", help="a YAML file, see configs/")
        verb.add_argument(start, metavar="DIR", help=of_start)
        verb.add_argument("--text", nargs="+", metavar="PATH", help="data.text, see prepare")
        verb.add_argument("--output", metavar="DIR", help="the run directory")
        verb.add_argument("--seed", type=int, metavar="N", help="train.seed")
        _add_overrides(verb, "of CONFIG, e.g. train.steps=100 data.validation=FILE")
        _add_resume(verb)

    verb = _verb(verbs, "launch", "run a training as several workers on this machine")
    verb.usage = f"%(prog)s --workers N -- {{{','.join(TRAINING_VERBS)}}} ..."
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
        help=".txt or .jsonl, plain, .gz, .xz or .bz2; globs; tfds:NAME; sample:train, "
        "sample:validation",
    )


def _add_task_data(verb: argparse.ArgumentParser, *, required: bool) -> None:
    verb.add_argument(
        "--data", required=required, metavar="DIR", help="the task's files, or tfds to download"
    )


def _add_overrides(verb: argparse.ArgumentParser, example: str) -> None:
    verb.add_argument("overrides", nargs="*", default=[], metavar="key=value", help=example)


def _add_resume(verb: argparse.ArgumentParser) -> None:
    group = verb.add_mutually_exclusive_group()
    for flag, value, what in (
        ("--resume", "auto", "go on with the run that is there, if any"),
        ("--overwrite", "overwrite", "delete the run that is there"),
    ):
        group.add_argument(flag, dest="resume", action="store_const", const=value, help=what)
