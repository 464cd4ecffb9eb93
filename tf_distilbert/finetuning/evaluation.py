"""How good a model is on the labelled splits of a task."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from tf_distilbert.backend import step
from tf_distilbert.console.time_left import TimeLeft
from tf_distilbert.errors import UserError, explain_write_errors
from tf_distilbert.finetuning.answers import write_n_best
from tf_distilbert.finetuning.by_vectors import predict_by_vectors
from tf_distilbert.finetuning.encoding import encode_split
from tf_distilbert.finetuning.examples import Example, TextExample, TokenExample
from tf_distilbert.finetuning.predictions import Predictions, predict_split
from tf_distilbert.finetuning.ranking_files import queries_of_pairs
from tf_distilbert.finetuning.splits import read_split
from tf_distilbert.finetuning.start_model import MODEL_OF_KIND, has_head, task_for_model
from tf_distilbert.finetuning.submissions import submission_name, write_predictions
from tf_distilbert.finetuning.tasks import Task, find_task
from tf_distilbert.model_files.folder import load_task_model, written_task
from tf_distilbert.model_files.provenance import read_provenance
from tf_distilbert.models.sentence_encoder import SentenceEncoder
from tf_distilbert.serving.question_answering import STRIDE


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
    progress: bool = False,
) -> dict[str, dict[str, float]]:
    """Score a model on the labelled splits of a task, and write what it predicts.

    Args:
        model: folder of a model with the task's head; of a `Task` by vectors, and of ``stsb``, of a
            sentence encoder, which needs no fine-tuning: see `predict_by_vectors`.
        task: its name; see `find_task`.
        data: the task's folder, or ``tfds``.
        split: one of `Task.splits`; by default all that scores are taken on.
        predictions: a folder, in which every split's predictions are written in the official format
            of submissions; of questions also n-best lists. Test splits without labels, too, if one
            is named by `split`.
        columns: of one's own files; see `find_task`. By default those of the model's fine-tuning.
        max_length, doc_stride: see `FinetuneConfig`; by default those of the model's fine-tuning,
            or as a sentence encoder has it.
        batch_size: rows at a time.
        null_threshold: of SQuAD 2.0; see `best_answers`. The ``best_`` thresholds are searched
            among the answers that it leaves; 1e9 leaves all.
        progress: whether to show on stderr how long it takes.

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
    found = task_for_model(find_task(task, columns=columns), model)
    _check_fine_tuned(model, found, data)
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
    if found.by_vectors and max_length:
        loaded.check_length(max_length)
        loaded.max_length = max_length
    forward, scores = step.forward_pass(loaded), {}
    console = Console(stderr=True) if progress else None
    for name in (split,) if split else found.validation_splits or found.test_splits:
        with TimeLeft(console, f"reading {found.name}"):
            examples = read_split(found, data, name, warn=partial(print, file=sys.stderr))
            if found.kind == "retrieval" and name == "train":
                examples = queries_of_pairs(cast(Sequence[TextExample], examples))
        if found.by_vectors:
            assert isinstance(loaded, SentenceEncoder)
            values = predict_by_vectors(forward, loaded, found, examples, batch_size, console)
            predicted = Predictions(found, examples, values)
        else:
            with TimeLeft(console, f"tokenizing {found.name}"):
                encoded = encode_split(
                    found, examples, loaded, max_length=max_length, stride=doc_stride
                )
            predicted = predict_split(forward, encoded, batch_size, null_threshold, console)
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


_WITHOUT_TASK = {
    "masked_lm": "is a masked language model that was not fine-tuned",
    "encoder": "is an encoder that was not fine-tuned",
}


def _check_fine_tuned(model: str | Path, task: Task, data: str | Path) -> None:
    """See that a model has learnt a task of this kind, and say else how it can."""
    written, wanted = written_task(model), MODEL_OF_KIND[task.kind]
    if written in (None, wanted):  # one that does not say is loaded, and may have the head
        return
    if task.by_vectors and written == "encoder":  # then the mean, as `embed` takes it
        return
    what = _WITHOUT_TASK.get(written, f"was fine-tuned for {written}, not for {wanted}")
    learnt = task.model_of or task.name
    data = data if str(data) == "tfds" or Path(data).is_dir() else "DATA"
    raise UserError(
        f"{model}: {what}; `tf-distilbert finetune --task {learnt} --model {model} --data {data} "
        "--output DIR` makes a model of the task from it, in DIR/model"
    )


def _settings_of_the_fine_tuning(model: str | Path, task: str) -> dict[str, Any]:
    """Give what a run of ours wrote beside its model; nothing of others, or of another task."""
    settings = read_provenance(Path(model)).get("settings", {})
    return settings if settings.get("task") == task else {}


def _has_labels(example: Example) -> bool:
    """Whether there is something to compare with; of a question always, if only no answer."""
    known = {TextExample: "label", TokenExample: "labels"}.get(type(example))
    return known is None or getattr(example, known) is not None
