"""``demo``: serve the page until Ctrl-C."""

import ipaddress
import os
import socket

from tf_distilbert.demo.model_pair import ModelPair
from tf_distilbert.errors import UserError
from tf_distilbert.exports.optional_package import explain_missing

GRACE_SECONDS = 1
"""How long an answer that is under way may take at the end."""


def demo(
    teacher: str,
    student: str,
    *,
    task: str | None = None,
    host: str = "127.0.0.1",
    port: int = 7860,
) -> None:
    """Serve a page that shows what teacher and student answer; returns when it is stopped.

    Args:
        teacher, student: model folders or exports, as `Predictor` takes them.
        task: the head to be used, of model folders; see `load_task_model`.
        host: the address to listen at; by default only this machine reaches it.
        port: the port there.

    Raises:
        UserError: Gradio is not installed, the address cannot be used, the models cannot be loaded
            or do not go together.
    """
    # Read by Gradio as it is imported; beside what the page says itself.
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False"}
    with explain_missing("demo"):
        import uvicorn

        from tf_distilbert.demo.page import make_page

    # Before the models are loaded, which may take a while.
    with listen(host, port) as listener:
        app = make_page(ModelPair.load(teacher, student, task))
        config = uvicorn.Config(
            app, log_level="warning", timeout_graceful_shutdown=GRACE_SECONDS, lifespan="on"
        )
        print(
            f"{_address(listener)}: teacher and student answer there; Ctrl-C stops it", flush=True
        )
        uvicorn.Server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Take a port.

    Args:
        host: a name or an address of this machine.
        port: 0 for any that is free.

    Raises:
        UserError: somebody else has it, or it cannot be had.
    """
    if not 0 <= port < 2**16:
        raise UserError(f"--port is {port}; give a number from 1 to 65535")
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


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        host = "localhost"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
