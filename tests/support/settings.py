"""The least that a distillation must be told, and what differs."""

import yaml

MINIMAL = {
    "teacher": "teacher",
    "output": "run",
    "data": {"text": ["a.txt"]},
    "train": {"steps": 10},
}


def with_values(**changes):
    """The minimal settings with ``section__key=value`` changed."""
    values = {name: dict(v) if isinstance(v, dict) else v for name, v in MINIMAL.items()}
    for name, value in changes.items():
        *parents, last = name.split("__")
        inner = values
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    return values


def write(path, values):
    path.write_text(yaml.safe_dump(values))
    return path
