"""Where a model comes from: written beside it by the run that made it, read by its exports."""

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_distilbert.atomic_writes import write_atomically
from tf_distilbert.json_file import read_json
from tf_distilbert.version import __version__

FILE = "provenance.json"


def write_provenance(
    folder: Path, verb: str, settings: Mapping[str, Any], validation: Mapping[str, Any] | None
) -> None:
    """Write what made a model.

    Args:
        folder: the model's.
        verb: of the command line: ``distill``, ``pretrain`` or ``finetune``.
        settings: the whole configuration.
        validation: the last metrics on held-out text, if there was any.
    """
    content = {
        "made_by": f"tf_distilbert {__version__} {verb}",
        "versions": library_versions(),
        "teacher": settings.get("teacher"),
        "text": data["text"] if isinstance(data := settings["data"], dict) else data,
        "validation": dict(validation or {}),
        "settings": dict(settings),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"
    write_atomically(folder / FILE, text.encode())


def library_versions() -> dict[str, str]:
    """Give the versions of Python and of the libraries that a run computes with."""
    libraries = {"keras": keras, "tensorflow": tf, "numpy": np}
    if keras.backend.backend() == "jax":
        import jax

        libraries["jax"] = jax
    found = {name: module.__version__ for name, module in libraries.items()}
    return {"python": platform.python_version(), **found}


def read_provenance(folder: Path) -> dict[str, Any]:
    """Give what `write_provenance` wrote; nothing of a model that came from elsewhere.

    Args:
        folder: the model's, or that of the run that made it.

    Raises:
        UserError: the file is broken.
    """
    paths = [path for path in (folder / FILE, folder / "model" / FILE) if path.exists()]
    return read_json(paths[0]) if paths else {}
