"""Lines for people: whole in a file, broken at spaces on a terminal; times in words."""

from rich.console import Console


def say(console: Console, message: str) -> None:
    """Print a message as it is: on a terminal broken at spaces, elsewhere as one line."""
    console.print(message, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def duration(seconds: float) -> str:
    """Write a time as one says it.

    Example:
        >>> duration(42), duration(600), duration(9000)
        ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
