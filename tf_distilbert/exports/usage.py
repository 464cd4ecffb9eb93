"""How to call an export: the last part of its model card."""

from pathlib import Path

from tf_distilbert.serving.served_model import ServedModel
from tf_distilbert.serving.services import SERVICES
from tf_distilbert.tokenization.word_piece import WordPieceTokenizer

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
