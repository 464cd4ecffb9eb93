"""What the parsers of all verbs share: errors in one line, and options that several verbs have."""

import argparse
import re
from typing import NoReturn

PROGRAM = "tf-distilbert"


class Parser(argparse.ArgumentParser):
    """argparse's, whose errors are one line in the words of all others."""

    def error(self, message: str) -> NoReturn:
        """End the process with exit code 2, having said why."""
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


def add_verb(verbs: argparse._SubParsersAction, name: str, what: str) -> argparse.ArgumentParser:
    """Add a verb by its name, and what it does for the help; give its parser."""
    verb = verbs.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    verb.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verb.set_defaults(verb=name)
    return verb


def add_model(verb: argparse.ArgumentParser) -> None:
    """Add ``--model``: one that `load_task_model` takes."""
    verb.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="a model folder, hf://OWNER/NAME[@REVISION] or keras_nlp://NAME",
    )


def add_task(verb: argparse.ArgumentParser) -> None:
    """Add ``--task``: which head a model has."""
    verb.add_argument(
        "--task",
        metavar="TASK",
        help="masked_lm, sequence_classification, token_classification, question_answering or "
        "encoder; default: what the folder says",
    )


def add_text(verb: argparse._ActionsContainer, *, required: bool = True) -> None:
    """Add ``--text``: the sources that `read_blocks` takes."""
    verb.add_argument(
        "--text",
        required=required,
        nargs="+",
        metavar="PATH",
        help=".txt or .jsonl, plain, .gz, .xz or .bz2; globs; tfds:NAME; sample:train, "
        "sample:validation",
    )


def add_task_data(verb: argparse.ArgumentParser, *, required: bool) -> None:
    """Add ``--data``: of a task."""
    verb.add_argument(
        "--data", required=required, metavar="DIR", help="the task's files, or tfds to download"
    )


def add_overrides(verb: argparse.ArgumentParser, example: str) -> None:
    """Add settings, of which the help shows an example."""
    verb.add_argument("overrides", nargs="*", default=[], metavar="key=value", help=example)


def add_resume(verb: argparse.ArgumentParser) -> None:
    """Add what is done about a run that is there already."""
    group = verb.add_mutually_exclusive_group()
    for flag, value, what in (
        ("--resume", "auto", "go on with the run that is there, if any"),
        ("--overwrite", "overwrite", "delete the run that is there"),
    ):
        group.add_argument(flag, dest="resume", action="store_const", const=value, help=what)
