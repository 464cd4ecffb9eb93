"""How good is a fine-tuned model on its task?"""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tf_distilbert.errors import UserError, explain_write_errors
from tf_distilbert.finetuning.answer_windows import STRIDE
from tf_distilbert.finetuning.answers import write_n_best
from tf_distilbert.finetuning.encoded_split import encode_split
from tf_distilbert.finetuning.example import Example, TextExample, TokenExample
from tf_distilbert.finetuning.start_model import MODEL_OF_KIND, has_head
from tf_distilbert.finetuning.task import (
    find_task,
    read_split,
    submission_name,
    write_predictions,
)
from tf_distilbert.finetuning.task_prediction import predict_split
from tf_distilbert.forward_pass import forward_pass
from tf_distilbert.model_folder import load_task_model
from tf_distilbert.provenance import read_provenance


def evaluate_task(
    model: str | Path,
    task: str,
    data: str | Path,
    *,
    split: str | None = None,
    predictions: str | Path | None = None,
    columns: dict[str, str | None] | None = None,
    max_length: int | None = None,
    doc_stride: int | None = None,
    batch_size: int = 64,
    null_threshold: float = 0.0,
) -> dict[str, dict[str, float]]:
    """Score a fine-tuned model on the labelled splits of its task, and write what it predicts.

    Args:
        model: folder of a model with the task's head.
        task: its name; see `find_task`.
        data: the task's folder, or ``tfds``.
        split: one of `Task.splits`; by default all that scores are taken on.
        predictions: a folder, in which every split's predictions are written in the official format
            of submissions; of questions also n-best lists. Test splits without labels, too, if one
            is named by `split`.
        columns: of one's own files; see `find_task`. By default those of the model's fine-tuning.
        max_length, doc_stride: see `FinetuneConfig`; by default those of the model's fine-tuning.
        batch_size: rows at a time.
        null_threshold: of SQuAD 2.0; see `best_answers`. The ``best_`` thresholds are searched
            among the answers that it leaves; 1e9 leaves all.

    Returns:
        For each split its metrics and ``score``, the mean of the main ones; nothing of a split
        without labels.

    Raises:
        UserError: the model has another head or other labels, task or data are at fault, or the
            predictions cannot be written.
    """
    before = _settings_of_the_fine_tuning(model, find_task(task).name)
    if not any((columns or {}).values()):
        columns = before.get("columns")
    max_length = max_length or before.get("max_length")
    doc_stride = doc_stride or before.get("doc_stride", STRIDE)
    found = find_task(task, columns=columns)
    loaded = load_task_model(model, MODEL_OF_KIND[found.kind])
    labels = getattr(loaded, "labels", ())
    if found.kind in ("classification", "token_classification"):
        if found.labels and labels != found.labels:
            raise UserError(
                f"{model}: knows the labels {', '.join(labels)}, {found.name} has "
                f"{', '.join(found.labels)}; give a model that was fine-tuned on it"
            )
        found = replace(found, labels=labels)
    if not has_head(loaded, found.kind, found.labels):
        raise UserError(
            f"{model}: its head is for {loaded.problem}, {found.name} is a {found.kind}; give a "
            "model that was fine-tuned on it"
        )
    if predictions is not None:
        with explain_write_errors(Path(predictions)):
            Path(predictions).mkdir(parents=True, exist_ok=True)
    forward, scores = forward_pass(loaded), {}
    for name in (split,) if split else found.validation_splits or found.test_splits:
        examples = read_split(found, data, name, warn=partial(print, file=sys.stderr))
        encoded = encode_split(
            found,
            examples,
            loaded,
            max_length=max_length,
            stride=doc_stride,
        )
        predicted = predict_split(forward, encoded, batch_size, null_threshold)
        if predictions is not None:
            path = Path(predictions) / submission_name(found, name)
            write_predictions(
                found, path, predicted.values, examples, null_odds=predicted.null_odds
            )
            if predicted.answers:
                write_n_best(path.with_name(f"{path.stem}_n_best.json"), predicted.answers)
        if _has_labels(examples[0]):
            own = predicted.scores()
            scores[name] = {"score": found.main_score(own), **own}
    return scores


def _settings_of_the_fine_tuning(model: str | Path, task: str) -> dict[str, Any]:
    """Give what a run of ours wrote beside its model; nothing of others, or of another task."""
    settings = read_provenance(Path(model)).get("settings", {})
    return settings if settings.get("task") == task else {}


def _has_labels(example: Example) -> bool:
    """Whether there is something to compare with; of a question always, if only no answer."""
    known = {TextExample: "label", TokenExample: "labels"}.get(type(example))
    return known is None or getattr(example, known) is not None
