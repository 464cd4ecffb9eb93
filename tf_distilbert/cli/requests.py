"""What ``predict`` is asked: texts of the command line, or lines of standard input."""

import json
import sys
from collections.abc import Sequence

from tf_distilbert.errors import UserError


def read_requests(
    texts: Sequence[str], question: str | None = None, text_pair: str | None = None
) -> list[dict[str, str]]:
    """Give each request as a mapping from names to texts.

    Args:
        texts: of the command line; with none, every line of standard input is a request: a text,
            or a JSON object such as ``{"question": "...", "context": "..."}``.
        question: makes each of the texts a context that may hold its answer; a request that has a
            question keeps it.
        text_pair: the second text beside each of the texts; a request that has one keeps it.

    Raises:
        UserError: both of them, or a line is a JSON object of something else than texts.
    """
    if question is not None and text_pair is not None:
        raise UserError("--question and --text-pair: give one of them, they are different tasks")
    requests = []
    for number, line in enumerate(texts or _lines(), start=1):
        if not texts and not line.strip():
            continue
        request = {"text": line} if texts else _parse(line, number)
        if question is not None and set(request) == {"text"}:
            request = {"question": question, "context": request["text"]}
        elif question is not None:
            request = request if "question" in request else request | {"question": question}
        elif text_pair is not None:
            request = request if "text_pair" in request else request | {"text_pair": text_pair}
        requests.append(request)
    return requests


def _lines() -> list[str]:
    if sys.stdin.isatty():  # else it would look as if it hung
        print("type a text, or a JSON object, in each line; Ctrl-D ends them", file=sys.stderr)
    content = sys.stdin.buffer.read().decode("utf-8-sig", errors="replace")
    return [line.rstrip("\r") for line in content.split("\n")]


def _parse(line: str, number: int) -> dict[str, str]:
    try:
        request = json.loads(line) if line.lstrip().startswith("{") else None
    except (ValueError, RecursionError):
        request = None  # a text that begins with a brace
    if request is None:
        return {"text": line}
    if not all(isinstance(value, str) for value in request.values()):
        raise UserError(f"standard input, line {number}: the values of a request must be texts")
    return request
