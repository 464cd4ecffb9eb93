"""The workers of a job, as the environment variable TF_CONFIG names them; for every backend."""

import json
import os
from typing import Any

from tf_distilbert.errors import UserError


def worker_addresses() -> list[str]:
    """Give the addresses of the workers in TF_CONFIG, chief first; none if it is not set.

    Raises:
        UserError: it is no JSON of the form that TensorFlow documents.
    """
    return _read()[0]


def worker_number() -> int:
    """Tell which of `worker_addresses` is this process's own."""
    addresses, own = _read()
    return addresses.index(own)


def _read() -> tuple[list[str], Any]:
    text = os.environ.get("TF_CONFIG")
    if not text:
        return [], None
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        addresses = [*cluster.get("chief", []), *cluster["worker"]]
        own = cluster[task["type"]][task["index"]]
        known = own in addresses
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        known = False
    if not known:
        raise UserError(
            'TF_CONFIG is broken; it must be {"cluster": {"worker": ["HOST:PORT", ...]}, '
            '"task": {"type": "worker", "index": 0}}'
        )
    return addresses, own
