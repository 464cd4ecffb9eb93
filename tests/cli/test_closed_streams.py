"""Commands that are started without standard streams, as some schedulers start them."""

import subprocess
import sys

import pytest

CLOSED = {
    "stdin": "<&-",
    "stdout": ">&-",
    "stderr": "2>&-",
    "stdout and stderr": ">&- 2>&-",
    "all": "<&- >&- 2>&-",
}
each = pytest.mark.parametrize("closed", CLOSED.values(), ids=CLOSED)


def start(closed, *arguments):
    """Run Python without some of its streams."""
    command = ["sh", "-c", f'exec "$0" "$@" {closed}', sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, input="")


@each
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_what_only_prints(closed, option):
    result = start(closed, "-m", "tf_distilbert", option)
    assert result.returncode == 0, result.stderr
    if ">&-" not in closed.split():
        assert result.stdout.strip() and not result.stderr


VERB = """
import os, sys
from tf_distilbert.cli import main
from tf_distilbert.errors import UserError
from tf_distilbert.training.runtime import quiet_start

def verb(options):
    with quiet_start():
        os.write(2, b"noise")
    with open(sys.argv[1], "w") as file:
        assert file.fileno() > 2, "a file has the place of a stream"
        os.write(1, b"out, ")
        os.write(2, b"err, ")
        print(sys.stdin.buffer.read().decode(), end="in", flush=True)
        file.write("whole")
    raise UserError("cannot be")

main.VERBS["vocab"] = verb
sys.exit(main.main("vocab --text t --size 1 --output o".split()))
"""


@each
def test_no_file_takes_the_place_of_a_stream(closed, tmp_path):
    path = tmp_path / "file"
    result = start(closed, "-c", VERB, path)
    assert result.returncode == 2, result.stderr
    assert path.read_text() == "whole"
    parts = closed.split()
    assert result.stdout == ("" if ">&-" in parts else "out, in")
    assert result.stderr == ("" if "2>&-" in parts else "err, tf-distilbert: cannot be\n")


@pytest.mark.slow
@each
def test_a_verb_that_cannot_do_what_it_is_asked(closed, tmp_path):
    result = start(closed, "-m", "tf_distilbert", "fill-mask", "--model", tmp_path / "none", "x")
    assert result.returncode == 2, result.stderr
    if "2>&-" not in closed.split():
        assert "none: no such model folder" in result.stderr
