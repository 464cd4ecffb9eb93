"""``README.md`` beside an export: what it is, where it comes from, how to call it."""

import re
from pathlib import Path
from typing import Any

import yaml

from tf_distilbert.exports.verification import Verification
from tf_distilbert.model_files.provenance import read_provenance
from tf_distilbert.models.encoder_model import EncoderModel
from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.service import Service
from tf_distilbert.serving.services import SERVICES
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer
from tf_distilbert.version import __version__

FILE = "README.md"

# Names of a Hugging Face model card's fields that an export inherits.
_INHERITED = ("license", "license_name", "license_link", "language", "datasets", "base_model")

_UNKNOWN = "unknown"

_FRONT_MATTER = re.compile(r"\s*---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)


def model_card(
    model: EncoderModel,
    service: Service,
    source: Path | None,
    name: str,
    format_name: str,
    precision: str,
    verification: Verification,
    call: str,
) -> str:
    """Write a model card in Hugging Face's form, the fields in YAML at its top.

    Args:
        model: what was exported.
        service: how texts are answered.
        source: the model's folder, whose own card and ``provenance.json`` are read; None for a
            model that is in no folder.
        name: the model's.
        format_name: as ``--format`` takes it.
        precision: as ``--precision`` takes it.
        verification: what the check of the files found.
        call: how to use the export, in Markdown.
    """
    fields = _fields_of(source / FILE) if source else {}
    provenance = read_provenance(source) if source else {}
    fields = {
        # Whoever publishes the export must say it; nothing may be assumed.
        "license": fields.pop("license", _UNKNOWN),
        **fields,
        "library_name": "tf_distilbert",
        "tags": [model.architecture.family, service.model.task, format_name],
    }
    if provenance.get("teacher"):
        fields.setdefault("base_model", str(provenance["teacher"]))
    parts = [
        f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---\n",
        f"# {name}, exported as {format_name}\n",
        _table(_facts(model, service, format_name, precision, verification)),
        "## Where it comes from\n",
        _origin(provenance, name),
        "## Measured quality\n",
        _quality(provenance),
        "## How to call it\n",
        call.rstrip() + "\n",
        f"Written by tf_distilbert {__version__}.\n",
    ]
    return "\n".join(parts)


def _facts(
    model: EncoderModel,
    service: Service,
    format_name: str,
    precision: str,
    verification: Verification,
) -> dict[str, Any]:
    architecture, served = model.architecture, service.model
    facts = {
        "task": served.task,
        "architecture": f"{architecture.family}, {architecture.num_layers} layers, "
        f"{architecture.hidden_size} wide, {architecture.num_heads} heads",
        "parameters": f"{model.count_params():,}",
        "vocabulary": f"{architecture.vocabulary_size:,} tokens",
        "tokens at once": served.max_length,
        "longer texts": "read in windows" if service.overlap is not None else "cut",
        "precision": precision,
        "size": f"{verification.size / 1e6:.1f} MB",
        "largest difference to the Keras model": f"{verification.largest_difference:.2g} "
        f"(outputs up to {verification.largest_output:.3g})",
        "agreement with the Keras model": str(verification.agreement),
        "latency of one short text, where it was exported": f"{verification.milliseconds:.1f} ms",
    }
    if served.labels:
        facts["labels"] = ", ".join(served.labels)
    return facts


def _origin(provenance: dict[str, Any], name: str) -> str:
    if not provenance:
        return f"Exported from `{name}`, which does not say how it was trained.\n"
    facts = {"made by": provenance.get("made_by", _UNKNOWN)}
    if provenance.get("teacher"):
        facts["distilled from"] = provenance["teacher"]
    text = provenance.get("text") or _UNKNOWN
    facts["text"] = ", ".join(map(str, text)) if isinstance(text, list) else str(text)
    return _table(facts)


def _quality(provenance: dict[str, Any]) -> str:
    validation = provenance.get("validation")
    metrics = {
        name: f"{value:.4g}"
        for name, value in (validation if isinstance(validation, dict) else {}).items()
        if isinstance(value, float) and name != "time"
    }
    if not metrics:
        return "None is known of it. Measure it before you rely on it.\n"
    return "On the held-out text of its training:\n\n" + _table(metrics)


def _table(facts: dict[str, Any]) -> str:
    rows = "".join(f"| {name} | {value} |\n" for name, value in facts.items())
    return f"| | |\n|---|---|\n{rows}"


def _fields_of(path: Path) -> dict[str, Any]:
    """The inherited fields of a card's YAML; none where there is no card, or it is no YAML."""
    try:
        match = _FRONT_MATTER.match(path.read_text(encoding="utf-8-sig"))
        content = yaml.safe_load(match[1]) if match else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {name: content[name] for name in _INHERITED if name in content}


_DOCUMENTATION = "docs/serving.md of tf_distilbert"


def usage(format_name: str, served: ServedModel, output: Path, name: str) -> str:
    """Say in Markdown how to call an export.

    Args:
        format_name: as ``--format`` takes it.
        served: the model.
        output: where the export lies; of a SavedModel the folder of all its versions.
        name: under which a server knows it.
    """
    if format_name == "keras_nlp":
        return _code("python", f'keras_nlp.models.Task.from_preset("{output}")')
    predict = _code("sh", f"tf-distilbert predict --model {output} {_arguments(served)}")
    if format_name == "saved_model":
        return f"{_serving(served, output, name)}\nOr without a server:\n\n{predict}"
    if format_name == "litert" and isinstance(served.tokenizer, WordPieceTokenizer):
        example = _code("sh", f"python {output}/example.py {_texts(served)}")
        return f"{predict}\nWithout tf_distilbert:\n\n{example}"
    return predict


def _serving(served: ServedModel, output: Path, name: str) -> str:
    where = output if output.is_absolute() else f"$PWD/{output}"  # Docker takes whole paths alone
    server = _code(
        "sh",
        f'docker run -p 8500:8500 -p 8501:8501 -v "{where}:/models/{name}" \\\n'
        f"    -e MODEL_NAME={name} tensorflow/serving",
    )
    if isinstance(served.tokenizer, WordPieceTokenizer):
        texts = SERVICES[served.task].signatures["serving_default"]
        instance = ", ".join(f'"{text}": "..."' for text in texts)
    else:  # its tokenizer is not in the graph
        instance = ", ".join(f'"{name}": [...]' for name in served.input_names)
    request = _code(
        "sh",
        f"curl -d '{{\"instances\": [{{{instance}}}]}}' \\\n"
        f"    http://localhost:8501/v1/models/{name}:predict",
    )
    return (
        f"With TensorFlow Serving (names, types and shapes are in {_DOCUMENTATION}):\n\n"
        f"{server}\n{request}"
    )


def _arguments(served: ServedModel) -> str:
    if served.task == "question_answering":
        return '--question "..." "The text that holds the answer."'
    return _texts(served)


def _texts(served: ServedModel) -> str:
    if served.task == "question_answering":
        return '"A question?" "The text that holds the answer."'
    mask = served.tokenizer.special_tokens.mask
    return f'"A text with a {mask}."' if served.task == "masked_lm" else '"A text."'


def _code(language: str, code: str) -> str:
    return f"```{language}\n{code}\n```\n"
