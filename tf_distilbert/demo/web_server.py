"""What serves the page: uvicorn, as Gradio uses it, at a port that is taken already."""

import logging
from types import FrameType

import uvicorn
from fastapi import FastAPI

GRACE_SECONDS = 1
"""How long an answer that is under way may take at the end."""


class Server(uvicorn.Server):
    """Ends without a word."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; that the streams of open pages break off is no error."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        super().handle_exit(sig, frame)


def make_server(page: FastAPI) -> Server:
    """Make the server of a page; ``run(sockets=[...])`` it until Ctrl-C or SIGTERM."""
    config = uvicorn.Config(
        page, log_level="warning", timeout_graceful_shutdown=GRACE_SECONDS, lifespan="on"
    )
    return Server(config)
