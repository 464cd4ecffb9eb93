"""How a setting that cannot be is refused, and how a value is shown in words."""

from collections.abc import Sequence
from typing import Any

import yaml

from tf_distilbert.errors import UserError


def check(holds: bool, key: str, value: Any, wanted: str) -> None:
    """Refuse the value of a key unless something holds of it, and say what is wanted."""
    if not holds:
        raise UserError(f"{key} is {in_words(value)}; it must be {wanted}")


def check_choice(key: str, value: str | None, choices: Sequence[str | None]) -> None:
    """Refuse the value of a key unless it is one of some."""
    names = ", ".join(choice or "null" for choice in choices)
    check(value in choices, key, value, f"one of {names}")


def in_words(value: Any) -> str:
    """Show a value as somebody would write it: ``true``, ``[1, 2]``; nothing as ``empty``."""
    if value is None or value == "":
        return "empty"
    if isinstance(value, str | float):
        return repr(value)
    written = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return written.removesuffix("\n").removesuffix("\n...")
