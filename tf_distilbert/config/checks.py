"""How a setting that cannot be is refused."""

from collections.abc import Sequence
from typing import Any

from tf_distilbert.errors import UserError


def check(holds: bool, key: str, value: Any, wanted: str) -> None:
    """Refuse the value of a key unless something holds of it, and say what is wanted."""
    if not holds:
        raise UserError(f"{key} is {value}; it must be {wanted}")


def check_choice(key: str, value: str | None, choices: Sequence[str | None]) -> None:
    """Refuse the value of a key unless it is one of some."""
    names = ", ".join(choice or "null" for choice in choices)
    check(value in choices, key, repr(value), f"one of {names}")
