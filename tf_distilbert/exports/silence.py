"""Libraries that report on their own work, kept off the user's terminal."""

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def silenced(library: str) -> Iterator[None]:
    """Let a library log nothing meanwhile; what fails raises an exception all the same.

    Args:
        library: the name of its logger.
    """
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
