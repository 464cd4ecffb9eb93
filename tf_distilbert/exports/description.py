"""``metadata.json`` and the tokenizer's files: what a file of numbers does not say of itself."""

import json
from pathlib import Path
from typing import Any

from tf_distilbert.errors import UserError
from tf_distilbert.json_file import read_json
from tf_distilbert.model_files.task_config import TASK_MODELS
from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.tokenization.folder import read_tokenizer
from tf_distilbert.version import __version__

FILE = "metadata.json"


def write_description(folder: Path, served: ServedModel, **facts: Any) -> None:
    """Write ``metadata.json`` and the tokenizer's files.

    Args:
        folder: takes the files.
        served: the model.
        facts: what is to be said besides; JSON can write it.
    """
    served.tokenizer.save(folder, served.max_length)
    content = {
        "made_by": f"tf_distilbert {__version__}",
        **facts,
        **served.facts(),
        "inputs": list(served.input_names),
        "output": served.output_name,
        "vocabulary": sorted(path.name for path in folder.glob("vocab.*")),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8")


def read_description(folder: Path) -> tuple[ServedModel, dict[str, Any]]:
    """Read what `write_description` wrote: the model, and all facts.

    Raises:
        UserError: a file is missing or broken.
    """
    facts = read_json(folder / FILE)
    if facts.get("task") not in TASK_MODELS:
        raise UserError(
            f"{folder / FILE}: its task is {facts.get('task')!r}, which is not supported; "
            "export the model again"
        )
    try:
        served = ServedModel(
            task=facts["task"],
            family=facts["family"],
            tokenizer=read_tokenizer(folder),
            max_length=facts["max_length"],
            segments=facts["segments"],
            labels=tuple(facts["labels"]),
            problem=facts["problem"],
            prompt=facts.get("prompt", ""),  # which older exports have not
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / FILE}: lacks {error}; export the model again") from None
    return served, facts
