"""How good is a masked language model on text it has not seen, and how close to its teacher?"""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf
from rich.console import Console

from tf_distilbert.console.lines import say
from tf_distilbert.console.time_left import TimeLeft
from tf_distilbert.data.masking import TokenMasker
from tf_distilbert.data.pipeline import evaluation_dataset
from tf_distilbert.data.prepare import prepare
from tf_distilbert.data.text_warnings import text_warnings
from tf_distilbert.distillation.distiller import Distiller
from tf_distilbert.distillation.pretrainer import MaskedLMPretrainer
from tf_distilbert.distillation.trimming import trimmed_to
from tf_distilbert.errors import UserError
from tf_distilbert.model_files.keras_nlp_models import as_model
from tf_distilbert.models.masked_language_model import MaskedLanguageModel
from tf_distilbert.training.trainer import MaskedMeanTrainer


def evaluate(
    model: keras.Model,
    text: str | Sequence[str],
    teacher: keras.Model | None = None,
    *,
    sequence_length: int = 128,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, float]:
    """Measure masked-word prediction on held-out text: 15 % masked, 80/10/10, uniformly chosen.

    The masks depend on the seed and the text alone: model and teacher see the same, every time.

    Args:
        model: the student, or any masked language model (one of `load_model` or keras-nlp's).
        text: one or several files, globs, ``tfds:NAME`` or ``sample:validation``.
        teacher: with the model's vocabulary, or with one of which the model's is a part, as
            `trimmed_to` takes it; adds the metrics that compare the two.
        sequence_length: tokens in a sequence, at most the models' positions.
        batch_size: sequences at a time; has no influence on the metrics.
        seed: of the masks.
        progress: whether to show on stderr how long it takes.

    Returns:
        ``loss`` (nats a masked token), ``perplexity``, ``accuracy`` (top-1); ``predictions``,
        ``sequences`` and ``invalid_lines`` (not UTF-8, skipped) as counts. With a teacher also
        ``teacher_loss``, ``teacher_perplexity``, ``teacher_accuracy``; ``kl_divergence`` (teacher
        from student, T = 1, nats) and ``agreement`` (top-1) at masked tokens; ``cosine`` of the
        last hidden states over all real tokens (left out if hidden sizes differ);
        ``retention``, student's accuracy by teacher's; and, if the teacher has more tokens than
        the model, the count ``teacher_tokens_cut`` of those it was measured without.

    Raises:
        UserError: text at fault, sequences longer than the positions, vocabularies that differ and
            are not one a part of the other.
    """
    model, teacher = as_model(model), teacher and as_model(teacher)
    for checked in filter(None, (model, teacher)):
        checked.check_length(sequence_length)
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; give 1 or more")
    num_cut = 0
    if teacher is not None:
        num_tokens = teacher.architecture.vocabulary_size
        teacher = trimmed_to(teacher, model.tokenizer)
        num_cut = num_tokens - teacher.architecture.vocabulary_size
        _compare(model, teacher)  # refuses two that do not fit, before any text is read
    console = Console(stderr=True) if progress else None
    if console is not None and num_cut:
        kept = f"{num_tokens - num_cut:,} of its {num_tokens:,} tokens"
        say(console, f"the teacher is measured with {kept}, those that the model has")
    name = text if isinstance(text, str) else ", ".join(text)
    with tempfile.TemporaryDirectory() as folder:
        with TimeLeft(console, "reading the text"):
            records = prepare(
                text,
                model.tokenizer,
                Path(folder) / "records",
                sequence_length=sequence_length,
                progress=False,
            )
        if console is not None:
            for warning in text_warnings(records):
                say(console, f"warning: {name}: {warning}")
        masker = TokenMasker.for_records(records, seed=seed)
        batches = evaluation_dataset(records, masker, min(batch_size, len(records)))
        predictions = sum(float(weights.numpy().sum()) for _, _, weights in batches)
        counts = {
            "predictions": int(predictions),
            "sequences": len(records),
            "invalid_lines": records.manifest["num_invalid_lines"],
        }
        if num_cut:
            counts["teacher_tokens_cut"] = num_cut
        return measure(model, teacher, batches, console) | counts


def measure(
    model: MaskedLanguageModel,
    teacher: MaskedLanguageModel | None,
    batches: tf.data.Dataset,
    console: Console | None = None,
) -> dict[str, float]:
    """Measure a model on masked batches, beside its teacher if there is one.

    Args:
        model, teacher: with one vocabulary.
        batches: see `evaluation_dataset`.
        console: where progress is shown; None: nowhere.

    Returns:
        What `evaluate` gives, but for the counts.

    Raises:
        UserError: vocabularies that differ.
    """
    trainers: list[MaskedMeanTrainer] = [MaskedLMPretrainer(model)]
    if teacher is not None:
        trainers = [_compare(model, teacher), MaskedLMPretrainer(teacher)]
    number = int(batches.cardinality()) * len(trainers)
    with TimeLeft(console, "evaluating", number) as progress:
        metrics, *of_teacher = (_run(trainer, batches, progress) for trainer in trainers)
    if not of_teacher:
        return _own_metrics(metrics)
    own, theirs = _own_metrics(metrics), _own_metrics(of_teacher[0])
    comparison = {
        "kl_divergence": max(metrics["distillation_loss"], 0.0),  # rounding can make it -1e-9
        "agreement": metrics["teacher_agreement"],
    }
    if "cosine_loss" in metrics:
        comparison["cosine"] = 1.0 - metrics["cosine_loss"]
    if theirs["accuracy"]:
        comparison["retention"] = own["accuracy"] / theirs["accuracy"]
    return own | {f"teacher_{name}": value for name, value in theirs.items()} | comparison


def _compare(model: keras.Model, teacher: keras.Model) -> Distiller:
    same_size = model.architecture.hidden_size == teacher.architecture.hidden_size
    return Distiller(
        teacher,
        model,
        temperature=1.0,
        distillation_weight=1.0,
        mlm_weight=1.0,
        cosine_weight=float(same_size),
        distillation_positions="masked",
    )


def _run(trainer: MaskedMeanTrainer, batches: object, progress: TimeLeft) -> dict[str, float]:
    trainer.compile(keras.optimizers.SGD())  # never used; SGD has no state to allocate
    return trainer.evaluate(batches, verbose=0, return_dict=True, callbacks=[progress.callback()])


def _own_metrics(metrics: dict[str, float]) -> dict[str, float]:
    loss = metrics["mlm_loss"]
    return {
        "loss": loss,
        "perplexity": math.exp(min(loss, 700.0)),
        "accuracy": metrics["mlm_accuracy"],
    }
