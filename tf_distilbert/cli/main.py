"""The command line: run a verb, say in one line what went wrong."""

import os
import shlex
import sys
from collections.abc import Sequence

from tf_distilbert.cli.grammar import parse
from tf_distilbert.cli.parser import PROGRAM
from tf_distilbert.cli.verbs import VERBS
from tf_distilbert.errors import Interrupted, UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``tf-distilbert``.

    Args:
        arguments: what follows the program's name; ``sys.argv`` by default.

    Returns:
        The exit code: 0; 2 for what the user can mend; 128 and the signal's number for a run that
        was stopped by one, 130 for Ctrl-C; of ``launch`` that of its workers.
    """
    _open_closed_streams()
    options = parse(arguments)
    try:
        return VERBS[options.verb](options) or 0
    except UserError as error:
        if options.debug:
            raise
        _tell(str(error))
        return 2
    except Interrupted as stopped:
        how = _how_to_go_on(arguments, options.verb)
        _tell(f"{stopped}; {how}")
        return 128 + stopped.signal
    except KeyboardInterrupt:
        if options.debug:
            raise
        _tell("stopped")
        return 130
    except BrokenPipeError:  # whoever reads has enough, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _tell(message: str) -> None:
    """Write a line to stderr, at once: of several workers none writes into another's line."""
    sys.stderr.write(f"{PROGRAM}: {message}\n")


def _open_closed_streams() -> None:
    """Give a process that was started without a standard stream (``2>&-``) one that leads nowhere.

    Else the next file that is opened takes the stream's number, and gets what libraries print.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # a new descriptor has the lowest number that is free, which is this one
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8", errors="replace"))


def _how_to_go_on(arguments: Sequence[str] | None, verb: str) -> str:
    if os.environ.get("TF_CONFIG"):
        return "start all workers again with --resume"
    words = sys.argv[1:] if arguments is None else arguments
    again = [word for word in words if word not in ("--overwrite", "--resume")]
    # Of many runs, those that are finished are kept and the others go on by themselves.
    resume = [] if verb == "retention" else ["--resume"]
    return f"go on with: {shlex.join([PROGRAM, *again, *resume])}"
