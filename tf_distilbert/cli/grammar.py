"""How a command line is read: one grammar for all verbs.

``--name VALUE`` and ``name=VALUE`` are the same wherever ``--help`` shows ``--name``, and words may
stand in any order. Other words with ``=`` are settings, for the verbs that have a configuration.
What cannot be read is refused in one line that says what to write instead.
"""

import argparse
import difflib
import itertools
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from tf_distilbert.cli.options import TRAINING_VERBS, make_parser, verbs_of
from tf_distilbert.cli.parser import PROGRAM
from tf_distilbert.errors import nearest

_NAMED = re.compile(r"([a-z][\w.-]*)=")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line; ends the process with exit code 2 where it cannot be read.

    Args:
        arguments: what follows the program's name; ``sys.argv`` by default.

    Returns:
        The options; ``verb`` is the verb, ``overrides`` are settings (of a verb that takes any),
        ``passed_on`` is what follows ``--``.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = make_parser()
    verbs = verbs_of(parser)
    if not arguments:
        parser.error(f"a verb is missing; use one of {', '.join(verbs)}")
    name, *words = arguments
    if name in ("-h", "--help", "--version"):
        return parser.parse_args(arguments)
    if name.startswith("-"):
        parser.error(f"{name} stands before the verb; write {PROGRAM} VERB {name}")
    if name not in verbs:
        near = nearest(name, verbs)
        hint = f"did you mean {near}?" if near else f"use one of {', '.join(verbs)}"
        parser.error(f"there is no verb {name!r}; {hint}")
    verb = _Verb(name, verbs[name])
    words, passed_on = verb.split_at_dashes(words)
    words, overrides = verb.sort(words)
    options = parser.parse_args([name, *words])
    verb.refuse_empty_values(options)
    options.passed_on = passed_on
    if "overrides" in options:
        options.overrides = [*options.overrides, *overrides]
    return options


class _Verb:
    """What a verb's parser takes, by name."""

    def __init__(self, name: str, parser: argparse.ArgumentParser) -> None:
        self.name, self._parser = name, parser
        self._flags = {flag: each for each in parser._actions for flag in each.option_strings}
        self._positionals = {each.dest: each for each in parser._get_positional_actions()}

    def split_at_dashes(self, words: list[str]) -> tuple[list[str], list[str]]:
        """Split the words of the verbs that pass some on, at ``--``."""
        if self.name not in ("prepare", "launch"):
            return words, []
        if "--" in words:
            end = words.index("--")
            return words[:end], words[end + 1 :]
        found = next((i for i, word in enumerate(words) if word in TRAINING_VERBS), None)
        if self.name == "launch" and found is not None:
            right = shlex.join([PROGRAM, self.name, *words[:found], "--", *words[found:]])
            self._parser.error(f"-- is missing before {words[found]}; run {right}")
        return words, []

    def sort(self, words: list[str]) -> tuple[list[str], list[str]]:
        """Give the words in the form and order that argparse takes, and the settings among them."""
        config: list[str] = []
        others: list[str] = []
        named: list[str] = []
        overrides: list[str] = []
        may_be_named = self._may_be_named(words)
        end = words.index("--") if "--" in words else len(words)
        rest = iter(words[:end])
        for word in rest:
            match = _NAMED.match(word)
            if match and os.path.exists(word):
                match = None
            if word.startswith("--"):
                others += self._flag_and_values(word, rest)
            elif match and (flag := "--" + match[1].replace("_", "-")) in may_be_named:
                named += self._with_values(flag, word[match.end() :])
            elif match and "overrides" in self._positionals:
                self._refuse_misspelt(match[1])
                overrides.append(word)
            elif "config" in self._positionals and word.endswith((".yaml", ".yml")):
                config.append(word)
            else:
                others.append(word)
        flags = [word.partition("=")[0] for word in [*others, *named] if word.startswith("--")]
        for flag in flags:
            if flags.count(flag) > 1 and flag in self._flags and self._is_given_once(flag):
                self._parser.error(f"{flag} is given twice; leave one out")
        return [*config, *others, *named, *words[end:]], overrides

    def _is_given_once(self, flag: str) -> bool:
        """Tell whether a second value would hide the first: a switch has none, a list adds it."""
        action = self._flags[flag]
        return action.nargs != 0 and not isinstance(action, argparse._AppendAction)

    def refuse_empty_values(self, options: argparse.Namespace) -> None:
        """Refuse what a shell makes of a variable that is not set."""
        for flag, action in self._flags.items():
            value = getattr(options, action.dest, None)
            if action.metavar != "TEXT" and (
                "" in value if isinstance(value, list) else value == ""
            ):
                self._parser.error(f"{flag} is empty; give it a value")

    def _may_be_named(self, words: list[str]) -> set[str]:
        """Tell which flags may be written ``name=VALUE`` in these words."""
        flags = {flag for flag, each in self._flags.items() if each.nargs != 0}
        if "text" not in self._positionals:
            return flags
        # A text may begin so, too. It is an option only where it must be: that one is missing.
        given = {self._find(word.partition("=")[0]) for word in words if word.startswith("--")}
        return {flag for flag in flags - given if self._flags[flag].required}

    def _flag_and_values(self, word: str, rest: Iterator[str]) -> list[str]:
        """Give a flag by its own name, and its value, or the first of several."""
        written, separator, value = word.partition("=")
        flag = self._find(written)
        if flag is None:
            self._refuse(written)
        if separator:
            return self._with_values(flag, value)
        takes_more = self._flags[flag].nargs not in (0, "?")
        return [flag, *itertools.islice(rest, 1 if takes_more else 0)]

    def _with_values(self, flag: str, value: str) -> list[str]:
        """Give a flag with its value, or with those of ``[a, b]`` if it takes several."""
        if self._flags[flag].nargs == "+" and value.startswith("[") and value.endswith("]"):
            return [flag, *(each.strip() for each in value[1:-1].split(","))]
        return [f"{flag}={value}"]

    def _find(self, written: str) -> str | None:
        """Find the flag that is meant: this one, or the only one that begins so."""
        written = written.replace("_", "-")
        if written in self._flags:
            return written
        found = [flag for flag in self._flags if flag.startswith(written) and len(written) > 3]
        return found[0] if len(found) == 1 else None

    def _refuse(self, flag: str) -> NoReturn:
        name = flag.strip("-")
        if near := nearest(flag, [each for each in self._flags if each.startswith("--")]):
            hint = f"did you mean {near}?"
        elif name in self._positionals:
            hint = f"write what it stands for alone: {PROGRAM} {self.name} {name.upper()}"
        elif "overrides" in self._positionals:
            key = nearest(name.replace("-", "_"), self._keys()) or "train.steps"
            hint = f"a setting is written key=value: {key}=..."
        else:
            hint = "see --help"
        self._parser.error(f"{flag}: there is no such option; {hint}")

    def _refuse_misspelt(self, name: str) -> None:
        """Refuse what is no setting but nearly an option: else the option would only be missing."""
        flags = [flag.strip("-").replace("-", "_") for flag in self._flags]
        near = difflib.get_close_matches(name, flags, 1, cutoff=0.75)
        if "." not in name and near and name not in self._keys():
            self._parser.error(f"{name}: there is no such option; did you mean {near[0]}=...?")

    def _keys(self) -> list[str]:
        from tf_distilbert.config import finetuning, jobs
        from tf_distilbert.config.file import all_keys

        kinds = {
            "pretrain": jobs.PretrainConfig,
            "distill": jobs.DistillConfig,
            "evaluate": finetuning.TaskEvaluationConfig,
        }
        return list(all_keys(kinds.get(self.name, finetuning.FinetuneConfig)))
