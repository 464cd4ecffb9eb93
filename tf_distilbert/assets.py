"""Where the files are that come with the package: configurations and the sample teacher."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def asset(name: str) -> Path:
    """Find a file or folder of the distribution.

    Args:
        name: as in a checkout, e.g. ``configs/quickstart.yaml``.

    Returns:
        Its path: inside the package if that was installed, else at the checkout's top level.
    """
    installed = _PACKAGE / name
    return installed if installed.exists() else _PACKAGE.parent / name
