"""What `predict` is asked, where it waits for lines that somebody types."""

import io

import pytest

from tf_distilbert.cli.requests import read_requests


@pytest.mark.parametrize("is_typed", [True, False])
def test_who_types_is_told_what_it_waits_for(monkeypatch, capsys, is_typed):
    stream = io.TextIOWrapper(io.BytesIO(b'one\n\n{"text": "two"}\n'))
    monkeypatch.setattr(stream, "isatty", lambda: is_typed)
    monkeypatch.setattr("sys.stdin", stream)
    assert read_requests([]) == [{"text": "one"}, {"text": "two"}]
    told = "type a text, or a JSON object, in each line; Ctrl-D ends them\n"
    assert capsys.readouterr().err == told * is_typed
