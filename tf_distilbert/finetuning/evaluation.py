"""What a fine-tuned model predicts for the examples of a split, and how good that is."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.console import Console

from tf_distilbert.backend import step
from tf_distilbert.console.time_left import TimeLeft
from tf_distilbert.errors import NotFiniteError, UserError, explain_write_errors
from tf_distilbert.finetuning.answers import Answer, best_answers, write_n_best
from tf_distilbert.finetuning.encoding import EncodedSplit, encode_split
from tf_distilbert.finetuning.examples import Example, QuestionExample, TextExample, TokenExample
from tf_distilbert.finetuning.metrics import score
from tf_distilbert.finetuning.rows import IGNORED, TaskBatches
from tf_distilbert.finetuning.splits import read_split
from tf_distilbert.finetuning.start_model import MODEL_OF_KIND, has_head
from tf_distilbert.finetuning.submissions import submission_name, write_predictions
from tf_distilbert.finetuning.tasks import Task, find_task
from tf_distilbert.model_files.folder import load_task_model, written_task
from tf_distilbert.model_files.provenance import read_provenance
from tf_distilbert.serving.question_answering import STRIDE


@dataclass(frozen=True)
class Predictions:
    """The predictions for a split.

    Attributes:
        split: what was predicted.
        values: as `score` takes them.
        null_odds: of SQuAD 2.0, by id.
        answers: of questions, with their n-best lists.
    """

    split: EncodedSplit
    values: Any
    null_odds: Mapping[str, float] | None = None
    answers: tuple[Answer, ...] = ()

    def scores(self) -> dict[str, float]:
        """Give the metrics of the task; see `score`."""
        task, examples = self.split.task, self.split.examples
        return score(task, self.values, examples, null_odds=self.null_odds)


def predict_split(
    forward: Callable[[Mapping[str, np.ndarray]], Any],
    split: EncodedSplit,
    batch_size: int = 64,
    null_threshold: float = 0.0,
    console: Console | None = None,
) -> Predictions:
    """Predict all examples of a split, those of like length together.

    Args:
        forward: of a model that was fine-tuned on the task; see `forward_pass`.
        split: encoded for the model.
        batch_size: rows at a time; has no influence on the predictions but rounding.
        null_threshold: of SQuAD 2.0; see `best_answers`.
        console: where progress is shown; None: nowhere.

    Raises:
        NotFiniteError: an output is infinite or no number.
    """
    batches = TaskBatches(split.rows, batch_size, seed=None)
    task, kind = split.task.name, split.task.kind
    with TimeLeft(console, f"evaluating {task}", batches.steps_per_epoch) as progress:

        def predict(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
            found = np.asarray(forward(_of_model(inputs)))
            progress.advance()
            return found

        logits = batches.predict(predict)
    if kind == "question_answering":
        with TimeLeft(console, f"choosing the answers of {task}"):
            return _answers(split, logits, null_threshold)
    if not all(np.isfinite(row).all() for row in logits):
        raise NotFiniteError(
            f"{split.task.name}: the model's logits are not finite; train with a lower learning "
            "rate"
        )
    if kind == "token_classification":
        return Predictions(split, _labels(split, logits))
    values = np.stack(logits).astype("float64")
    return Predictions(split, values[:, 0] if kind == "regression" else values.argmax(-1))


def _of_model(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array for name, array in inputs.items() if name != "answer_mask"}


def _labels(split: EncodedSplit, logits: list[np.ndarray]) -> list[list[int]]:
    """Give a class for each word: of those that did not fit into the row, the one for none."""
    labels = split.task.labels
    none = labels.index("O") if "O" in labels else 0
    found = []
    examples = cast(Sequence[TokenExample], split.examples)
    for example, row, of_row in zip(examples, split.rows.rows, logits, strict=True):
        counted = np.asarray(row.target) != IGNORED
        seen = of_row[: len(counted)].argmax(-1)[counted].tolist()
        found.append(seen + [none] * (len(example.words) - len(seen)))
    return found


def _answers(split: EncodedSplit, logits: list[np.ndarray], null_threshold: float) -> Predictions:
    has_nulls = split.task.name == "squad-v2"
    answers = best_answers(
        cast(Sequence[QuestionExample], split.examples),
        split.windows,
        [window[:, 0] for window in logits],
        [window[:, 1] for window in logits],
        null_answers=has_nulls,
        null_threshold=null_threshold,
    )
    texts = {answer.id: answer.text for answer in answers}
    null_odds = None
    if has_nulls:
        null_odds = {a.id: a.null_odds for a in answers if a.null_odds is not None}
    return Predictions(split, texts, null_odds, tuple(answers))


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
    found = find_task(task, columns=columns)
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
    forward, scores = step.forward_pass(loaded), {}
    console = Console(stderr=True) if progress else None
    for name in (split,) if split else found.validation_splits or found.test_splits:
        with TimeLeft(console, f"reading {found.name}"):
            examples = read_split(found, data, name, warn=partial(print, file=sys.stderr))
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
