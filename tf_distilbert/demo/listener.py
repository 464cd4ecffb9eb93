"""A port, taken."""

import ipaddress
import socket

from tf_distilbert.errors import UserError


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
