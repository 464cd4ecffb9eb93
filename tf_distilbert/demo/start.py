"""``demo``: take a port, load both models, serve the page until Ctrl-C."""

import ipaddress
import os
import socket

from tf_distilbert.demo.comparison import compare
from tf_distilbert.demo.form import form_fields, read_form
from tf_distilbert.demo.model_pair import ModelPair
from tf_distilbert.errors import UserError, explain_missing


def demo(
    teacher: str,
    student: str,
    *,
    task: str | None = None,
    host: str = "127.0.0.1",
    port: int = 7860,
) -> None:
    """Serve a page that shows what teacher and student answer, until Ctrl-C.

    Args:
        teacher, student: model folders or exports, as `Predictor` takes them.
        task: the head to be used, of model folders; see `load_task_model`.
        host: the address to listen at; by default only this machine reaches it.
        port: the port there.

    Raises:
        UserError: Gradio is not installed, the address cannot be used, the models cannot be loaded
            or do not go together.
    """
    # Read by Gradio as it is imported; the page says it once more.
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False"}
    with explain_missing("demo"):
        import gradio  # noqa: F401

        from tf_distilbert.demo.page import make_page, make_server

    # Before the models are loaded, which may take a while.
    with listen(host, port) as listener:
        pair = ModelPair.load(teacher, student, task)
        fields = form_fields(pair.teacher.served)
        compare(pair, read_form(fields, [field.example for field in fields]))  # compiles
        server = make_server(make_page(pair))
        open_to = "all machines that reach this one" if is_open_to_others(listener) else "this one"
        print(f"{url_of(listener)} (open to {open_to}); Ctrl-C stops it", flush=True)
        server.run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Take a port.

    Args:
        host: a name or an address of this machine.
        port: a number; 0 for any that is free.

    Raises:
        UserError: somebody else has it, or it cannot be had.
    """
    if not 0 <= port < 2**16:
        raise UserError(f"--port is {port}; give a number from 1 to 65535")
    if not host:
        raise UserError("--host is empty; give an address of this machine, such as 127.0.0.1")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(
            f"--host {host}: {error.strerror}; give an address of this machine"
        ) from None
    # A port that was in use a moment ago can be had, one that is in use cannot.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        raise UserError(
            f"{host}:{port}: cannot be used ({error.strerror}); give another --port or --host"
        ) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """Give the address that a browser on this machine opens."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "localhost"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def is_open_to_others(listener: socket.socket) -> bool:
    """Whether other machines can reach it."""
    return not ipaddress.ip_address(listener.getsockname()[0]).is_loopback
