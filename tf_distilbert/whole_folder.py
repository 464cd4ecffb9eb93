"""Folders that are there whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from tf_distilbert.errors import UserError


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill; it replaces `path` when the block ends without an error.

    Raises:
        UserError: something cannot be written; what was at `path` before is untouched.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if path.exists():
            shutil.rmtree(path)
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:  # safetensors wraps what the system says
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise UserError(
            f"{path}: cannot be written ({reason}); make room or choose another place"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
