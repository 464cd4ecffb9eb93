"""The address that the demo listens at, and what it says when it cannot start."""

import socket

import pytest

from tf_distilbert.demo.start import is_open_to_others, listen, url_of
from tf_distilbert.errors import UserError


def test_a_port_that_is_in_use_is_refused():
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert url_of(listener) == f"http://127.0.0.1:{port}/"
        assert not is_open_to_others(listener)
        with pytest.raises(UserError, match=rf"^127.0.0.1:{port}: .*[Aa]ddress already in use"):
            listen("127.0.0.1", port)
    listen("127.0.0.1", port).close()


def test_other_machines_are_let_in_only_when_asked_for():
    with listen("0.0.0.0", 0) as listener:
        assert is_open_to_others(listener)
        assert url_of(listener) == f"http://localhost:{listener.getsockname()[1]}/"


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", 65536, "--port is 65536; give a number from 1 to 65535"),
        ("127.0.0.1", -1, "--port is -1; give"),
        ("", 7860, "--host is empty; give an address"),
        (
            "192.0.2.1",
            7860,
            r"^192.0.2.1:7860: cannot be used \(.+\); give another --port or --host",
        ),
    ],
)
def test_addresses_that_cannot_be_had(host, port, message):
    with pytest.raises(UserError, match=message):
        listen(host, port)


def test_a_name_that_is_none(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UserError, match="--host nonsense: Name or service not known; give"):
        listen("nonsense", 7860)


def test_by_default_nobody_else_reaches_it():
    from tf_distilbert.cli.grammar import parse

    options = parse(["demo", "--teacher", "a", "--student", "b"])
    assert (options.host, options.port, options.task) == ("127.0.0.1", 7860, None)
