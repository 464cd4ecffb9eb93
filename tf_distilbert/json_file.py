"""Reading a file that must hold one JSON object, or a list."""

import json
from pathlib import Path
from typing import Any

from tf_distilbert.errors import UserError


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UserError: the file is missing, cannot be read or holds anything else; names it.
    """
    content = _read(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no JSON object; copy it again")
    return content


def read_json_list(path: Path) -> list[Any]:
    """Read a JSON list.

    Raises:
        UserError: as `read_json`.
    """
    content = _read(path)
    if not isinstance(content, list):
        raise UserError(f"{path}: holds no JSON list; copy it again")
    return content


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; give a whole model folder") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: is not JSON ({error}); copy it again") from None
