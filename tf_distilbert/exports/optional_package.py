"""Packages that only some exports need."""

import contextlib
from collections.abc import Iterator

from tf_distilbert.errors import UserError


@contextlib.contextmanager
def explain_missing(extra: str) -> Iterator[None]:
    """Turn an ImportError into a UserError that names the extra to install."""
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"{error.name or error}: is not installed; run `pip install 'tf_distilbert[{extra}]'`"
        ) from None
